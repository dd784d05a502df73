// Command bench puts the same work on stock Kubernetes (etcd + kube-apiserver) and on Tenet, one after the other in one run, and prints both sides.
//
//	go run . -tenet ../../bin/tenet -peers ~/.cache/tenet-peers/bin -out ../../docs/results/bench.md
//
// Both are asked over TLS on loopback by the same load generator, whose own CPU is printed. Pods name a scheduler that does not exist, so that
// neither side schedules them. Bodies are asked for with Accept-Encoding: identity unless a row says gzip.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

var (
	tenetBin = flag.String("tenet", "../../bin/tenet", "the tenet program")
	peersDir = flag.String("peers", os.Getenv("HOME")+"/.cache/tenet-peers/bin", "folder with etcd and kube-apiserver; see peers.sh")
	outFile  = flag.String("out", "", "also write the table here")
	objects  = flag.Int("objects", 10000, "how many pods")
	only     = flag.String("only", "", "run one side only: tenet or peer")
	watchers = flag.Int("watchers", 200, "watchers in the fan-out")
	repeat   = flag.Int("repeat", 1, "do the rows about lists and watches so many times over, for profiles")
	profiles = flag.String("profiles", "", "folder for CPU profiles of the servers (one row each), for as long as -seconds")
	seconds  = flag.Int("seconds", 3, "length of each profile; work that is shorter is waited for")
	silent   = flag.Int("silent", 50, "watchers that never read, beside nine times as many that do")
	idleFor  = flag.Duration("idle", 20*time.Second, "how long the idle figures are taken")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var sides []*side
	if *only != "tenet" {
		sides = append(sides, &side{name: "etcd + kube-apiserver", start: startPeer(filepath.Join(dir, "peer"))})
	}
	if *only != "peer" {
		sides = append(sides, &side{name: "tenet", start: startTenet(filepath.Join(dir, "tenet"))})
	}
	var results []*results
	for _, s := range sides {
		r, err := s.run()
		if err != nil {
			log.Printf("%s: %v", s.name, err)
			os.RemoveAll(dir)
			os.Exit(1)
		}
		results = append(results, r)
	}
	table := render(sides, results)
	fmt.Print(table)
	if *outFile != "" {
		if err := os.WriteFile(*outFile, []byte(header()+table), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

func header() string {
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	return fmt.Sprintf("# The API server beside etcd 3.6 + kube-apiserver 1.36.3\n\nDate %s, commit %s, %d pods, one run, both sides after one another on the same machine (2 cores). `make bench` makes this file.\n"+
		"CPU is that of the server processes; \"load\" is the CPU of the load generator. Accept-Encoding is identity unless a row says gzip.\n\n",
		time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), *objects)
}

func render(sides []*side, all []*results) string {
	var b strings.Builder
	b.WriteString("| what |")
	for _, s := range sides {
		fmt.Fprintf(&b, " %s |", s.name)
	}
	if len(sides) == 2 {
		b.WriteString(" ratio |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(sides)))
	if len(sides) == 2 {
		b.WriteString("---|")
	}
	b.WriteString("\n")
	for i, row := range all[0].rows {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, r := range all {
			fmt.Fprintf(&b, " %s |", r.rows[i].text)
		}
		if len(all) == 2 {
			a, t := all[0].rows[i].value, all[1].rows[i].value
			switch {
			case a == 0 || t == 0:
				b.WriteString(" |")
			case row.higher:
				fmt.Fprintf(&b, " %.1fx |", t/a)
			default:
				fmt.Fprintf(&b, " %.1fx |", a/t)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// results are the rows of one side, in order.
type results struct{ rows []row }

type row struct {
	name, text string
	value      float64
	higher     bool // more is better
}

func (r *results) add(name string, value float64, higher bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	log.Printf("  %-50s %s", name, text)
	r.rows = append(r.rows, row{name, text, value, higher})
}
