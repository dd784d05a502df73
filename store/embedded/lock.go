package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/store"
)

// ErrLocked says that another process uses the data directory. The error is a [*LockedError].
var ErrLocked = errors.New("store: data directory is locked")

// LockedError names the process that holds the lock; 0 when that is not known.
type LockedError struct {
	Dir string
	PID int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data dir %s is locked by another tenet", e.Dir)
	}
	return fmt.Sprintf("data dir %s is locked by another tenet (pid %d)", e.Dir, e.PID)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

const pidFile = "tenet.pid"

// lockDir takes the directory's lock. The lock is the kernel's and goes with the process; the pid file only tells whose it is.
func lockDir(fs vfs.FS, dir string) (*pebble.Lock, error) {
	pidPath := fs.PathJoin(dir, pidFile)
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		var inOpen *os.PathError
		if errors.As(err, &inOpen) {
			return nil, &store.DiskError{Err: err}
		}
		return nil, &LockedError{Dir: dir, PID: readPID(fs, pidPath)}
	}
	if err := writePID(fs, pidPath); err != nil {
		lock.Close()
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%s: no space left on the disk: %w", dir, err)
		}
		return nil, &store.DiskError{Err: err}
	}
	return lock, nil
}

func writePID(fs vfs.FS, path string) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, strconv.Itoa(os.Getpid())+"\n")
	return errors.Join(err, f.Close())
}

func readPID(fs vfs.FS, path string) int {
	f, err := fs.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// makeDir makes the directory and its missing parents, and makes their entries durable.
func makeDir(fs vfs.FS, dir string) error {
	var made []string
	for d := dir; ; {
		if _, err := fs.Stat(d); err == nil {
			break
		}
		parent := fs.PathDir(d)
		if parent == d {
			break
		}
		made = append(made, parent)
		d = parent
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range made {
		if parent == "" {
			parent = "."
		}
		if err := syncDir(fs, parent); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
