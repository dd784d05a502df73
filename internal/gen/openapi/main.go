// Command openapi generates the data of kinds/openapi: it runs kube-openapi's openapi-gen over the packages of the built-in kinds' types, and makes
// OpenAPI documents and the schema for server-side apply of what that writes and of the list of kinds.
//
//	go run ./internal/gen/openapi [-out folder]
//
// The definitions that openapi-gen writes are a megabyte of Go, needed for a moment only: they never enter the tree. The second half of the work
// runs as a program of its own that has them overlaid.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/tenet-run/tenet/kinds/all"
)

// builder is the program that has the definitions at hand.
const builder = `package main

import (
	"fmt"
	"os"

	"github.com/tenet-run/tenet/internal/gen/openapi/documents"
	"github.com/tenet-run/tenet/internal/gen/openapi/overlaid/definitions"
	"github.com/tenet-run/tenet/kinds/all"
)

func main() {
	if err := documents.Write(os.Args[1], os.Args[2], definitions.GetOpenAPIDefinitions, all.Kinds()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

func main() {
	out := flag.String("out", "", "folder to write to (kinds/openapi/data of this module)")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	root, err := command("", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tenet-run/tenet").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	module := strings.TrimSpace(string(root))
	if out == "" {
		out = filepath.Join(module, "kinds", "openapi", "data")
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "openapi-gen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	header := filepath.Join(temp, "header")
	if err := os.WriteFile(header, nil, 0o600); err != nil {
		return err
	}
	args := append([]string{"run", "k8s.io/kube-openapi/cmd/openapi-gen", "--output-dir", temp, "--output-pkg", "definitions",
		"--output-file", "definitions.go", "--go-header-file", header, "--report-filename", filepath.Join(temp, "report")}, packages()...)
	if err := command(module, "go", args...).Run(); err != nil {
		return fmt.Errorf("openapi-gen: %w", err)
	}
	if err := os.WriteFile(filepath.Join(temp, "main.go"), []byte(builder), 0o600); err != nil {
		return err
	}
	here := filepath.Join(module, "internal", "gen", "openapi", "overlaid")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(here, "main.go"):                       filepath.Join(temp, "main.go"),
		filepath.Join(here, "definitions", "definitions.go"): filepath.Join(temp, "definitions.go"),
	}})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(temp, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	if err := command(module, "go", "run", "-overlay", overlayFile, "./internal/gen/openapi/overlaid", out, filepath.Join(module, "go.mod")).Run(); err != nil {
		return fmt.Errorf("build the documents: %w", err)
	}
	return nil
}

// packages holds the types of all kinds and their subresources, and those of apimachinery that they are made of.
func packages() []string {
	set := map[string]bool{
		"k8s.io/apimachinery/pkg/apis/meta/v1": true, "k8s.io/apimachinery/pkg/runtime": true, "k8s.io/apimachinery/pkg/version": true,
		"k8s.io/apimachinery/pkg/util/intstr": true, "k8s.io/apimachinery/pkg/api/resource": true, "k8s.io/api/core/v1": true,
		"k8s.io/api/scheduling/v1alpha3": true, // a Job's fields behind a gate
	}
	add := func(v any) { set[reflect.TypeOf(v).Elem().PkgPath()] = true }
	for _, k := range all.Kinds() {
		for _, s := range k.Served {
			add(s.New())
		}
		for _, s := range k.Subresources {
			if s.New != nil {
				add(s.New())
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func command(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir, c.Stderr = dir, os.Stderr
	return c
}
