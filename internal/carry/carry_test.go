package carry

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func compressed(t *testing.T, s string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(s), nil)
}

func TestUnpackIsAtomicAndByContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "carried")
	one, two := compressed(t, "#!/bin/sh\necho one\n"), compressed(t, "#!/bin/sh\necho two\n")
	paths := make([]string, 8)
	var wg sync.WaitGroup
	for i := range paths {
		wg.Go(func() {
			p, err := unpack(context.Background(), dir, "prog", one)
			if err != nil {
				t.Error(err)
			}
			paths[i] = p
		})
	}
	wg.Wait()
	for _, p := range paths {
		if p != paths[0] {
			t.Errorf("unpacked to %s and %s, want one place for one content", p, paths[0])
		}
	}
	before, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if before.Mode().Perm() != 0o755 {
		t.Errorf("mode is %v, want 0755", before.Mode())
	}
	other, err := unpack(context.Background(), dir, "prog", two)
	if err != nil {
		t.Fatal(err)
	}
	if other == paths[0] {
		t.Errorf("another content went to the same path %s", other)
	}
	if _, err := unpack(context.Background(), dir, "prog", one); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("a second unpack replaced the file; a running shim would lose its program")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".prog-*")); len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestBrokenBlobLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	blob := compressed(t, strings.Repeat("a program ", 1000))
	if p, err := unpack(context.Background(), dir, "prog", blob[:len(blob)/2]); err == nil {
		t.Errorf("half a blob was unpacked to %s, want an error", p)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMissingProgramSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Path(context.Background(), t.TempDir(), "no-such-program")
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error is %v, want one that names `make build`", err)
	}
}
