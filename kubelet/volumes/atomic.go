package volumes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// File is one file of a volume that is made of API data.
type File struct {
	Data []byte
	Mode fs.FileMode
	UID  *int64 // owner; nil: root
}

const (
	dataLink = "..data"
	tempLink = "..data_tmp"
)

// Write makes dir show exactly the files of the payload, keyed by relative path. Readers see the old payload or the new one, never a mixture: files live
// in a time-stamped directory, the link ..data points to it and is swapped by a rename, and each visible name is a link through ..data.
// Nothing is written when nothing changed. gid, if not nil, is the group of all files, which may then read them.
func Write(dir string, payload map[string]File, gid *int64, now time.Time) (changed bool, err error) {
	for p := range payload {
		if err := checkPath(p); err != nil {
			return false, err
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if old != "" && same(filepath.Join(dir, old), payload) {
		return false, links(dir, payload)
	}
	stamp, err := os.MkdirTemp(dir, now.UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return false, err
	}
	fail := func(err error) (bool, error) { os.RemoveAll(stamp); return false, err }
	if err := os.Chmod(stamp, 0o755); err != nil {
		return fail(err)
	}
	for p, f := range payload {
		if err := writeFile(stamp, p, f, gid); err != nil {
			return fail(err)
		}
	}
	if err := own(stamp, nil, gid); err != nil {
		return fail(err)
	}
	temp := filepath.Join(dir, tempLink)
	os.Remove(temp)
	if err := os.Symlink(filepath.Base(stamp), temp); err != nil {
		return fail(err)
	}
	if err := os.Rename(temp, filepath.Join(dir, dataLink)); err != nil {
		os.Remove(temp)
		return fail(err)
	}
	if err := links(dir, payload); err != nil {
		return true, err
	}
	if old != "" {
		os.RemoveAll(filepath.Join(dir, old))
	}
	return true, nil
}

func checkPath(p string) error {
	if p == "" || path.IsAbs(p) || len(p) > 4096 {
		return fmt.Errorf("invalid path: %q must be relative and not empty", p)
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." || len(part) > 255 {
			return fmt.Errorf("invalid path: %q", p)
		}
	}
	if strings.HasPrefix(p, "..") {
		return fmt.Errorf("invalid path: %q must not start with '..'", p)
	}
	return nil
}

func writeFile(root, p string, f File, gid *int64) error {
	full := filepath.Join(root, filepath.FromSlash(path.Clean(p)))
	for d := path.Dir(path.Clean(p)); d != "."; d = path.Dir(d) {
		defer own(filepath.Join(root, d), nil, gid)
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	mode := f.Mode.Perm()
	if err := os.WriteFile(full, f.Data, mode); err != nil {
		return err
	}
	if gid != nil {
		mode |= 0o440
	}
	if err := os.Chmod(full, mode); err != nil { // past the umask
		return err
	}
	return own(full, f.UID, gid)
}

func own(p string, uid, gid *int64) error {
	u, g := -1, -1
	if uid != nil {
		u = int(*uid)
	}
	if gid != nil {
		g = int(*gid)
	}
	if u < 0 && g < 0 || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(p, u, g)
}

// same reports that the directory holds exactly the payload, with its modes.
func same(dir string, payload map[string]File) bool {
	n := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		f, ok := find(payload, filepath.ToSlash(rel))
		if !ok {
			return errors.New("differs")
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if m := info.Mode().Perm(); m != f.Mode.Perm() && m != f.Mode.Perm()|0o440 {
			return errors.New("differs")
		}
		if b, err := os.ReadFile(p); err != nil || !bytes.Equal(b, f.Data) {
			return errors.New("differs")
		}
		n++
		return nil
	})
	return err == nil && n == len(payload)
}

func find(payload map[string]File, rel string) (File, bool) {
	if f, ok := payload[rel]; ok {
		return f, true
	}
	for p, f := range payload {
		if path.Clean(p) == rel {
			return f, true
		}
	}
	return File{}, false
}

// links makes one visible link for each first path element, and removes those that are no longer wanted.
func links(dir string, payload map[string]File) error {
	want := map[string]bool{}
	for p := range payload {
		top, _, _ := strings.Cut(path.Clean(p), "/")
		want[top] = true
	}
	names := make([]string, 0, len(want))
	for n := range want {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		link := filepath.Join(dir, n)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join(dataLink, n), link); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !want[e.Name()] && !strings.HasPrefix(e.Name(), "..") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
