package apiserver_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/embedded"
)

// openStore opens a store in memory.
func openStore(t testing.TB) store.Store {
	t.Helper()
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: "/store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
