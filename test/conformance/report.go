package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// outcome is how one test ended.
type outcome struct {
	name, area string
	state      string // passed, failed or skipped
	message    string // why it failed
	took       time.Duration
}

var areaPattern = regexp.MustCompile(`^\[(sig-[a-z-]+)\]`)

// readReport reads ginkgo's JSON report. Tests that were not selected are left out.
func readReport(path string) ([]outcome, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			RunTime                 time.Duration
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(data, &reports); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []outcome
	for _, r := range reports {
		for _, s := range r.SpecReports {
			o := outcome{name: strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " "), took: s.RunTime, message: s.Failure.Message}
			switch {
			case s.LeafNodeType != "It" && s.State == "failed":
				// The suite's own setup, for one.
				o.name, o.state = "["+s.LeafNodeType+"]", "failed"
			case s.LeafNodeType != "It", s.State == "pending", s.State == "skipped" && s.Failure.Message == "":
				continue
			case s.State == "passed", s.State == "skipped":
				o.state = s.State
			default: // failed, panicked, timedout, interrupted, aborted
				o.state = "failed"
				if s.State != "failed" {
					o.message = s.State + ": " + o.message
				}
			}
			if m := areaPattern.FindStringSubmatch(o.name); m != nil {
				o.area = m[1]
			}
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b outcome) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// table counts outcomes per area.
func table(all []outcome) string {
	type counts struct{ passed, failed, skipped int }
	areas := map[string]*counts{}
	var names []string
	total := &counts{}
	for _, o := range all {
		c := areas[o.area]
		if c == nil {
			c = &counts{}
			areas[o.area] = c
			names = append(names, o.area)
		}
		for _, c := range []*counts{c, total} {
			switch o.state {
			case "passed":
				c.passed++
			case "failed":
				c.failed++
			default:
				c.skipped++
			}
		}
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintln(&b, "| area | passed | failed | skipped |\n|---|---|---|---|")
	for _, n := range names {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", n, areas[n].passed, areas[n].failed, areas[n].skipped)
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d |\n", total.passed, total.failed, total.skipped)
	return b.String()
}

// readLines reads a list: a line each, # begins a comment line.
func readLines(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out, nil
}

// readReasons reads reasons.txt: the name of a test, " :: ", and why it fails.
func readReasons(path string) (map[string]string, error) {
	lines, err := readLines(path)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, l := range lines {
		name, why, ok := strings.Cut(l, " :: ")
		if !ok || strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("%s: %q names no reason", path, l)
		}
		out[name] = why
	}
	return out, nil
}

// firstLine shortens a failure to what fits into a list.
func firstLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + " ..."
	}
	return s
}
