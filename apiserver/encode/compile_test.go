package encode_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"
	"time"

	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/store"
)

// anything fills objects with what can be written down, ordinary and odd.
func anything(seed int64) *randfill.Filler {
	texts := []string{"", "a", "nginx", `quote " back \ slash`, "<b>&amp;", "é ü 世界", "line\u2028separator", "control \x01\n", "not \xff utf8"}
	numbers := []string{"0", "100m", "0.1", "1000m", "1Ki", "1024", "1e3", "5E", "-3", "1.5Gi", "123456789012345678901234567890", "1u", ".5"}
	return randfill.NewWithSeed(seed).NilChance(0.4).NumElements(0, 2).MaxDepth(14).Funcs(
		func(q *quantity.Quantity, c randfill.Continue) {
			// As it comes out of JSON.
			if err := json.Unmarshal([]byte(`"`+numbers[c.Intn(len(numbers))]+`"`), q); err != nil {
				panic(err)
			}
		},
		func(i *intstr.IntOrString, c randfill.Continue) {
			if *i = intstr.FromInt32(c.Int31n(100) - 50); c.Intn(2) == 0 {
				*i = intstr.FromString(texts[c.Intn(len(texts))])
			}
		},
		func(t *metav1.Time, c randfill.Continue) {
			if c.Intn(4) > 0 {
				*t = metav1.NewTime(time.Unix(c.Int63n(1e10), 0).In(time.FixedZone("", 3600)))
			}
		},
		func(t *metav1.MicroTime, c randfill.Continue) {
			if c.Intn(4) > 0 {
				*t = metav1.NewMicroTime(time.UnixMicro(c.Int63n(1e16)))
			}
		},
		func(r *runtime.RawExtension, c randfill.Continue) { r.Raw = fmt.Appendf(nil, `{"n":%d}`, c.Intn(3)) },
		func(f *metav1.FieldsV1, c randfill.Continue) {
			f.Raw = []byte([]string{`{}`, `{"f:a":{".":{}}}`, ` { "f:<b>" : {} } `}[c.Intn(3)])
		},
		func(m *metav1.TypeMeta, c randfill.Continue) {},
		func(s *string, c randfill.Continue) { *s = texts[c.Intn(len(texts))] },
	)
}

// What is made of an object on its way into storage is, byte for byte, what encoding/json makes of it when it comes out again: for every kind there is.
func TestPrimedBodiesAreThoseOfStoredObjects(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for _, k := range all.Kinds() {
		t.Run(k.Kind, func(t *testing.T) {
			f := anything(int64(len(k.Kind)) * 31)
			served := k.Served[0]
			h := encode.NewHead(k, served)
			c := encode.NewCache(1 << 20)
			defer c.Close()
			done := 0
			for i := range rounds {
				obj := k.New()
				f.Fill(obj)
				obj.SetResourceVersion("")
				value, err := k.Storage.Codec.Encode(obj)
				if err != nil {
					continue // what protobuf cannot say was never accepted
				}
				r := &store.Record{Key: store.Key{Prefix: k.Storage.Prefix, Name: "x"}, Value: value, Revision: store.Revision(rand.Uint32())}
				stored, err := encode.Fresh(k, r)
				if err != nil {
					t.Fatal(err)
				}
				shown, err := encode.Convert(served, stored)
				if err != nil {
					continue
				}
				want, err := json.Marshal(shown)
				if err != nil {
					continue
				}
				if err := c.Prime(h, r, obj.DeepCopyObject().(kinds.Object)); err != nil {
					t.Fatal(err)
				}
				got, err := c.Item(h, r)
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprintf("%s %d", k.Kind, i), got, want)
				if t.Failed() {
					return
				}
				done++
			}
			if done < rounds/3 {
				t.Errorf("%d of %d objects could be compared", done, rounds)
			}
		})
	}
}

func BenchmarkBody(b *testing.B) {
	k := all.Kinds()[0]
	for _, other := range all.Kinds() {
		if other.Kind == "Pod" {
			k = other
		}
	}
	obj := k.New()
	if err := json.Unmarshal([]byte(benchPod), obj); err != nil {
		b.Fatal(err)
	}
	value, err := k.Storage.Codec.Encode(obj)
	if err != nil {
		b.Fatal(err)
	}
	h := encode.NewHead(k, k.Served[0])
	b.Run("primed", func(b *testing.B) {
		c := encode.NewCache(1 << 20)
		defer c.Close()
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Prime(h, &store.Record{Value: value, Revision: 7}, obj); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stored", func(b *testing.B) {
		c := encode.NewCache(1 << 20)
		defer c.Close()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Item(h, &store.Record{Value: value, Revision: 7}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			stored, _ := encode.Fresh(k, &store.Record{Value: value, Revision: 7})
			if _, err := json.Marshal(stored); err != nil {
				b.Fatal(err)
			}
		}
	})
}

const benchPod = `{"metadata":{"name":"nginx-abc","namespace":"default","labels":{"app":"nginx","tier":"web"},"annotations":{"a":"b"},"managedFields":[{"manager":"bench",` +
	`"operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:tier":{}}}}}]},` +
	`"spec":{"containers":[{"name":"nginx","image":"nginx:stable","ports":[{"containerPort":80}],"env":[{"name":"A","value":"B"},{"name":"C","value":"D"}],` +
	`"resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"livenessProbe":{"httpGet":{"path":"/","port":80}},"volumeMounts":[{"name":"v","mountPath":"/v"}]}],` +
	`"volumes":[{"name":"v","emptyDir":{}}]}}`
