package scheduler

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestPlace runs the scripts in testdata. A script is a list of YAML documents, each a Node, a Pod with a node (it is counted there), a Pod without one
// (it is placed; what came out is printed, and it then counts on its node), or a line `- remove pod NAME`, `- remove node NAME` as a document. The file "out" is what was printed.
func TestPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts in testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var in, want string
			for _, f := range a.Files {
				if f.Name == "in" {
					in = string(f.Data)
				} else if f.Name == "out" {
					want = string(f.Data)
				}
			}
			got := play(t, in)
			if got == want {
				return
			}
			if *update {
				a.Files = []txtar.File{{Name: "in", Data: []byte(in)}, {Name: "out", Data: []byte(got)}}
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("got:\n%s\nwant:\n%s\n(go test ./scheduler -update rewrites it)", got, want)
		})
	}
}

func play(t *testing.T, in string) string {
	s := NewSnapshot()
	var out bytes.Buffer
	for _, doc := range strings.Split(in, "\n---\n") {
		doc = strings.TrimSpace(doc)
		if rest, ok := strings.CutPrefix(doc, "- remove pod "); ok {
			s.RemovePod(types.NamespacedName{Namespace: "default", Name: rest})
			continue
		}
		if rest, ok := strings.CutPrefix(doc, "- remove node "); ok {
			s.RemoveNode(rest)
			continue
		}
		var head struct{ Kind string }
		must(t, yaml.Unmarshal([]byte(doc), &head))
		switch head.Kind {
		case "Node":
			var n corev1.Node
			must(t, yaml.UnmarshalStrict([]byte(doc), &n))
			s.SetNode(&n)
		case "Pod":
			var p corev1.Pod
			must(t, yaml.UnmarshalStrict([]byte(doc), &p))
			p.Namespace = "default"
			if p.Spec.NodeName != "" {
				s.SetPod(&p, p.Spec.NodeName)
				continue
			}
			where, err := s.Place(&p)
			switch {
			case err != nil:
				fmt.Fprintf(&out, "%s: error: %v\n", p.Name, err)
			case where.Node == "":
				fmt.Fprintf(&out, "%s: %s\n", p.Name, where.Message())
			default:
				fmt.Fprintf(&out, "%s -> %s\n", p.Name, where.Node)
				s.SetPod(&p, where.Node)
			}
		default:
			t.Fatalf("unknown document: %s", doc)
		}
	}
	return out.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
