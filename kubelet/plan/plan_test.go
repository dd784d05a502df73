package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var rewrite = flag.Bool("rewrite", false, "write what the tables print into testdata")

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestNext runs the tables in testdata. A section describes one state of the pod in file "pod", a fact a line; its plan and phase are printed below it.
func TestNext(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no tables", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var pod corev1.Pod
			if err := yaml.UnmarshalStrict(ar.Files[0].Data, &pod); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for _, section := range strings.Split(strings.TrimSpace(string(ar.Files[1].Data)), "\n\n") {
				var facts []string
				for _, l := range strings.Split(section, "\n") {
					if !strings.HasPrefix(l, "  ") {
						facts = append(facts, l)
					}
				}
				s := parse(t, pod.DeepCopy(), facts)
				fmt.Fprintf(&out, "%s\n%s\n", strings.Join(facts, "\n"), answer(s))
			}
			got := strings.TrimSuffix(out.String(), "\n")
			if got == string(ar.Files[1].Data) {
				return
			}
			if !*rewrite {
				t.Fatalf("plans differ (go test -rewrite writes them down)\n--- got\n%s\n--- want\n%s", got, ar.Files[1].Data)
			}
			ar.Files[1].Data = []byte(got)
			if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func parse(t *testing.T, pod *corev1.Pod, facts []string) *State {
	t.Helper()
	pod.Name, pod.Namespace, pod.UID = "p", "ns", "u"
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	at := metav1.NewTime(start)
	pod.Status.StartTime = &at
	s := &State{Pod: pod, Now: start.Add(time.Minute), Images: map[string]Image{}, Busy: map[string]Busy{}, Failed: map[string]Failure{}, Probes: map[string]Probes{}, Backoff: map[string]Backoff{}}
	seconds := func(v string) int64 { n, err := strconv.ParseInt(v, 10, 64); must(t, err); return n }
	for _, line := range facts {
		f := strings.Fields(line)
		switch f[0] {
		case "#":
		case "now":
			s.Now = start.Add(time.Duration(seconds(f[1])) * time.Second)
		case "volumes":
			s.Volumes = true
		case "image":
			s.Images[f[1]] = Image{Ref: "r"}
		case "busy": // key [grace since]
			b := Busy{Since: start}
			if len(f) > 2 {
				b.Grace = seconds(f[2])
				b.Since = start.Add(time.Duration(seconds(f[3])) * time.Second)
			}
			s.Busy[f[1]] = b
		case "failed": // key reason retry
			s.Failed[f[1]] = Failure{Reason: f[2], Retry: start.Add(time.Duration(seconds(f[3])) * time.Second)}
		case "sandbox": // id attempt ready|dead, newest first
			s.Sandboxes = append(s.Sandboxes, Sandbox{ID: f[1], Attempt: uint32(seconds(f[2])), Ready: f[3] == "ready", IPs: []string{"10.0.0.1"}})
		case "container": // name#attempt box phase [code finished]
			name, n, _ := strings.Cut(f[1], "#")
			c := Container{ID: f[1], Name: name, Attempt: uint32(seconds(n)), SandboxID: f[2], StartedAt: start}
			switch f[3] {
			case "running":
				c.Phase = Running
				s.Probes[c.ID] = Probes{Started: true, Ready: true}
			case "exited":
				c.Phase, c.ExitCode, c.Reason = Exited, int32(seconds(f[4])), "Error"
				c.FinishedAt = start.Add(time.Duration(seconds(f[5])) * time.Second)
			case "unknown":
				c.Phase = Unknown
			}
			s.Containers = append(s.Containers, c)
		case "hash": // of a container's definition when it was started
			for i := range s.Containers {
				if s.Containers[i].ID == f[1] {
					s.Containers[i].Hash = f[2]
				}
			}
		case "probe": // id started ready unhealthy
			s.Probes[f[1]] = Probes{Started: f[2] == "true", Ready: f[3] == "true", Unhealthy: strings.Trim(f[4], "-")}
		case "backoff": // name delay at
			s.Backoff[f[1]] = Backoff{Delay: time.Duration(seconds(f[2])) * time.Second, At: start.Add(time.Duration(seconds(f[3])) * time.Second)}
		case "deleted": // grace since
			g := seconds(f[1])
			pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &at, &g
			s.TerminatingSince = start.Add(time.Duration(seconds(f[2])) * time.Second)
		case "gone":
			s.Gone = true
		case "cleaned":
			s.CleanedUp = true
		default:
			t.Fatalf("unknown fact %q", line)
		}
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func answer(s *State) string {
	var b strings.Builder
	p := Next(s)
	for _, a := range p.Actions {
		fmt.Fprintf(&b, "  %s", a.Do)
		if a.Container != "" {
			fmt.Fprintf(&b, " %s", a.Container)
		}
		if a.Do == StartOne || a.Do == RunSandbox {
			fmt.Fprintf(&b, " attempt=%d", a.Attempt)
		}
		if a.Do == KillContainer {
			fmt.Fprintf(&b, " grace=%d", a.Grace)
		}
		if a.Do == StopSandbox {
			fmt.Fprintf(&b, " %s", a.ID)
		}
		if a.Message != "" {
			fmt.Fprintf(&b, " %q", a.Message)
		}
		b.WriteString("\n")
	}
	if !p.Wake.IsZero() {
		fmt.Fprintf(&b, "  wake at %v\n", p.Wake.Sub(start))
	}
	if p.Stop != nil {
		fmt.Fprintf(&b, "  stop: %s\n", p.Stop.Reason)
	}
	if p.Done {
		b.WriteString("  done\n")
	}
	fmt.Fprintf(&b, "  -> %s\n", Status(s).Phase)
	return b.String()
}

func TestStatusStaysTerminal(t *testing.T) {
	s := parse(t, &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}}, nil)
	s.Pod.Status.Phase = corev1.PodFailed
	s.Pod.Status.Reason = "Evicted"
	if got := Status(s); got.Phase != corev1.PodFailed || got.Reason != "Evicted" {
		t.Errorf("got %s %s", got.Phase, got.Reason)
	}
	for _, a := range Next(s).Actions {
		if a.Do != CleanUp {
			t.Errorf("a pod that has ended is given %v", a)
		}
	}
}

func TestRestarts(t *testing.T) {
	always, never := corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever
	rule := []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}}
	for _, c := range []struct {
		pod  corev1.RestartPolicy
		own  *corev1.ContainerRestartPolicy
		rule []corev1.ContainerRestartRule
		code int32
		want bool
	}{
		{corev1.RestartPolicyAlways, nil, nil, 0, true},
		{corev1.RestartPolicyOnFailure, nil, nil, 0, false},
		{corev1.RestartPolicyOnFailure, nil, nil, 1, true},
		{corev1.RestartPolicyNever, nil, nil, 1, false},
		{corev1.RestartPolicyNever, &always, nil, 0, true},
		{corev1.RestartPolicyAlways, &never, nil, 1, false},
		{corev1.RestartPolicyNever, &never, rule, 42, true},
		{corev1.RestartPolicyNever, &never, rule, 41, false},
	} {
		got := Restarts(&corev1.PodSpec{RestartPolicy: c.pod}, &corev1.Container{RestartPolicy: c.own, RestartPolicyRules: c.rule}, c.code)
		if got != c.want {
			t.Errorf("pod %s, container %v, rules %d, code %d: restarts %t", c.pod, c.own, len(c.rule), c.code, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	now := start
	var got []string
	for range 8 {
		b = b.Next(now, now)
		got = append(got, b.Delay.String())
		now = b.Until(now)
	}
	if want := "10s 20s 40s 1m20s 2m40s 5m0s 5m0s 5m0s"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	ended := now.Add(BackoffReset + time.Second)
	if !b.Until(ended).IsZero() || b.Next(ended, ended).Delay != BackoffFirst {
		t.Errorf("a container that ran for more than %v does not start afresh", BackoffReset)
	}
}
