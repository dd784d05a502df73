// Package carry holds the programs that Tenet brings along: runc, its shim, the CNI plugin and kubectl. `make build` compiles them, compresses them into
// blobs/ and embeds them with the build tag "carry"; a plain go build leaves them out, and they are then found on PATH.
//
// # Guarantees
//
// A program is unpacked once, to <dir>/<hash of its content>/<name>, all or nothing, and never changed after that: an upgrade of Tenet puts a new
// file next to the old one, and the shims of running pods keep the file they were started from.
package carry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// The programs.
const (
	Runc    = "runc"
	Shim    = "containerd-shim-runc-v2"
	Kubectl = "kubectl"
	Bridge  = "tenet-bridge" // the CNI plugin
)

// Path is where program name can be executed: unpacked below dir from this binary, or found on PATH when this binary carries nothing.
func Path(ctx context.Context, dir, name string) (string, error) {
	blob, err := blobs.ReadFile("blobs/" + name + ".zst")
	if errors.Is(err, fs.ErrNotExist) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%s is neither carried in this binary nor on PATH: build with `make build`%s", name, otherwise(name))
		}
		return filepath.Abs(path)
	}
	if err != nil {
		return "", err
	}
	path, err := unpack(ctx, dir, name, blob)
	if err != nil {
		return "", fmt.Errorf("unpack %s to %s: %w", name, dir, err)
	}
	return path, nil
}

// otherwise is where else a program may come from.
func otherwise(name string) string {
	switch name {
	case Runc:
		return ", or apt-get install runc"
	case Shim:
		return ", or apt-get install containerd"
	case Bridge:
		return ", or go install ./cmd/tenet-bridge"
	}
	return ""
}

// CNIDir is a directory with the CNI plugin tenet-bridge.
func CNIDir(ctx context.Context, dir string) (string, error) {
	path, err := Path(ctx, dir, Bridge)
	return filepath.Dir(path), err
}

func unpack(ctx context.Context, dir, name string, blob []byte) (string, error) {
	at := filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256(blob))[:16])
	path := filepath.Join(at, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	// Pods in user namespaces execute runc: others must be able to walk here.
	if err := os.MkdirAll(at, 0o711); err != nil {
		return "", err
	}
	r, err := zstd.NewReader(bytes.NewReader(blob), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return "", err
	}
	defer r.Close()
	tmp, err := os.CreateTemp(at, "."+name+"-")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := io.Copy(tmp, reader{ctx, r}); err != nil {
		return "", err
	}
	// The name must not appear with less than the content, not even after a power cut.
	if err := errors.Join(tmp.Chmod(0o755), tmp.Sync(), tmp.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(tmp.Name(), path)
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
