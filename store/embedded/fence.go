package embedded

import (
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fencedFS is the file system as Pebble sees it. It does two things for it.
//
// It makes what a marker points to durable before the marker. Pebble makes a new MANIFEST and then a marker file that names it, and syncs the directory
// only after both: a file system that does not keep the order of directory entries could be left, by a loss of power, with a marker that names a file
// that is not there. The power loss test finds that.
//
// It keeps failures from Pebble. When a write to a running database fails (the disk is full), Pebble panics with its locks in disorder, or tries again
// for ever. Here the failure goes to the store, which refuses further commits, and the write does not return; nor does any later one. What is on disk
// stays as it is, as after a crash.
type fencedFS struct {
	vfs.FS
	fence *fence
}

type fence struct {
	running atomic.Bool // before, Pebble gets its errors: it is being opened
	failed  <-chan struct{}
	fail    func(error)
}

// pass is called before a change of the disk. It does not return after a failure.
func (f *fence) pass() {
	select {
	case <-f.failed:
		if f.running.Load() {
			select {}
		}
	default:
	}
}

// check is called with the result of a change of the disk.
func (f *fence) check(err error) error {
	if err == nil || !f.running.Load() || os.IsNotExist(err) {
		return err
	}
	f.fail(err)
	select {}
}

func (fs fencedFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err := fs.fence.check(err); err != nil {
		return nil, err
	}
	return fencedFile{f, fs.fence}, nil
}

func (fs fencedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.fence.pass()
	if strings.HasPrefix(fs.PathBase(name), "marker.") {
		if err := fs.fence.check(syncDir(fs.FS, fs.PathDir(name))); err != nil {
			return nil, err
		}
	}
	return fs.wrap(fs.FS.Create(name, category))
}

func (fs fencedFS) Link(oldname, newname string) error {
	fs.fence.pass()
	return fs.fence.check(fs.FS.Link(oldname, newname))
}

func (fs fencedFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	fs.fence.pass()
	return fs.wrap(fs.FS.OpenReadWrite(name, category, opts...))
}

func (fs fencedFS) OpenDir(name string) (vfs.File, error) {
	return fs.wrap(fs.FS.OpenDir(name))
}

func (fs fencedFS) Remove(name string) error {
	fs.fence.pass()
	return fs.FS.Remove(name)
}

func (fs fencedFS) Rename(oldname, newname string) error {
	fs.fence.pass()
	return fs.fence.check(fs.FS.Rename(oldname, newname))
}

func (fs fencedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.fence.pass()
	return fs.wrap(fs.FS.ReuseForWrite(oldname, newname, category))
}

// Unwrap lets Pebble find the file system below.
func (fs fencedFS) Unwrap() vfs.FS { return fs.FS }

type fencedFile struct {
	vfs.File
	fence *fence
}

func (f fencedFile) Write(p []byte) (int, error) {
	f.fence.pass()
	n, err := f.File.Write(p)
	return n, f.fence.check(err)
}

func (f fencedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fence.pass()
	n, err := f.File.WriteAt(p, off)
	return n, f.fence.check(err)
}

func (f fencedFile) Sync() error {
	f.fence.pass()
	return f.fence.check(f.File.Sync())
}

func (f fencedFile) SyncData() error {
	f.fence.pass()
	return f.fence.check(f.File.SyncData())
}

func (f fencedFile) SyncTo(length int64) (bool, error) {
	f.fence.pass()
	full, err := f.File.SyncTo(length)
	return full, f.fence.check(err)
}
