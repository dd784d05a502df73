package logs

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Rotate renames a log that has grown over size, lets reopen make a new one, and keeps at most files files of it; all but the newest rotated one are
// compressed. It reports whether it rotated.
func Rotate(path string, size int64, files int, now time.Time, reopen func() error) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// The runtime died between rename and reopen: the container still writes to the renamed file.
		return false, reopen()
	}
	if err != nil || info.Size() < size {
		return false, err
	}
	if err := clean(path, files-2); err != nil {
		return false, fmt.Errorf("rotate log %q: %w", path, err)
	}
	rotated := path + "." + now.UTC().Format("20060102-150405.000")
	if err := os.Rename(path, rotated); err != nil {
		return false, fmt.Errorf("rotate log %q: %w", path, err)
	}
	if err := reopen(); err != nil {
		if back := os.Rename(rotated, path); back != nil {
			err = errors.Join(err, back)
		}
		return false, fmt.Errorf("reopen log %q: %w", path, err)
	}
	return true, nil
}

// clean compresses what was rotated before and removes the oldest until keep are left.
func clean(path string, keep int) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	base := filepath.Base(path) + "."
	var old []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) {
			continue
		}
		full := filepath.Join(filepath.Dir(path), name)
		if strings.HasSuffix(name, ".tmp") {
			os.Remove(full)
			continue
		}
		old = append(old, full)
	}
	sort.Strings(old)
	for len(old) > max(keep, 0) {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	for _, name := range old {
		if !strings.HasSuffix(name, ".gz") {
			if err := compress(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func compress(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	temp := name + ".tmp"
	out, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	z := gzip.NewWriter(out)
	if _, err := io.Copy(z, in); err != nil {
		out.Close()
		return err
	}
	if err := errors.Join(z.Close(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, name+".gz"); err != nil {
		return err
	}
	return os.Remove(name)
}
