package embedded

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/storetest"
)

func TestSuite(t *testing.T) {
	envs := map[string]func(t *testing.T, o *Options){
		"Memory": func(t *testing.T, o *Options) { o.Dir, o.FS = "data", vfs.NewMem() },
		"Disk":   func(t *testing.T, o *Options) { o.Dir = t.TempDir() },
		// Nothing is kept in memory but the newest state: history comes from disk.
		"FromDisk": func(t *testing.T, o *Options) {
			o.Dir, o.FS, o.Memory = "data", vfs.NewMem(), Window{MaxAge: time.Nanosecond}
		},
	}
	for name, set := range envs {
		t.Run(name, func(t *testing.T) {
			var skip []string
			if name == "FromDisk" {
				skip = []string{"RecordsAreShared", "Volatile"} // not promised of history that is read from disk
			}
			storetest.Run(t, func(t *testing.T) func() store.Store {
				o := Options{Logger: quiet()}
				set(t, &o)
				return func() store.Store {
					s, err := Open(context.Background(), o)
					if err != nil {
						t.Fatalf("open: %v", err)
					}
					return s
				}
			}, skip...)
		})
	}
}
