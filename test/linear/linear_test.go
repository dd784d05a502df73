package linear

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

var (
	eventsWanted = flag.Int("events", 0, "go on until watchers have seen this many events (make linear)")
	result       = flag.String("result", "", "write the result to this file")
	seedFlag     = flag.Uint64("seed", 0, "seed of the clients; 0: a new one")
)

const (
	clients  = 8
	watchers = 20
	// names that are in use at once, and requests after which others come: histories stay short enough to be checked.
	names, perEpoch = 4, 500
	retry           = 20 * time.Millisecond
	shortRun        = 8 * time.Second
)

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	things      = schema.GroupVersionResource{Group: "linear.tenet.run", Version: "v1", Resource: "things"}
)

func definition() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": things.Resource + "." + things.Group},
		"spec": map[string]any{
			"group": things.Group, "scope": "Namespaced", "names": map[string]any{"plural": things.Resource, "kind": "Thing"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string"}},
			}}}},
		},
	}}
}

func thing(q request) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": things.GroupVersion().String(), "kind": "Thing", "metadata": map[string]any{"name": q.name}, "value": q.value,
	}}
	o.SetResourceVersion(q.revision)
	return o
}

func connect(t *testing.T, cfg *rest.Config) dynamic.ResourceInterface {
	t.Helper()
	c, err := dynamic.NewForConfig(rest.CopyConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	return c.Resource(things).Namespace("default")
}

// TestKilledServerKeepsItsPromises is the whole of it.
func TestKilledServerKeepsItsPromises(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	v := newVictim(t)
	cfg := v.config()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
	defer cancel()
	began := time.Now()

	ref := &reference{}
	var last atomic.Uint64 // the revision of the last write; 0: there will be more
	over := make(chan struct{})
	all := make([]*watcher, watchers)
	var watching sync.WaitGroup
	for i := range all {
		w := &watcher{api: connect(t, cfg), ref: ref, over: over}
		all[i] = w
		watching.Go(func() {
			if err := w.run(ctx, func(at uint64) bool { l := last.Load(); return l != 0 && at >= l }); err != nil {
				t.Errorf("watcher %d: %v", i, err)
				cancel()
			}
		})
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dyn.Resource(definitions).Create(ctx, definition(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Objects come when every watcher has its place.
	for _, w := range all {
		for !w.placed.Load() && ctx.Err() == nil {
			pause(ctx, retry)
		}
	}

	h := &history{}
	var stop atomic.Bool
	var working sync.WaitGroup
	var requests atomic.Int64
	snapshots := make(chan snapshot, 100_000)
	for c := range clients {
		api := connect(t, cfg)
		working.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			known := map[string]string{} // revisions that this client was told
			for n := 0; !stop.Load() && ctx.Err() == nil; n++ {
				epoch := requests.Add(1) / perEpoch
				q := request{name: fmt.Sprintf("t%d-%d", epoch, r.IntN(names)), value: fmt.Sprintf("%d-%d", c, n)}
				switch p := r.IntN(100); {
				case p < 25:
					q.verb = create
				case p < 45:
					q.verb, q.revision = update, known[q.name]
					if q.revision == "" {
						q.verb = patch
					}
				case p < 65:
					q.verb = patch
				case p < 80:
					q.verb = remove
					if r.IntN(2) == 0 { // of those that came before: the state stays small
						q.name = fmt.Sprintf("t%d-%d", max(0, epoch-1-r.Int64N(3)), r.IntN(names))
					}
				case p < 97:
					q.verb = read
				default:
					if list, err := api.List(ctx, metav1.ListOptions{}); err == nil && len(snapshots) < cap(snapshots) {
						s, err := snapshotOf(list)
						if err != nil {
							t.Error(err)
						}
						snapshots <- s
					}
					continue
				}
				call := time.Since(began).Nanoseconds()
				a := do(ctx, api, q)
				end := time.Since(began).Nanoseconds()
				if a.unknown {
					if q.verb == read {
						continue
					}
					end = math.MaxInt64 // it may be carried out later
				}
				if a.revision != "" {
					known[q.name] = a.revision
				}
				h.add(c, q, a, call, end)
				if a.unknown {
					pause(ctx, retry)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 1000))
	for enough := false; !enough && ctx.Err() == nil; {
		pause(ctx, time.Duration(500+r.IntN(1500))*time.Millisecond)
		v.kill()
		if r.IntN(4) == 0 {
			pause(ctx, time.Duration(r.IntN(100))*time.Millisecond)
			v.kill() // in quick succession
		}
		_, seen := ref.count()
		enough = seen >= *eventsWanted && time.Since(began) >= shortRun
	}
	stop.Store(true)
	working.Wait()

	// A last write, which everybody has to see.
	marker := answer{unknown: true}
	for i := 0; marker.unknown && ctx.Err() == nil; i++ {
		marker = do(ctx, connect(t, cfg), request{verb: create, name: fmt.Sprintf("end-%d", i)})
	}
	end, err := revisionOf(marker.revision)
	if err != nil {
		t.Fatalf("the last write: %+v", marker)
	}
	last.Store(end)
	close(over)
	watching.Wait()
	if t.Failed() {
		return
	}

	checkWrites(t, h, ref)
	lists := len(snapshots)
	checkSnapshots(t, snapshots, ref)
	ops, unknown := len(h.ops), 0
	for _, o := range h.ops {
		if o.Output.(answer).unknown {
			unknown++
		}
	}
	if got := porcupine.CheckOperationsTimeout(objects.ToModel(), h.ops, 5*time.Minute); got != porcupine.Ok {
		t.Errorf("the history of %d requests is not linearizable: %s", ops, got)
	}
	events, seen := ref.count()
	cuts := 0
	for _, w := range all {
		cuts += w.cuts
		if w.n != events {
			t.Errorf("a watcher saw %d events of %d", w.n, events)
		}
	}
	text := fmt.Sprintf("%d requests of %d clients (%d without an answer), %d kills, %d events seen by %d watchers, %d in all, streams resumed %d times, %d lists compared, %s, seed %d",
		ops, clients, unknown, v.kills, events, watchers, seen, cuts, lists, time.Since(began).Round(time.Second), seed)
	t.Log(text)
	if *result != "" && !t.Failed() {
		commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
		out := fmt.Sprintf("# Promises about concurrent requests, kept by a server that is killed\n\nDate %s, commit %s. `make linear` makes this file; test/linear says what is checked.\n\n%s. All promises were kept.\n",
			time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), text)
		if err := os.WriteFile(*result, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// do carries out one request.
func do(ctx context.Context, api dynamic.ResourceInterface, q request) answer {
	var o *unstructured.Unstructured
	var err error
	switch q.verb {
	case create:
		o, err = api.Create(ctx, thing(q), metav1.CreateOptions{})
	case update:
		o, err = api.Update(ctx, thing(q), metav1.UpdateOptions{})
	case patch:
		o, err = api.Patch(ctx, q.name, types.MergePatchType, fmt.Appendf(nil, `{"value":%q}`, q.value), metav1.PatchOptions{})
	case remove:
		err = api.Delete(ctx, q.name, metav1.DeleteOptions{})
	case read:
		o, err = api.Get(ctx, q.name, metav1.GetOptions{})
	}
	var status apierrors.APIStatus
	switch {
	case err == nil && o == nil:
		return answer{}
	case err == nil:
		return answer{value: valueOf(o), revision: o.GetResourceVersion()}
	case errors.As(err, &status) && (apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err)):
		return answer{code: string(status.Status().Reason)}
	}
	return answer{unknown: true}
}

// checkWrites: what a writer was told is what the watch has at that revision.
func checkWrites(t *testing.T, h *history, ref *reference) {
	t.Helper()
	at := make(map[uint64]event, len(ref.events))
	for _, e := range ref.events {
		at[e.revision] = e
	}
	for _, o := range h.ops {
		q, a := o.Input.(request), o.Output.(answer)
		if q.verb == read || a.revision == "" {
			continue
		}
		revision, err := revisionOf(a.revision)
		if err != nil {
			t.Error(err)
			continue
		}
		if e, ok := at[revision]; !ok || e.name != q.name || e.value != q.value {
			t.Errorf("%+v was told revision %d, the watch has %+v there", q, revision, e)
		}
	}
}

// snapshot is a list, summed up.
type snapshot struct {
	revision uint64
	objects  int
	sum      uint64 // of all objects, in no order
}

func sumOf(name, value string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name + "\x00" + value))
	return h.Sum64()
}

func snapshotOf(list *unstructured.UnstructuredList) (snapshot, error) {
	s := snapshot{objects: len(list.Items)}
	for i := range list.Items {
		s.sum += sumOf(list.Items[i].GetName(), valueOf(&list.Items[i]))
	}
	var err error
	s.revision, err = revisionOf(list.GetResourceVersion())
	return s, err
}

// checkSnapshots: a list is what the events up to its revision make, which may be one that a write of another kind had.
func checkSnapshots(t *testing.T, lists chan snapshot, ref *reference) {
	t.Helper()
	close(lists)
	var all []snapshot
	for l := range lists {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b snapshot) int { return cmp.Compare(a.revision, b.revision) })
	values := map[string]string{}
	now := snapshot{}
	n := 0
	for _, l := range all {
		for ; n < len(ref.events) && ref.events[n].revision <= l.revision; n++ {
			e := ref.events[n]
			if old, there := values[e.name]; there {
				now.objects--
				now.sum -= sumOf(e.name, old)
				delete(values, e.name)
			}
			if e.kind != watch.Deleted {
				values[e.name] = e.value
				now.objects++
				now.sum += sumOf(e.name, e.value)
			}
		}
		if now.revision = l.revision; now != l {
			t.Errorf("a list is %+v, the events make %+v", l, now)
		}
	}
}
