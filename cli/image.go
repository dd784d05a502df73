package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/tenet-run/tenet/internal/images"
)

func imageCommand() *cobra.Command {
	var runDir string
	c := &cobra.Command{Use: "image", Short: "Load, list, pull and remove this node's images"}
	c.PersistentFlags().StringVar(&runDir, "run-dir", "/run/tenet", "the --run-dir of tenet up")
	pull := &cobra.Command{Use: "pull IMAGE...", Short: "Pull images from their registries", Args: cobra.MinimumNArgs(1)}
	pull.Flags().String("registry-dir", defaultDataDir()+"/certs.d", "how to reach registries: <host>/hosts.toml, as containerd has it")
	with := func(do func(ctx context.Context, c *cobra.Command, r *containerd.Client, args []string) error) func(*cobra.Command, []string) error {
		return func(c *cobra.Command, args []string) error {
			if os.Geteuid() != 0 {
				return fmt.Errorf("images belong to the node, which is root's: use `sudo tenet image %s`", c.Name())
			}
			r, err := images.Open(c.Context(), filepath.Join(runDir, "containerd", "containerd.sock"))
			if err != nil {
				return err
			}
			defer r.Close()
			return do(c.Context(), c, r, args)
		}
	}
	pull.RunE = with(imagePull)
	c.AddCommand(
		&cobra.Command{Use: "load FILE...", Short: "Load images from archives (docker save, OCI layout); - is standard input", Args: cobra.MinimumNArgs(1), RunE: with(imageLoad)},
		&cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "List images", Args: cobra.NoArgs, RunE: with(imageList)},
		pull,
		&cobra.Command{Use: "rm IMAGE...", Aliases: []string{"remove"}, Short: "Remove images", Args: cobra.MinimumNArgs(1), RunE: with(imageRemove)},
	)
	return c
}

func imageLoad(ctx context.Context, c *cobra.Command, r *containerd.Client, args []string) error {
	for _, path := range args {
		var in io.ReadCloser = os.Stdin
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			in = f
		}
		names, err := images.Import(ctx, r, in)
		in.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, name := range names {
			fmt.Fprintln(c.OutOrStdout(), "loaded", name)
		}
	}
	return nil
}

func imageList(ctx context.Context, c *cobra.Command, r *containerd.Client, _ []string) error {
	list, err := images.List(ctx, r)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tDIGEST\tSIZE\tAGE")
	for _, i := range list {
		digest := i.Digest
		if len(digest) > 19 {
			digest = digest[:19]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.Name, digest, resource.NewQuantity(i.Size>>10<<10, resource.BinarySI), duration.HumanDuration(time.Since(i.Created)))
	}
	return w.Flush()
}

func imageRemove(ctx context.Context, c *cobra.Command, r *containerd.Client, args []string) error {
	for _, name := range args {
		if err := images.Remove(ctx, r, name); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), "removed", name)
	}
	return nil
}
