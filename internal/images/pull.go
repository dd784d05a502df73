package images

import (
	"context"
	"fmt"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
)

// PullOptions say from where and as whom.
type PullOptions struct {
	RegistryDir        string                               // certs.d style directory with <host>/hosts.toml; may be empty
	Username, Password string                               // for the registry; empty: anonymous
	Progress           func(step string, done, total int64) // called now and then: bytes of all layers known so far; may be nil
}

// Pull fetches an image and unpacks it, ready to run, and returns its full name.
func Pull(ctx context.Context, c *containerd.Client, name string, o PullOptions) (string, error) {
	ctx = namespaces.WithNamespace(ctx, Namespace)
	full, err := Name(name)
	if err != nil {
		return "", err
	}
	snapshotter, err := snapshotter(ctx, c)
	if err != nil {
		return "", err
	}
	opts := []registry.Opt{registry.WithHostDir(o.RegistryDir)}
	if o.Username != "" {
		opts = append(opts, registry.WithCredentials(login{o.Username, o.Password}))
	}
	from, err := registry.NewOCIRegistry(ctx, full, opts...)
	if err != nil {
		return "", fmt.Errorf("pull image %s: %w", full, err)
	}
	p := platforms.DefaultSpec()
	to := image.NewStore(full, image.WithUnpack(p, snapshotter), image.WithPlatforms(p), image.WithImageLabels(map[string]string{criLabel: "managed"}))
	if err := c.Transfer(ctx, from, to, transfer.WithProgress(sumUp(o.Progress))); err != nil {
		return "", fmt.Errorf("pull image %s: %w", full, err)
	}
	return full, nil
}

type login struct{ user, password string }

func (l login) GetCredentials(_ context.Context, _, host string) (registry.Credentials, error) {
	return registry.Credentials{Host: host, Username: l.user, Secret: l.password}, nil
}

// sumUp adds the progress of single blobs to one of the whole pull.
func sumUp(report func(step string, done, total int64)) transfer.ProgressFunc {
	if report == nil {
		return nil
	}
	type blob struct{ done, total int64 }
	var mu sync.Mutex
	blobs := map[string]blob{}
	return func(p transfer.Progress) {
		mu.Lock()
		defer mu.Unlock()
		b := blobs[p.Name]
		b.total = max(b.total, p.Total)
		b.done = max(b.done, p.Progress)
		if p.Event == "complete" || p.Event == "already exists" {
			b.done = b.total
		}
		blobs[p.Name] = b
		var done, total int64
		for _, b := range blobs {
			done, total = done+b.done, total+b.total
		}
		report(p.Event, done, total)
	}
}
