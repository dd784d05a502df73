// Package images moves container images in and out of a node: archives in and out of containerd, and pulls with progress. It also makes the pause image.
//
// It works on containerd's own client, in memory (the embedded runtime) or over its socket ([Open], for the command line), in the namespace that CRI uses:
// what is loaded here, pods can run.
package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
)

// Namespace is where CRI keeps its images in containerd, by convention.
const Namespace = "k8s.io"

// criLabel marks images that CRI looks after; those of a pull through CRI have it too.
const criLabel = "io.cri-containerd.image"

// Image is one name of an image on the node.
type Image struct {
	Name    string // docker.io/library/nginx:stable
	Digest  string // of the manifest or index: sha256:...
	Size    int64  // bytes of the compressed content that is here
	Created time.Time
}

// Open connects to the containerd that a running Tenet embeds, by its socket.
func Open(ctx context.Context, socket string) (*containerd.Client, error) {
	if _, err := os.Stat(socket); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no container runtime at %s; is tenet running here? (tenet up)", socket)
	}
	c, err := containerd.New(socket, containerd.WithDefaultNamespace(Namespace), containerd.WithTimeout(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("container runtime at %s: %w", socket, err)
	}
	return c, nil
}

// Name completes an image's name as users write it: nginx becomes docker.io/library/nginx:latest.
func Name(s string) (string, error) {
	ref, err := reference.ParseDockerRef(s)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", s, err)
	}
	return ref.String(), nil
}

// Import reads an image archive (docker save, or an OCI layout; plain or compressed) and unpacks it, ready to run. It returns the names that are new or changed.
func Import(ctx context.Context, c *containerd.Client, archive io.Reader) ([]string, error) {
	ctx = namespaces.WithNamespace(ctx, Namespace)
	ctx, done, err := c.WithLease(ctx)
	if err != nil {
		return nil, err
	}
	defer done(context.WithoutCancel(ctx))
	found, err := c.Import(ctx, archive, containerd.WithImageLabels(map[string]string{criLabel: "managed"}),
		containerd.WithImportPlatform(platforms.Default()), containerd.WithSkipMissing())
	if err != nil {
		return nil, fmt.Errorf("import image archive: %w", err)
	}
	if len(found) == 0 {
		return nil, errors.New("import image archive: no image with a name inside")
	}
	snapshotter, err := snapshotter(ctx, c)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range found {
		if err := containerd.NewImageWithPlatform(c, i, platforms.Default()).Unpack(ctx, snapshotter); err != nil {
			return nil, fmt.Errorf("unpack image %s: %w", i.Name, err)
		}
		names = append(names, i.Name)
	}
	return names, nil
}

// snapshotter is the one that the node's containerd unpacks into: it starts only one.
func snapshotter(ctx context.Context, c *containerd.Client) (string, error) {
	r, err := c.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return "", fmt.Errorf("ask containerd for its snapshotter: %w", err)
	}
	for _, p := range r.Plugins {
		if p.InitErr == nil {
			return p.ID, nil
		}
	}
	return "", errors.New("containerd has no snapshotter")
}

// List is every image with a tag or digest name, by name. CRI's extra records (by config digest) are left out.
func List(ctx context.Context, c *containerd.Client) ([]Image, error) {
	ctx = namespaces.WithNamespace(ctx, Namespace)
	all, err := c.ListImages(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var list []Image
	for _, i := range all {
		if strings.HasPrefix(i.Name(), "sha256:") {
			continue
		}
		size, err := i.Size(ctx)
		if err != nil {
			continue // removed in the meantime, or content for another platform only
		}
		list = append(list, Image{Name: i.Name(), Digest: i.Target().Digest.String(), Size: size, Created: i.Metadata().CreatedAt})
	}
	slices.SortFunc(list, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Remove takes one name away; content goes when no name and no container needs it.
func Remove(ctx context.Context, c *containerd.Client, name string) error {
	ctx = namespaces.WithNamespace(ctx, Namespace)
	full, err := Name(name)
	if err != nil {
		return err
	}
	if full == Pause {
		return fmt.Errorf("image %s holds the pods' sandboxes and can not be removed", full)
	}
	err = c.ImageService().Delete(ctx, full, images.SynchronousDelete())
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("no image %s on this node (tenet image ls)", full)
	}
	if err != nil {
		return fmt.Errorf("remove image %s: %w", full, err)
	}
	return nil
}
