package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

type planner = func(controllers.Snapshot, controllers.Key, time.Time) controllers.Plan

func ofConfigMaps(name string, plan planner) controllers.Controller {
	return controllers.Controller{
		Name:    name,
		Inputs:  []controllers.Input{{Kind: core.ConfigMap, Keys: controllers.Self}},
		Outputs: []controllers.Output{{Kind: core.Secret, Fields: "made by " + name}},
		Plan:    plan,
	}
}

func TestCheckNamesBothOwners(t *testing.T) {
	nothing := func(controllers.Snapshot, controllers.Key, time.Time) controllers.Plan { return controllers.Plan{} }
	a, b := ofConfigMaps("a", nothing), ofConfigMaps("b", nothing)
	b.Outputs = a.Outputs
	w := controllerstest.NewWorld(time.Now)
	err := controllers.Run(t.Context(), controllers.Deps{Client: w.Client(), Cache: w.Cache()}, a, b)
	if err == nil || !strings.Contains(err.Error(), `"a" and "b" both own secrets made by a`) {
		t.Errorf("got %v, want an error that names a, b and what both own", err)
	}
	incomplete := a
	incomplete.Plan = nil
	if err := controllers.Check(incomplete); err == nil {
		t.Error("a controller without a plan was accepted")
	}
	if err := controllers.Check(a, a); err == nil || !strings.Contains(err.Error(), `two are called "a"`) {
		t.Errorf("two of one name: got %v", err)
	}
	if err := controllers.Check(controllers.Controller{Name: "x", Inputs: []controllers.Input{{}}, Outputs: a.Outputs, Plan: nothing}); err == nil {
		t.Error("an input of no kind was accepted")
	}
}

func TestGraph(t *testing.T) {
	c := ofConfigMaps("a", nil)
	c.Inputs = append(c.Inputs, controllers.Input{Kinds: kinds.NewSet(core.Pod)}, controllers.Input{Kind: core.ConfigMap})
	c.Outputs = append(c.Outputs, controllers.Output{Fields: "status"})
	want := "a\n  reads   configmaps, *\n  writes  secrets made by a\n  writes  * status\n"
	if got := controllers.Graph(c); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// plans records when a planner was called for a key, by the virtual clock.
type plans struct {
	mu    sync.Mutex
	start time.Time
	at    map[string][]time.Duration
}

func (p *plans) note(key controllers.Key, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[string][]time.Duration{}
	}
	p.at[key.Name] = append(p.at[key.Name], now.Sub(p.start))
	return len(p.at[key.Name])
}

func (p *plans) of(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.at[name])
}

// run runs one controller over a world with the ConfigMap "x", until the test ends.
func run(t *testing.T, w *controllerstest.World, list ...controllers.Controller) *controllerstest.Recorder {
	if _, err := w.User().Create(t.Context(), core.ConfigMap, configMap("x"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rec := &controllerstest.Recorder{}
	var done sync.WaitGroup
	done.Go(func() {
		if err := controllers.Run(ctx, controllers.Deps{Client: w.Client(), Cache: w.Cache(), Recorder: rec}, list...); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return rec
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

func secret(i int) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("s%d", i)}}
}

func TestFailuresBackOff(t *testing.T) {
	for _, kind := range []string{"error", "panic", "failing write"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := controllerstest.NewWorld(time.Now)
				w.Before = func(controllerstest.Write) error { return apierrors.NewInternalError(errors.New("no")) }
				p := plans{start: time.Now()}
				run(t, w, ofConfigMaps("a", func(_ controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
					n := p.note(key, now)
					switch {
					case n > 4:
						return controllers.Plan{}
					case kind == "error":
						return controllers.Plan{Err: errors.New("no")}
					case kind == "panic":
						panic("no")
					}
					return controllers.Plan{Creates: []controllers.Create{{Kind: core.Secret, Object: secret(0)}}}
				}))
				time.Sleep(time.Hour)
				synctest.Wait()
				if got, want := p.of("x"), "[0s 5ms 15ms 35ms 75ms]"; got != want {
					t.Errorf("planned at %s, want %s", got, want)
				}
			})
		})
	}
}

func TestConflictPlansAnewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		p := plans{start: time.Now()}
		run(t, w, ofConfigMaps("a", func(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			switch n := p.note(key, now); {
			case n > 3:
				return controllers.Plan{}
			}
			old := configMap("x")
			old.ResourceVersion = "9999"
			return controllers.Plan{Updates: []controllers.Update{{Kind: core.ConfigMap, Object: old}}}
		}))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := p.of("x"), "[0s 0s 10ms 30ms]"; got != want {
			t.Errorf("planned at %s, want at once and then with backoff: %s", got, want)
		}
	})
}

func TestRequeueAfterAndMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		p := plans{start: time.Now()}
		run(t, w, ofConfigMaps("a", func(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			n, _ := s.Memory.(int)
			p.note(key, now)
			if n == 3 {
				return controllers.Plan{}
			}
			return controllers.Plan{RequeueAfter: time.Duration(n+1) * time.Minute, Remember: n + 1}
		}))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got, want := p.of("x"), "[0s 1m0s 3m0s 6m0s]"; got != want {
			t.Errorf("planned at %s, want %s", got, want)
		}
	})
}

func TestSlowStartStopsAtTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		tried := 0
		w.Before = func(controllerstest.Write) error {
			if tried++; tried > 5 {
				return apierrors.NewForbidden(core.Secret.GroupResource(), "", errors.New("exceeded quota"))
			}
			return nil
		}
		var out controllers.Outcome
		once := true
		rec := run(t, w, ofConfigMaps("a", func(_ controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			if !once {
				return controllers.Plan{}
			}
			once = false
			var p controllers.Plan
			for i := range 100 {
				p.Creates = append(p.Creates, controllers.Create{
					Kind: core.Secret, Object: secret(i),
					Done:   &controllers.Event{Kind: core.ConfigMap, About: configMap("x"), Type: "Normal", Reason: "Made", Message: "one"},
					Failed: &controllers.Event{Kind: core.ConfigMap, About: configMap("x"), Type: "Warning", Reason: "Failed", Message: "Error: "},
				})
			}
			p.Then = func(o controllers.Outcome) controllers.Plan { out = o; return controllers.Plan{} }
			p.Events = []controllers.Event{{Kind: core.ConfigMap, About: configMap("x"), Type: "Normal", Reason: "All", Message: "done"}}
			return p
		}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if tried != 7 { // 1 + 2 + 4, of which the last two fail
			t.Errorf("%d creates were tried, want 7", tried)
		}
		made := 0
		for _, obj := range out.Created {
			if obj != nil {
				made++
			}
		}
		if made != 5 || out.Err == nil || !apierrors.IsForbidden(out.Err) {
			t.Errorf("Then was told of %d made, and %v; want 5, and that it is forbidden", made, out.Err)
		}
		want := "5 x configmap x Normal Made: one\n2 x configmap x Warning Failed: Error: secrets is forbidden: exceeded quota\n"
		if got := rec.Take(); got != want {
			t.Errorf("events:\n%s\nwant:\n%s", got, want)
		}
	})
}

func TestRequireIsCheckedLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		made := false
		p := plans{start: time.Now()}
		run(t, w, ofConfigMaps("a", func(_ controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			p.note(key, now)
			if made {
				return controllers.Plan{}
			}
			return controllers.Plan{
				Requires: []controllers.Require{{Kind: core.Secret, Namespace: "default", Name: "s7", UID: "secret-s7-1", Absent: true}, {Kind: core.ConfigMap, Namespace: "default", Name: "x"}},
				Creates:  []controllers.Create{{Kind: core.Secret, Object: secret(1)}},
				Then: func(o controllers.Outcome) controllers.Plan {
					made = len(o.Created) == 1 && o.Created[0] != nil
					return controllers.Plan{}
				},
			}
		}))
		if _, err := w.User().Create(t.Context(), core.Secret, secret(7), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, ok := w.Cache().Get(core.Secret, "default", "s1"); ok {
			t.Error("the plan was carried out although s7 exists")
		}
		if err := w.User().Delete(t.Context(), core.Secret, "default", "s7", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := w.Cache().Get(core.Secret, "default", "s1"); !ok {
			t.Errorf("the plan was not carried out after s7 went; planned at %s", p.of("x"))
		}
	})
}

