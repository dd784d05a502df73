package parse_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/randfill"

	"github.com/tenet-run/tenet/apiserver/parse"
	"github.com/tenet-run/tenet/kinds/all"
)

func anything(seed int64) *randfill.Filler {
	texts := []string{"", "a", "nginx", `quote " back \ slash`, "<b>&amp;", "é ü 世界", "line\u2028separator", "control \x01\n"}
	return randfill.NewWithSeed(seed).NilChance(0.4).NumElements(0, 2).MaxDepth(14).Funcs(
		func(q *quantity.Quantity, c randfill.Continue) {
			*q = *quantity.NewQuantity(c.Int63n(1000), quantity.DecimalSI)
		},
		func(i *intstr.IntOrString, c randfill.Continue) { *i = intstr.FromInt32(c.Int31n(100)) },
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(c.Int63n(1e9), 0) },
		func(t *metav1.MicroTime, c randfill.Continue) {
			*t = metav1.NewMicroTime(time.UnixMicro(c.Int63n(1e15)))
		},
		func(r *runtime.RawExtension, c randfill.Continue) {
			r.Raw = fmt.Appendf(nil, `{"n":[%d,"]}"]}`, c.Intn(3))
		},
		func(f *metav1.FieldsV1, c randfill.Continue) { f.Raw = []byte(`{"f:a":{".":{}}}`) },
		func(s *string, c randfill.Continue) { *s = texts[c.Intn(len(texts))] },
	)
}

// compare reads data both ways. When the parser has read it, the strict decoder has too, and found the same and no fault.
func compare(t *testing.T, p *parse.Parser, typ reflect.Type, data []byte) (parsed bool) {
	t.Helper()
	got := reflect.New(typ).Interface()
	if !p.Parse(data, got) {
		return false
	}
	want := reflect.New(typ).Interface()
	strict, err := kjson.UnmarshalStrict(data, want)
	if err != nil || len(strict) > 0 {
		t.Fatalf("%s: was read, but %v %v\n%q", typ, err, strict, data)
	}
	if !reflect.DeepEqual(got, want) {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		t.Fatalf("%s: read differently\n%q\ngot  %s\nwant %s", typ, data, a, b)
	}
	return true
}

// damage changes JSON a little: mostly it is wrong then, and sometimes only unusual.
func damage(r *rand.Rand, data []byte) []byte {
	text := string(data)
	at := r.Intn(len(text) + 1)
	find := func(s string) int { // some place of s
		if n := strings.Count(text, s); n > 0 {
			i := -1
			for k := r.Intn(n); k >= 0; k-- {
				i += 1 + strings.Index(text[i+1:], s)
			}
			return i
		}
		return 0
	}
	switch r.Intn(9) {
	case 0:
		return []byte(text[:at])
	case 1:
		return []byte(text[:at] + string(rune(" \n\t\"{}[]:,0-en\\"[r.Intn(15)])) + text[at:])
	case 2:
		if at < len(text) {
			return []byte(text[:at] + text[at+1:])
		}
	case 3: // a field twice
		i := find(`{"`)
		if end := strings.IndexByte(text[i:], ','); end > 0 && i < len(text)-2 {
			return []byte(text[:i+1] + text[i+1:i+end] + "," + text[i+1:])
		}
	case 4:
		i := find(`":`)
		return []byte(text[:i] + `x":` + text[min(len(text), i+2):])
	case 5: // null for a value
		i := find(`":"`)
		if end := strings.IndexAny(text[min(len(text), i+3):], `"\`); i > 0 && end >= 0 {
			return []byte(text[:i+2] + "null" + text[i+3+end+1:])
		}
	case 6: // space everywhere between
		return []byte(strings.NewReplacer(`":{`, "\" :\n{ ", `},{`, "} , {", `":[`, "\": [\t").Replace(text))
	case 7:
		i := find(`":`)
		return []byte(text[:i] + `":` + []string{`1`, `"1"`, `true`, `[]`, `{}`, `1.0`, `1e2`, `007`, `-0`, `99999999999999999999`, `nul`}[r.Intn(11)] + "," + text[min(len(text), i+2):])
	case 8:
		i := find(`"`)
		return []byte(text[:i] + `"\u0061` + text[min(len(text), i+1):])
	}
	return data
}

func TestReadsWhatTheStrictDecoderReads(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	var p parse.Parser
	for _, k := range all.Kinds() {
		for _, s := range k.Served {
			t.Run(s.GroupVersion().String()+" "+k.Kind, func(t *testing.T) {
				typ := reflect.TypeOf(s.New()).Elem()
				if _, custom := s.New().(runtime.Unstructured); custom {
					t.Skip("no struct")
				}
				f, r := anything(int64(len(k.Kind))), rand.New(rand.NewSource(int64(len(k.Kind))))
				for range rounds {
					obj := s.New()
					f.Fill(obj)
					data, err := json.Marshal(obj)
					if err != nil {
						continue
					}
					read := compare(t, &p, typ, data)
					if strict, err := kjson.UnmarshalStrict(data, s.New()); err == nil && len(strict) == 0 && !read {
						t.Fatalf("was not read: %q", data)
					}
					for range 20 {
						compare(t, &p, typ, damage(r, data))
					}
				}
			})
		}
	}
}

func FuzzPod(f *testing.F) {
	f.Add([]byte(pod))
	f.Add([]byte(`{"metadata":{"labels":{"a":null},"creationTimestamp":null},"spec":{"containers":[null,{}],"nodeSelector":{}},"status":null}`))
	f.Add([]byte(` {"spec" : {"priority": -0, "overhead":{"cpu":1}}} `))
	var p parse.Parser
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, &p, reflect.TypeFor[corev1.Pod](), data) })
}

func BenchmarkPod(b *testing.B) {
	b.Run("parse", func(b *testing.B) {
		var p parse.Parser
		b.ReportAllocs()
		for b.Loop() {
			if !p.Parse([]byte(pod), &corev1.Pod{}) {
				b.Fatal("not read")
			}
		}
	})
	b.Run("strict", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := kjson.UnmarshalStrict([]byte(pod), &corev1.Pod{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"nginx-abc","namespace":"default","labels":{"app":"nginx","tier":"web"},"annotations":{"a":"b"},"creationTimestamp":null},` +
	`"spec":{"containers":[{"name":"nginx","image":"nginx:stable","ports":[{"containerPort":80}],"env":[{"name":"A","value":"B"},{"name":"C","value":"D"}],` +
	`"resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"livenessProbe":{"httpGet":{"path":"/","port":80}},"volumeMounts":[{"name":"v","mountPath":"/v"}]}],` +
	`"volumes":[{"name":"v","emptyDir":{}}]},"status":{}}`
