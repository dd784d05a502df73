package pki

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeFile replaces a file in one step, 0600: after a crash it has the old content or the new, and after the return it has the new.
func writeFile(path string, data []byte) error {
	return replaceFile(path, data, 0o600, nil)
}

// replaceFile is writeFile with a mode and, when own is not nil, a last touch on the new file before it takes its place.
func replaceFile(path string, data []byte, mode os.FileMode, own func(*os.File) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("pki: write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("pki: write %s: %w", path, err)
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if own != nil {
		if err = own(f); err != nil {
			return err
		}
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
