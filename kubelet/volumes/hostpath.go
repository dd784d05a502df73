package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// hostPath checks, or makes, what the type of a hostPath volume asks for.
func hostPath(v *corev1.HostPathVolumeSource) error {
	t := corev1.HostPathUnset
	if v.Type != nil {
		t = *v.Type
	}
	if t == corev1.HostPathUnset {
		return nil
	}
	info, err := os.Stat(v.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil
	switch t {
	case corev1.HostPathDirectoryOrCreate:
		if !there {
			return os.MkdirAll(v.Path, 0o755)
		}
		t = corev1.HostPathDirectory
	case corev1.HostPathFileOrCreate:
		if !there {
			if _, err := os.Stat(filepath.Dir(v.Path)); err != nil {
				return err
			}
			f, err := os.OpenFile(v.Path, os.O_CREATE, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
		t = corev1.HostPathFile
	}
	var ok bool
	var what string
	switch t {
	case corev1.HostPathDirectory:
		ok, what = there && info.IsDir(), "a directory"
	case corev1.HostPathFile:
		ok, what = there && info.Mode().IsRegular(), "a file"
	case corev1.HostPathSocket:
		ok, what = there && info.Mode()&fs.ModeSocket != 0, "a socket file"
	case corev1.HostPathCharDev:
		ok, what = there && info.Mode()&fs.ModeCharDevice != 0, "a character device"
	case corev1.HostPathBlockDev:
		ok, what = there && info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0, "a block device"
	default:
		return fmt.Errorf("%s is an invalid volume type", t)
	}
	if !ok {
		return fmt.Errorf("hostPath type check failed: %s is not %s", v.Path, what)
	}
	return nil
}
