package conformance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tenet-run/tenet/internal/isolate"
)

var (
	lists  = flag.String("lists", "", "run the tests named in these files of lists/, comma separated, without .txt (make conformance LISTS=...)")
	focus  = flag.String("focus", "", "run the tests whose names match, among [Conformance] (make conformance FOCUS=...)")
	node   = flag.Bool("node", false, "start a node too")
	procs  = flag.Int("procs", 4, "tests that run at once")
	result = flag.String("result", "", "write the result to this file")
	again  = flag.Int("again", 1, "how often a test is tried before it has failed")
	limit  = flag.Duration("limit", 2*time.Hour, "give up after this time")
)

func TestMain(m *testing.M) { isolate.Main(m) }

// TestConformance runs the chosen tests of the upstream suite.
func TestConformance(t *testing.T) {
	if *lists == "" && *focus == "" {
		t.Skip("nothing chosen: make conformance")
	}
	isolate.Need(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pattern := *focus
	chosen := 0
	if *lists != "" {
		var names []string
		for _, l := range strings.Split(*lists, ",") {
			more, err := readLines(filepath.Join("lists", l+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range more {
				if *focus == "" || regexp.MustCompile(*focus).MatchString(n) {
					names = append(names, regexp.QuoteMeta(n))
				}
			}
		}
		chosen = len(names)
		pattern = strings.Join(names, "|")
	}
	reasons, err := readReasons("reasons.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, root)
	if !*node {
		c.hollowNode(t) // tests that run no containers may need one to be there
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), *limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, ".cache/conformance/ginkgo"),
		fmt.Sprintf("--procs=%d", *procs), "--timeout="+limit.String(), "--focus="+pattern, `--label-filter=Conformance`, "--silence-skips", "--no-color", "--poll-progress-after=0", fmt.Sprintf("--flake-attempts=%d", *again),
		"--output-dir="+dir, "--json-report=report.json", filepath.Join(root, ".cache/conformance/e2e.test"), "--",
		"--kubeconfig="+c.kubeconfig, "--provider=skeleton", "--kubectl-path="+filepath.Join(root, ".cache/carried/kubectl"),
		"--num-nodes=1", "--disable-log-dump", "--report-complete-ginkgo=false", "--report-complete-junit=false")
	log, err := os.Create(filepath.Join(root, ".cache/conformance/log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// The runner asks the go command which ginkgo the folder it is in uses; there is no way out to ask a proxy.
	cmd.Dir = "upstream"
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(c.env, "GOPROXY=off", "GOFLAGS=-mod=mod")
	began := time.Now()
	runErr := cmd.Run()
	took := time.Since(began).Round(time.Second)
	all, err := readReport(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatalf("%v; the suite ended with %v, its output is in .cache/conformance/log", err, runErr)
	}
	ran := 0
	var failures, known strings.Builder
	for _, o := range all {
		if o.state != "skipped" {
			ran++
		}
		why, expected := reasons[o.name]
		switch {
		case o.state == "failed" && expected:
			fmt.Fprintf(&known, "* %s: %s\n", o.name, why)
		case o.state == "failed":
			fmt.Fprintf(&failures, "* %s: %s\n", o.name, firstLine(o.message))
			t.Errorf("%s failed: %s", o.name, firstLine(o.message))
		case o.state == "passed" && expected:
			t.Errorf("%s passes: take it out of reasons.txt", o.name)
		}
	}
	if ran == 0 {
		t.Errorf("no test ran; the suite ended with %v, its output is in .cache/conformance/log", runErr)
	}
	text := table(all)
	t.Logf("%d chosen, %s, %d at once\n%s", chosen, took, *procs, text)
	if *result == "" {
		return
	}
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	what := *lists
	if *focus != "" {
		what = strings.TrimPrefix(what+", ", ", ") + "tests that match `" + *focus + "`"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Kubernetes' conformance tests\n\nThe suite of Kubernetes 1.36.3, unchanged, against `bin/tenet`. Date %s, commit %s, %s, %d at once, %s. Node: %v. `make conformance` makes this file.\n\n%s",
		time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), what, *procs, took, *node, text)
	for _, part := range []struct{ title, lines string }{{"Failed", failures.String()}, {"Failed for a reason that is known", known.String()}} {
		if part.lines != "" {
			fmt.Fprintf(&b, "\n## %s\n\n%s", part.title, part.lines)
		}
	}
	if err := os.WriteFile(*result, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
