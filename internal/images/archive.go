package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Archive is an image with one layer, to be written as an OCI layout in a tar that containerd, docker and podman load.
type Archive struct {
	Name   string // with registry and tag: docker.io/library/nginx:stable
	Arch   string // of Go's names; empty: this machine's
	Config ocispec.ImageConfig
	Layer  []byte // an uncompressed tar
}

// WriteTo writes the archive. The same content gives the same bytes.
func (a Archive) WriteTo(w io.Writer) (int64, error) {
	arch := a.Arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	p := ocispec.Platform{OS: "linux", Architecture: arch}
	config, err := json.Marshal(ocispec.Image{
		Platform: p,
		Config:   a.Config,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(a.Layer)}},
	})
	if err != nil {
		return 0, err
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    describe(ocispec.MediaTypeImageConfig, config),
		Layers:    []ocispec.Descriptor{describe(ocispec.MediaTypeImageLayer, a.Layer)},
	})
	if err != nil {
		return 0, err
	}
	root := describe(ocispec.MediaTypeImageManifest, manifest)
	root.Platform = &p
	root.Annotations = map[string]string{"io.containerd.image.name": a.Name, ocispec.AnnotationRefName: a.Name}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{root},
	})
	if err != nil {
		return 0, err
	}
	return writeTar(w,
		file{ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		file{ocispec.ImageIndexFile, index},
		blob(a.Layer), blob(config), blob(manifest))
}

type file struct {
	name string
	data []byte
}

func blob(b []byte) file { return file{"blobs/sha256/" + digest.FromBytes(b).Encoded(), b} }

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func writeTar(to io.Writer, files ...file) (int64, error) {
	n := &counter{w: to}
	w := tar.NewWriter(n)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			return n.n, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return n.n, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return n.n, w.Close()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Program is a layer that holds one executable, and beside it what is to be mounted upon: empty files, and directories with a slash at the end.
func Program(name string, executable []byte, mountpoints ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b) // into memory, which does not fail
	for _, m := range mountpoints {
		h := &tar.Header{Name: m, Mode: 0o644, Typeflag: tar.TypeReg}
		if strings.HasSuffix(m, "/") {
			h.Mode, h.Typeflag = 0o755, tar.TypeDir
		}
		_ = w.WriteHeader(h)
	}
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(executable))})
	_, _ = w.Write(executable)
	_ = w.Close()
	return b.Bytes()
}
