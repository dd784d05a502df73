package embedded

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderedFS makes what a marker points to durable before the marker. Pebble makes a new MANIFEST and then a marker file that names it, and syncs the
// directory only after both: a file system that does not keep the order of directory entries could be left, by a loss of power, with a marker that names
// a file that is not there. The crash test finds that.
type orderedFS struct{ vfs.FS }

func (fs orderedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), "marker.") {
		if err := syncDir(fs.FS, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return fs.FS.Create(name, category)
}

// Unwrap lets Pebble find the file system below.
func (fs orderedFS) Unwrap() vfs.FS { return fs.FS }