// TestLag: with a cache that lags by seconds, a planner that makes a Secret whenever it sees none makes one.
func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		w.Lag = 3 * time.Second
		creates := 0
		w.Before = func(controllerstest.Write) error { creates++; return nil }
		c := ofConfigMaps("a", func(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			if len(s.List(core.Secret, "default", nil)) > 0 {
				return controllers.Plan{}
			}
			return controllers.Plan{Creates: []controllers.Create{{Kind: core.Secret, Object: secret(now.Nanosecond()), Exists: true}}}
		})
		c.Inputs = append(c.Inputs, controllers.Input{Kind: core.Secret, Keys: func(controllers.Reader, *kinds.Kind, client.Change) []controllers.Key {
			return []controllers.Key{{Namespace: "default", Name: "x"}}
		}})
		run(t, w, c)
		for i := range 20 {
			time.Sleep(137 * time.Millisecond)
			x := configMap("x")
			x.Data = map[string]string{"i": fmt.Sprint(i)}
			if _, err := w.User().Update(t.Context(), core.ConfigMap, x, "", metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if creates != 1 {
			t.Errorf("%d Secrets were made, want 1", creates)
		}
	})
}

func TestKindSetGrowsAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		set := kinds.NewSet(core.ConfigMap)
		p := plans{start: time.Now()}
		awaiting := 0
		c := ofConfigMaps("a", func(_ controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			p.note(key, now)
			if key.Name == "x" {
				awaiting++
				return controllers.Plan{AwaitKinds: set.Named("v1", "Secret") == nil}
			}
			return controllers.Plan{}
		})
		c.Inputs = []controllers.Input{{Kinds: set, Keys: controllers.Self, Delay: time.Second}}
		run(t, w, c)
		create := func(i int) {
			if _, err := w.User().Create(t.Context(), core.Secret, secret(i), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		create(1)
		if got := p.of("s1"); got != "[]" {
			t.Errorf("a kind that is not in the set was followed: %s", got)
		}
		if err := set.Put(core.Secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		create(2)
		if s1, s2 := p.of("s1"), p.of("s2"); s1 != "[1m1s]" || s2 != "[2m1s]" {
			t.Errorf("after the set grew, s1 was planned at %s, s2 at %s; want each once, after the delay", s1, s2)
		}
		if awaiting != 2 {
			t.Errorf("the key that waited for a kind was planned %d times, want 2", awaiting)
		}
		set.Remove(core.Secret.Storage.Prefix)
		time.Sleep(time.Minute)
		synctest.Wait()
		create(3)
		if got := p.of("s3"); got != "[]" {
			t.Errorf("a kind that left the set was followed: %s", got)
		}
	})
}

func TestNamespaceThatGoesAwayRefusesQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := controllerstest.NewWorld(time.Now)
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		if _, err := w.User().Create(t.Context(), core.Namespace, ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		p := plans{start: time.Now()}
		var out controllers.Outcome
		run(t, w, ofConfigMaps("a", func(_ controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			if p.note(key, now) == 1 {
				return controllers.Plan{RequeueAfter: time.Second}
			}
			return controllers.Plan{
				Creates: []controllers.Create{{Kind: core.Secret, Object: secret(1)}},
				Then:    func(o controllers.Outcome) controllers.Plan { out = o; return controllers.Plan{} },
			}
		}))
		synctest.Wait()
		if err := w.User().Delete(t.Context(), core.Namespace, "", "default", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := p.of("x"); got != "[0s 1s]" || out.Err != nil || len(out.Created) != 1 || out.Created[0] != nil {
			t.Errorf("planned at %s with outcome %+v, want no retry and no failure", got, out)
		}
	})
}
