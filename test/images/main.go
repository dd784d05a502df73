// Command images builds container images from Debian packages, for tests and for machines that reach no registry:
//
//	go run ./test/images nginx -o nginx.tar     # docker.io/library/nginx:stable
//	go run ./test/images busybox -o busybox.tar # docker.io/library/busybox:stable
//
// The archives load with `tenet image load`, docker load and podman load. Nothing is installed on this machine; packages come with apt-get download.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tenet-run/tenet/internal/images"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

var builders = map[string]func(*packages) (images.Archive, error){"nginx": nginx, "busybox": busybox}

func run(args []string) error {
	if len(args) == 0 || builders[args[0]] == nil {
		return fmt.Errorf("usage: images nginx|busybox [-o file.tar]")
	}
	name := args[0]
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	out := flags.String("o", name+".tar", "archive to write")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image, err := builders[name](&packages{dir: dir})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return write(*out, image)
}

// write makes the file whole or not at all: make takes a file that exists for one that is done.
func write(path string, image images.Archive) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".image-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriterSize(tmp, 1<<20)
	if _, err := image.WriteTo(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	fmt.Println(path, "holds", image.Name)
	return nil
}
