// Package lint holds the rules of the house that a machine can check. Each failure names the remedy.
package lint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/tenet-run/tenet"

// allowed says what each room may import of this module, by folder prefix. The longest matching room decides. Within a room everything may be imported.
//
//	kinds <- store <- apiserver;  kinds <- client <- controllers, scheduler, kubelet, network, gitops;  server <- cli <- cmd
var allowed = map[string][]string{
	"kinds":            {},
	"store":            {"kinds", "internal"},
	"apiserver":        {"kinds", "store", "internal"},
	"client":           {"kinds", "internal"},
	"controllers":      {"kinds", "client", "internal"},
	"scheduler":        {"kinds", "client", "internal"},
	"kubelet":          {"kinds", "client", "internal"},
	"network":          {"kinds", "client", "internal"},
	"gitops":           {"kinds", "client", "internal"},
	"internal":         {"kinds"},
	"server/control":   {"kinds", "store", "apiserver", "client", "controllers", "scheduler", "internal"},
	"server":           {"kinds", "store", "apiserver", "client", "controllers", "scheduler", "kubelet", "network", "gitops", "server/control", "internal"},
	"cli":              {"kinds", "client", "server", "controllers", "kubelet/cri", "internal"},
	"cmd":              {"cli", "internal"},
	"cmd/tenet-bridge": {"network"},
	"test":             {"*"},
}

// onlyFrom limits who may import a package, whatever the rooms say.
var onlyFrom = map[string][]string{
	"server":         {"cli", "test"},
	"server/control": {"server", "tenettest", "test"},
	"kinds/all":      {"server", "test", "internal/gen", "kinds/openapi"},
}

// heavy are packages that never reach the product, and why.
var heavy = map[string]string{
	"k8s.io/client-go/kubernetes/fake": "its init costs start time and memory; use client.Client and a fake of your own",
	"k8s.io/kubernetes":                "the monorepo is for test modules of their own (test/conformance, test/bench)",
	"k8s.io/apiserver/pkg/server":      "the API server is ours; take what stands alone from k8s.io/apiserver",
}

func TestImportDirections(t *testing.T) {
	root := moduleRoot(t)
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
				return filepath.SkipDir
			}
			if rel != "." {
				if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
					return filepath.SkipDir
				}
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := filepath.ToSlash(filepath.Dir(rel))
		test := strings.HasSuffix(path, "_test.go")
		for _, spec := range f.Imports {
			check(t, rel, from, strings.Trim(spec.Path.Value, `"`), test)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, file, from, path string, test bool) {
	for prefix, why := range heavy {
		if under(path, prefix) {
			t.Errorf("%s imports %s: %s", file, path, why)
		}
	}
	if !under(path, module) || test {
		return // tests may compose what they like
	}
	to := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	room := roomOf(from)
	if room == "" {
		t.Errorf("%s is in no known room: add its folder to internal/lint, with what it may import", file)
		return
	}
	for _, a := range allowed[room] {
		if a == "*" || under(to, a) {
			room = ""
			break
		}
	}
	if room != "" && !(under(to, room) && roomOf(to) == room) {
		t.Errorf("%s imports %s: %s may import only %s and itself. Parts meet through client; move the code, or pass what is needed in from server", file, to, room, strings.Join(allowed[room], ", "))
	}
	for pkg, who := range onlyFrom {
		if to != pkg || under(from, pkg) {
			continue
		}
		ok := false
		for _, w := range who {
			ok = ok || under(from, w)
		}
		if !ok {
			t.Errorf("%s imports %s, which only %s may: pass what is needed in from there", file, to, strings.Join(who, ", "))
		}
	}
}

func under(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func roomOf(folder string) string {
	var rooms []string
	for r := range allowed {
		if under(folder, r) {
			rooms = append(rooms, r)
		}
	}
	sort.Slice(rooms, func(i, j int) bool { return len(rooms[i]) > len(rooms[j]) })
	if len(rooms) == 0 {
		return ""
	}
	return rooms[0]
}

func moduleRoot(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
