package all_test

import (
	"bytes"
	"flag"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
)

var seed = flag.Int64("seed", 0, "of random objects; 0: from the clock")

func forEach(t *testing.T, f func(t *testing.T, k *kinds.Kind)) {
	for _, k := range all.Kinds() {
		t.Run(k.Kind, func(t *testing.T) { f(t, k) })
	}
}

// TestEveryKindIsComplete: what the API server takes for granted.
func TestEveryKindIsComplete(t *testing.T) {
	prefixes, resources, short := map[string]string{}, map[schema.GroupVersionResource]string{}, map[string]string{}
	taken := func(t *testing.T, what string, by map[string]string, name, kind string) {
		if by[name] != "" {
			t.Errorf("%s %q is also that of %s", what, name, by[name])
		}
		by[name] = kind
	}
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	forEach(t, func(t *testing.T, k *kinds.Kind) {
		if k.Stored() {
			taken(t, "storage prefix", prefixes, k.Storage.Prefix, k.Kind)
		}
		for _, s := range k.ShortNames {
			taken(t, "short name", short, s, k.Kind)
		}
		if len(k.Served) == 0 || k.Storage.Codec == nil || k.Storage.GVK.Kind != k.Kind {
			t.Fatal("no served version or no storage")
		}
		if k.BeforeCreate == nil || k.BeforeUpdate == nil || k.Validate == nil || k.ValidateUpdate == nil || k.ValidName == nil {
			t.Error("a required hook is missing")
		}
		if strings.ToLower(k.Singular) != k.Singular || strings.ToLower(k.Plural) != k.Plural {
			t.Error("resource names are not in lower case")
		}
		for _, s := range k.Served {
			gvr := s.GroupVersion().WithResource(k.Plural)
			if resources[gvr] != "" {
				t.Errorf("%v is also that of %s", gvr, resources[gvr])
			}
			resources[gvr] = k.Kind
			if !known(s.GroupVersion().WithKind(k.Kind)) {
				t.Errorf("no type of the client library for %v", s.GroupVersion().WithKind(k.Kind))
			}
			if (s.ToHub == nil) != (s.FromHub == nil) {
				t.Errorf("%s converts one way only", s.GroupVersion())
			}
			for from, to := range s.Fields {
				if k.Fields[to] == nil {
					t.Errorf("%s: field %s stands for %s, which is not selectable", s.GroupVersion(), from, to)
				}
			}
		}
		for _, f := range k.Indexed {
			if k.Fields[f] == nil {
				t.Errorf("index on %s, which is not selectable", f)
			}
		}
		for _, v := range k.WithoutVerbs {
			if !slices.Contains(verbs, v) {
				t.Errorf("unknown verb %q", v)
			}
		}
		empty := k.New()
		for name, f := range k.Fields {
			_ = f(empty) // must not need anything set
			if name == "metadata.name" || name == "metadata.namespace" {
				t.Errorf("%s is selectable anyway", name)
			}
		}
		if k.Table != nil { // else name and time of creation
			if cells := k.Table.Row(empty); len(cells) != len(k.Table.Columns) {
				t.Errorf("%d columns and %d cells", len(k.Table.Columns), len(cells))
			}
		}
		names := map[string]string{}
		for _, s := range k.Subresources {
			taken(t, "subresource", names, s.Name, k.Kind)
			if len(s.Verbs) == 0 || s.GVK.Empty() != (s.New == nil) {
				t.Errorf("subresource %s has no verbs, or a type without a name", s.Name)
			}
			for _, v := range s.Verbs {
				if !slices.Contains([]string{"get", "update", "patch", "create", "delete"}, v) || v == "delete" && !s.Connect {
					t.Errorf("subresource %s cannot have verb %s", s.Name, v)
				}
			}
			writes := slices.Contains(s.Verbs, "update")
			if writes && !s.Connect && s.Before == nil && s.Write == nil {
				t.Errorf("subresource %s is writable, but has neither Before nor Write", s.Name)
			}
			if s.Write != nil && s.New == nil {
				t.Errorf("subresource %s: Write needs a type", s.Name)
			}
		}
	})
}

