package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store"
)

type noStore struct{ store.Store }

func trackingServer(t testing.TB) *Server {
	s, err := New(Config{Store: noStore{}, Kinds: all.Kinds(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func callOn(s *Server, k *kinds.Kind, sub string) *call {
	c := &call{Server: s, warn: func(string) {}}
	c.resource = s.serving(k.Served[0].Group, k.Served[0].Version, k.Plural)
	c.subresource = sub
	if sub != "" {
		c.sub = k.Subresource(sub)
	}
	return c
}

// filler makes random objects. Lists are short, and names in them mostly differ.
func filler(seed int64) *randfill.Filler {
	n := 0
	return randfill.NewWithSeed(seed).NilChance(0.6).NumElements(0, 3).MaxDepth(12).Funcs(
		func(q *quantity.Quantity, c randfill.Continue) {
			*q = *quantity.NewQuantity(c.Int63n(1000), quantity.DecimalSI)
		},
		func(i *intstr.IntOrString, c randfill.Continue) { *i = intstr.FromInt32(c.Int31n(100)) },
		func(i *metav1.Time, c randfill.Continue) { *i = metav1.Unix(c.Int63n(1e9), 0) },
		func(i *metav1.MicroTime, c randfill.Continue) { *i = metav1.NewMicroTime(time.Unix(c.Int63n(1e9), 0)) },
		func(r *runtime.RawExtension, c randfill.Continue) { r.Raw = []byte(fmt.Sprintf(`{"n":%d}`, c.Intn(3))) },
		func(j *apiextensionsv1.JSON, c randfill.Continue) { j.Raw = []byte(fmt.Sprintf(`{"n":%d}`, c.Intn(3))) },
		func(s *apiextensionsv1.JSONSchemaProps, c randfill.Continue) { // schemas contain schemas
			c.Fill(&s.Type)
			c.Fill(&s.Enum)
			if c.Bool() {
				s.Properties = map[string]apiextensionsv1.JSONSchemaProps{c.String(8): {Type: c.String(8), Nullable: true}}
			}
		},
		func(m *metav1.FieldsV1, c randfill.Continue) {},
		func(m *[]metav1.ManagedFieldsEntry, c randfill.Continue) {},
		func(m *metav1.TypeMeta, c randfill.Continue) {},
		func(s *string, c randfill.Continue) {
			n++
			*s = fmt.Sprintf("%c%d", 'a'+rune(c.Intn(26)), n%17)
		},
	)
}

func randomObject(t *testing.T, k *kinds.Kind, f *randfill.Filler) kinds.Object {
	raw := k.New()
	f.Fill(raw)
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	obj := k.New()
	if err := json.Unmarshal(data, obj); err != nil {
		t.Fatal(err)
	}
	obj.SetManagedFields(nil)
	return obj
}

func untimed(obj kinds.Object) string {
	m := append([]metav1.ManagedFieldsEntry(nil), obj.GetManagedFields()...)
	for i := range m {
		m[i].Time = nil
	}
	data, _ := json.Marshal(m)
	return string(data)
}

// The fast path says byte for byte what upstream says, or leaves it to upstream.
func TestFieldsOfUpdatesAreThoseOfUpstream(t *testing.T) {
	s := trackingServer(t)
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for _, k := range all.Kinds() {
		t.Run(k.Kind, func(t *testing.T) {
			seed := int64(len(k.Kind)) * 7919
			f := filler(seed)
			r := rand.New(rand.NewSource(seed))
			asked, answered := 0, 0
			for range rounds {
				sub := ""
				obj := randomObject(t, k, f)
				old := kinds.Object(nil)
				// A life: created, then changed by some.
				for step := range 4 {
					if step > 0 {
						next := randomObject(t, k, f)
						if r.Intn(2) == 0 {
							next = graft(r, old, next)
						}
						next.SetUID(old.GetUID())
						obj = next
						sub = ""
						if k.Subresource("status") != nil && r.Intn(2) == 0 {
							sub = "status"
						}
					}
					c := callOn(s, k, sub)
					o, err := c.ownership()
					if err != nil {
						t.Fatal(err)
					}
					if o.fast == nil {
						t.Skip("no fast path for this kind")
					}
					manager := fmt.Sprintf("m%d", r.Intn(3))
					slow, quick := obj.DeepCopyObject().(kinds.Object), obj.DeepCopyObject().(kinds.Object)
					live := old
					if live == nil {
						live = k.New()
					} else {
						slow.SetManagedFields(nil)
					}
					second := time.Now().Unix()
					if _, err := o.Update(live.DeepCopyObject(), slow, manager); err != nil {
						break // an item without a name (a condition without type), which is refused anyway
					}
					entries, ok := o.fast.Update(live, quick, live.GetManagedFields(), manager, old == nil, time.Now())
					// The second time it is remembered.
					again, okAgain := o.fast.Update(live, quick, live.GetManagedFields(), manager, old == nil, time.Now())
					if quick.SetManagedFields(again); ok != okAgain {
						t.Fatalf("answers once %v and then %v", ok, okAgain)
					}
					remembered := untimed(quick)
					asked++
					if ok {
						answered++
						quick.SetManagedFields(entries)
						if got, want := untimed(quick), untimed(slow); (got != want || remembered != want) && second == time.Now().Unix() { // entries are in the order of their seconds
							a, _ := json.Marshal(live)
							b, _ := json.Marshal(obj)
							t.Fatalf("seed %d, step %d, door %q\ngot  %s\nwant %s\nold %s\nnew %s", seed, step, sub, got, want, a, b)
						}
					}
					if slow.GetUID() == "" {
						slow.SetUID("u")
					}
					old = slow
				}
			}
			if answered < asked/3 {
				t.Errorf("the fast path answered %d of %d", answered, asked)
			}
		})
	}
}

// graft takes most fields from old and some from next.
func graft(r *rand.Rand, old, next kinds.Object) kinds.Object {
	out := old.DeepCopyObject().(kinds.Object)
	var mix func(dst, src reflect.Value, depth int)
	mix = func(dst, src reflect.Value, depth int) {
		if dst.Kind() != reflect.Struct || depth > 6 {
			if r.Intn(4) == 0 && dst.CanSet() {
				dst.Set(src)
			}
			return
		}
		for i := range dst.NumField() {
			if dst.Type().Field(i).IsExported() {
				mix(dst.Field(i), src.Field(i), depth+1)
			}
		}
	}
	mix(reflect.ValueOf(out).Elem(), reflect.ValueOf(next).Elem(), 0)
	out.SetManagedFields(nil)
	data, _ := json.Marshal(out)
	clean := reflect.New(reflect.TypeOf(out).Elem()).Interface().(kinds.Object)
	_ = json.Unmarshal(data, clean)
	return clean
}

func podJSON() string {
	return `{"metadata":{"name":"nginx-abc","namespace":"default","labels":{"app":"nginx","tier":"web"},"annotations":{"a":"b"}},"spec":{"containers":[{"name":"nginx",` +
		`"image":"nginx:stable","ports":[{"containerPort":80}],"env":[{"name":"A","value":"B"},{"name":"C","value":"D"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"}},` +
		`"livenessProbe":{"httpGet":{"path":"/","port":80}},"volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","emptyDir":{}}]}}`
}

func benchPod(b *testing.B, c *call) kinds.Object {
	obj := core.Pod.New()
	if err := json.NewDecoder(strings.NewReader(podJSON())).Decode(obj); err != nil {
		b.Fatal(err)
	}
	obj, err := c.toHub(obj)
	if err != nil {
		b.Fatal(err)
	}
	return obj
}

func BenchmarkFieldsOfCreate(b *testing.B) {
	c := callOn(trackingServer(b), core.Pod, "")
	obj := benchPod(b, c)
	o, err := c.ownership()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := c.trackUpdate(nil, obj, "bench"); err != nil {
				b.Fatal(err)
			}
			obj.SetManagedFields(nil)
		}
	})
	b.Run("upstream", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o.UpdateNoErrors(core.Pod.New(), obj, "bench")
			obj.SetManagedFields(nil)
		}
	})
}
