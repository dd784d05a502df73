package all_test

import (
	"os"
	"testing"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	allkinds "github.com/tenet-run/tenet/kinds/all"
)

// TestGraph keeps the picture of who reads and who owns what; go test -rewrite accepts a change.
func TestGraph(t *testing.T) {
	list := listed(kinds.NewSet(allkinds.Kinds()...))
	if err := controllers.Check(list...); err != nil {
		t.Fatal(err)
	}
	got := controllers.Graph(list...)
	if *rewrite {
		if err := os.WriteFile("testdata/graph.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/graph.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the graph has changed (go test -rewrite accepts it)\ngot:\n%s\nwant:\n%s", got, want)
	}
}