// TestRoundTrips: what is stored comes back, byte for byte when stored again, without its resourceVersion.
func TestRoundTrips(t *testing.T) {
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	forEach(t, func(t *testing.T, k *kinds.Kind) {
		fill := fuzzer.FuzzerFor(fillers, rand.NewSource(*seed), scheme.Codecs)
		for i := range 50 {
			obj := k.New()
			fill.Fill(obj)
			if i == 0 {
				obj = k.New()
			}
			obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
			if k.Restore != nil {
				k.Restore(obj)
			}
			obj.SetResourceVersion("17")
			text, err := k.Storage.Codec.Encode(obj)
			if err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			if obj.GetResourceVersion() != "17" {
				t.Fatal("encoding changed the object")
			}
			back, err := k.Storage.Codec.Decode(text)
			if err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			obj.SetResourceVersion("")
			if !equality.Semantic.DeepEqual(obj, back) {
				t.Fatalf("seed %d: stored\n%+v\ncame back as\n%+v", *seed, obj, back)
			}
			// A nil []byte in a map comes back empty, so that only what was read once is stored as it was.
			once, err := k.Storage.Codec.Encode(back)
			if err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			if back, err = k.Storage.Codec.Decode(once); err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			if twice, err := k.Storage.Codec.Encode(back); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("seed %d: stored again it has other bytes (%v)", *seed, err)
			}
			if k.Table != nil {
				if cells := k.Table.Row(back); len(cells) != len(k.Table.Columns) {
					t.Fatalf("seed %d: %d columns and %d cells", *seed, len(k.Table.Columns), len(cells))
				}
			}
			k.BeforeUpdate(back, obj) // neither may panic on odd objects
			k.ValidateUpdate(back, obj)
		}
	})
}

// saysLess are kinds of which another version cannot say everything; what it can say it keeps.
var saysLess = map[string]bool{"HorizontalPodAutoscaler": true}

// TestConversionsRoundTrip: an object in another served version is the same object.
func TestConversionsRoundTrip(t *testing.T) {
	forEach(t, func(t *testing.T, k *kinds.Kind) {
		fill := fuzzer.FuzzerFor(fillers, rand.NewSource(1), scheme.Codecs)
		for _, s := range k.Served {
			if s.ToHub == nil {
				continue
			}
			for range 50 {
				hub := k.New()
				fill.Fill(hub)
				hub.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
				there := func(hub kinds.Object) kinds.Object {
					other, err := s.FromHub(hub.DeepCopyObject().(kinds.Object))
					if err != nil {
						t.Fatal(err)
					}
					back, err := s.ToHub(other)
					if err != nil {
						t.Fatal(err)
					}
					return back
				}
				if saysLess[k.Kind] {
					hub = there(hub)
				}
				back := there(hub)
				if !equality.Semantic.DeepEqual(hub, back) {
					t.Fatalf("%s: %+v came back as %+v", s.GroupVersion(), hub, back)
				}
			}
		}
	})
}

// TestDefaultsAreStable: defaults set twice are set once, and hooks touch nothing but the object they are given.
func TestDefaultsAreStable(t *testing.T) {
	forEach(t, func(t *testing.T, k *kinds.Kind) {
		fill := fuzzer.FuzzerFor(fillers, rand.NewSource(2), scheme.Codecs)
		for range 30 {
			for _, s := range k.Served {
				if s.Default == nil {
					continue
				}
				obj := s.New()
				fill.Fill(obj)
				s.Default(obj)
				once := obj.DeepCopyObject()
				s.Default(obj)
				if !equality.Semantic.DeepEqual(once, obj) {
					t.Fatalf("defaults set twice differ:\n%+v\n%+v", once, obj)
				}
			}
			obj, old := k.New(), k.New()
			fill.Fill(obj)
			fill.Fill(old)
			before := old.DeepCopyObject()
			k.BeforeUpdate(obj, old)
			k.ValidateUpdate(obj, old)
			for _, s := range k.Subresources {
				if s.Before != nil {
					obj := k.New()
					fill.Fill(obj)
					s.Before(obj, old)
					if s.Validate != nil {
						s.Validate(obj, old)
					}
				}
			}
			if !equality.Semantic.DeepEqual(before, old) {
				t.Fatalf("a hook changed the old object:\n%s", cmp.Diff(before, old))
			}
		}
	})
}

// counted are the kinds whose generation counts what their Spec says.
var counted = []string{
	"CronJob",
	"CustomResourceDefinition",
	"DaemonSet",
	"Deployment",
	"EndpointSlice",
	"FlowSchema",
	"Ingress",
	"IngressClass",
	"Job",
	"MutatingAdmissionPolicy",
	"MutatingAdmissionPolicyBinding",
	"MutatingWebhookConfiguration",
	"NetworkPolicy",
	"Pod",
	"PodDisruptionBudget",
	"PodTemplate",
	"PriorityClass",
	"PriorityLevelConfiguration",
	"ReplicaSet",
	"ReplicationController",
	"StatefulSet",
	"ValidatingAdmissionPolicy",
	"ValidatingAdmissionPolicyBinding",
	"ValidatingWebhookConfiguration",
}

// TestGenerationCountsSpec: kinds with a generation start at 1.
func TestGenerationCountsSpec(t *testing.T) {
	for _, k := range all.Kinds() {
		obj := k.New()
		k.BeforeCreate(obj)
		want := int64(0)
		if slices.Contains(counted, k.Kind) {
			want = 1
		}
		if got := obj.GetGeneration(); got != want {
			t.Errorf("%s begins with generation %d, want %d", k.Kind, got, want)
		}
	}
}
