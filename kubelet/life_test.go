package kubelet

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet/cri/fake"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts print into testdata")

// story is one kubelet with a fake runtime, in virtual time.
type story struct {
	t       *testing.T
	api     *api
	rt      *fake.Runtime
	out     bytes.Buffer
	shown   int
	behave  map[string]fake.Behavior
	exec    map[string]int32
	noPull  map[string]bool
	cancel  context.CancelFunc
	ended   chan error
	uid     int
	handler *Kubelet
}

func (s *story) start() {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	k, err := New(Config{
		Client: s.api, Cache: cache{s.api}, Recorder: recorder{s.api}, Runtime: s.rt, NodeName: "n1", NodeIPs: []string{"192.0.2.1"}, Hollow: true,
		Logger: slog.New(slog.NewTextHandler(&testWriter{s.t}, nil)), CgroupRoot: "-",
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.handler = k
	s.ended = make(chan error, 1)
	go func() { s.ended <- k.Run(ctx) }()
	synctest.Wait()
}

func (s *story) stop() {
	s.cancel()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
	synctest.Wait()
}

type testWriter struct{ t *testing.T }

func (w *testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// TestLife runs the stories in testdata/life: each line is a command, and what it prints stands below it.
func TestLife(t *testing.T) {
	files, err := filepath.Glob("testdata/life/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data := map[string][]byte{}
			want := ""
			for _, f := range ar.Files {
				if f.Name == "want" {
					want = string(f.Data)
				} else {
					data[f.Name] = f.Data
				}
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = tell(t, string(ar.Comment), data) })
			if got == want {
				return
			}
			if !*rewrite {
				t.Fatalf("the story %s goes differently (go test -rewrite writes it down)\nfirst at: %s\n--- got\n%s", file, firstDifference(got, want), got)
			}
			for i := range ar.Files {
				if ar.Files[i].Name == "want" {
					ar.Files = append(ar.Files[:i], ar.Files[i+1:]...)
					break
				}
			}
			ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(got)})
			if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func tell(t *testing.T, script string, data map[string][]byte) string {
	s := &story{t: t, api: newAPI(), behave: map[string]fake.Behavior{}, exec: map[string]int32{}, noPull: map[string]bool{}}
	s.rt = fake.New(fake.Options{
		Images: []string{"there:1"},
		Behave: func(_ *runtimeapi.PodSandboxConfig, c *runtimeapi.ContainerConfig) fake.Behavior {
			if b, ok := s.behave[fmt.Sprintf("%s#%d", c.Metadata.Name, c.Metadata.Attempt)]; ok {
				return b
			}
			return s.behave[c.Metadata.Name]
		},
		Exec: func(c string, cmd []string) (string, int32, error) {
			code := s.exec[c+":"+strings.Join(cmd, " ")]
			return fmt.Sprintf("%s says %d", c, code), code, nil
		},
		Pull: func(image string, _ *runtimeapi.AuthConfig) error {
			if s.noPull[image] {
				return fmt.Errorf("failed to resolve reference %q: not found", image)
			}
			return nil
		},
		PullTime: time.Second,
	})
	s.start()
	for n, line := range strings.Split(script, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		fmt.Fprintf(&s.out, "> %s\n", line)
		if err := s.do(f, data); err != nil {
			t.Fatalf("line %d, %s: %v", n+1, line, err)
		}
	}
	s.stop()
	return s.out.String()
}

func (s *story) do(f []string, data map[string][]byte) error {
	ctx := context.Background()
	switch f[0] {
	case "apply": // a file: creates the pod, bound to the node
		pod := &corev1.Pod{}
		if err := yaml.UnmarshalStrict(data[f[1]], pod); err != nil {
			return err
		}
		s.uid++
		pod.Namespace, pod.UID, pod.Generation, pod.Spec.NodeName = "default", types.UID(fmt.Sprintf("uid%d", s.uid)), 1, "n1"
		if pod.Spec.RestartPolicy == "" {
			pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
		}
		pod.Status.Phase = corev1.PodPending
		if _, err := s.api.Create(ctx, core.Pod, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
	case "container": // name [key=value...]
		b := fake.Behavior{}
		for _, kv := range f[2:] {
			k, v, _ := strings.Cut(kv, "=")
			n, _ := strconv.Atoi(v)
			d, _ := time.ParseDuration(v)
			switch k {
			case "exits":
				b.Exits, b.ExitCode = true, int32(n)
			case "runs":
				b.RunFor = d
			case "code":
				b.ExitCode = int32(n)
			case "stop-takes":
				b.StopTakes = d
			case "start-error":
				b.StartError = v
			default:
				return fmt.Errorf("unknown behaviour %s", k)
			}
		}
		s.behave[f[1]] = b
		return nil
	case "exec": // container command code
		n, err := strconv.Atoi(f[3])
		s.exec[f[1]+":"+f[2]] = int32(n)
		return err
	case "no-image":
		s.noPull[f[1]] = true
		return nil
	case "image":
		delete(s.noPull, f[1])
		return nil
	case "exit": // pod container code
		n, _ := strconv.Atoi(f[3])
		if !s.rt.Exit(f[1], f[2], int32(n)) {
			return fmt.Errorf("no such running container")
		}
	case "crash": // pod: its sandbox dies
		s.rt.Crash(f[1])
	case "delete": // pod [grace]
		o := metav1.DeleteOptions{}
		if len(f) > 2 {
			n, _ := strconv.ParseInt(f[2], 10, 64)
			o.GracePeriodSeconds = &n
		}
		if err := s.api.Delete(ctx, core.Pod, "default", f[1], o); err != nil {
			return err
		}
	case "label": // pod key value: any update of metadata
		o, err := s.api.Get(ctx, core.Pod, "default", f[1])
		if err != nil {
			return err
		}
		pod := o.(*corev1.Pod).DeepCopy()
		pod.Labels = map[string]string{f[2]: f[3]}
		_, err = s.api.Update(ctx, core.Pod, pod, "", metav1.UpdateOptions{})
		return err
	case "gate": // pod condition status
		o, err := s.api.Get(ctx, core.Pod, "default", f[1])
		if err != nil {
			return err
		}
		pod := o.(*corev1.Pod).DeepCopy()
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodConditionType(f[2]), Status: corev1.ConditionStatus(f[3])})
		if _, err := s.api.Update(ctx, core.Pod, pod, "status", metav1.UpdateOptions{}); err != nil {
			return err
		}
	case "restart-kubelet":
		s.stop()
		s.start()
	case "wait":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		time.Sleep(d)
	case "runtime":
		synctest.Wait()
		fmt.Fprintln(&s.out, s.rt.Dump())
		return nil
	case "pod":
		synctest.Wait()
		o, err := s.api.Get(ctx, core.Pod, "default", f[1])
		if err != nil {
			fmt.Fprintln(&s.out, err)
			return nil
		}
		s.out.WriteString(show(o.(*corev1.Pod)))
		return nil
	case "writes": // at most so many status writes since the last look
		s.api.mu.Lock()
		defer s.api.mu.Unlock()
		most, _ := strconv.Atoi(f[1]) // how many rounds one instant takes is not determined
		if s.api.statuses > most {
			fmt.Fprintf(&s.out, "%d status writes, want at most %d\n", s.api.statuses, most)
		}
		s.api.statuses = 0
		return nil
	default:
		return fmt.Errorf("unknown command")
	}
	synctest.Wait()
	s.tellEvents()
	return nil
}

func (s *story) tellEvents() {
	s.api.mu.Lock()
	defer s.api.mu.Unlock()
	fresh := append([]string(nil), s.api.events[s.shown:]...)
	s.shown = len(s.api.events)
	sort.SliceStable(fresh, func(i, j int) bool { return fresh[i] < fresh[j] }) // those of one instant have no order
	for _, e := range fresh {
		fmt.Fprintln(&s.out, e)
	}
}

// show prints a pod's status as a few lines.
func show(p *corev1.Pod) string {
	var b strings.Builder
	st := &p.Status
	fmt.Fprintf(&b, "%s %s", p.Name, st.Phase)
	if st.Reason != "" {
		fmt.Fprintf(&b, " (%s: %s)", st.Reason, st.Message)
	}
	if st.PodIP != "" {
		fmt.Fprintf(&b, " ip=%s", st.PodIP)
	}
	for _, c := range st.Conditions {
		fmt.Fprintf(&b, "\n  %s=%s", c.Type, c.Status)
		if c.Reason != "" {
			fmt.Fprintf(&b, " %s", c.Reason)
		}
		if c.Message != "" {
			fmt.Fprintf(&b, ": %s", c.Message)
		}
	}
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
		for _, c := range list {
			fmt.Fprintf(&b, "\n  %s: %s ready=%t started=%t restarts=%d", c.Name, state(c.State), c.Ready, *c.Started, c.RestartCount)
			if l := c.LastTerminationState; l.Terminated != nil {
				fmt.Fprintf(&b, " last=%s", state(l))
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

func state(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Waiting != nil:
		if s.Waiting.Message != "" {
			return s.Waiting.Reason + "(" + s.Waiting.Message + ")"
		}
		return s.Waiting.Reason
	case s.Terminated != nil:
		return fmt.Sprintf("%s(%d)", s.Terminated.Reason, s.Terminated.ExitCode)
	}
	return "?"
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			other := "nothing"
			if i < len(w) {
				other = w[i]
			}
			return fmt.Sprintf("line %d, got %q, want %q", i+1, g[i], other)
		}
	}
	return "the end: more is wanted"
}
