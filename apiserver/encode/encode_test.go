package encode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store"
)

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID("uid-" + name), Labels: map[string]string{"a": `quote " and <html>`},
			Annotations: map[string]string{"resourceVersion": "7", "x": `{"metadata":{"resourceVersion":"9"}}`},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func record(t testing.TB, k *kinds.Kind, obj kinds.Object, rev store.Revision) *store.Record {
	t.Helper()
	value, err := k.Storage.Codec.Encode(obj)
	if err != nil {
		t.Fatal(err)
	}
	return &store.Record{Key: store.Key{Prefix: k.Storage.Prefix, Namespace: obj.GetNamespace(), Name: obj.GetName()}, Value: value, Revision: rev}
}

// stamped is an object as upstream would hand it to its serializer.
func stamped(obj kinds.Object, kind string, rev store.Revision) kinds.Object {
	obj = obj.DeepCopyObject().(kinds.Object)
	obj.SetResourceVersion(strconv.FormatUint(uint64(rev), 10))
	obj.GetObjectKind().SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return obj
}

func upstreamProto(t testing.TB, obj runtime.Object) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(obj, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func upstreamJSON(t testing.TB, obj any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(obj); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		from := max(0, at-100)
		t.Errorf("%s, from byte %d on\ngot  %q\nwant %q", what, at, got[from:min(len(got), at+200)], want[from:min(len(want), at+200)])
	}
}

func TestObjectsAreThoseOfUpstream(t *testing.T) {
	c := encode.NewCache(1 << 20)
	defer c.Close()
	h := encode.NewHead(core.Pod, core.Pod.Served[0])
	for _, rev := range []store.Revision{1, 9, 10, 127, 99999999999} {
		obj := pod("a")
		r := record(t, core.Pod, obj, rev)
		for _, shown := range []store.Revision{0, 5, 123456} {
			at := shown
			if at == 0 {
				at = rev
			}
			want := stamped(obj, "Pod", at)
			got, err := c.AppendObject(nil, h, r, shown)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "JSON", append(got, '\n'), upstreamJSON(t, want))
			got, err = encode.AppendProto(nil, h, r, shown)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "protobuf", got, upstreamProto(t, want))
			frame, err := c.AppendFrame(nil, h, "DELETED", r, shown)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := json.Marshal(want)
			same(t, "JSON frame", frame, upstreamJSON(t, metav1.WatchEvent{Type: "DELETED", Object: runtime.RawExtension{Raw: raw}}))
			frame, err = encode.AppendProtoFrame(nil, h, "DELETED", r, shown)
			if err != nil {
				t.Fatal(err)
			}
			e := metav1.WatchEvent{Type: string(watch.Deleted), Object: runtime.RawExtension{Raw: upstreamProto(t, want)}}
			body, err := e.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			same(t, "protobuf frame", frame, append([]byte{byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...))
		}
	}
}

func TestListsAreThoseOfUpstream(t *testing.T) {
	c := encode.NewCache(1 << 20)
	defer c.Close()
	h := encode.NewHead(core.Pod, core.Pod.Served[0])
	for _, n := range []int{0, 1, 3, 500} {
		remaining := int64(4)
		meta := metav1.ListMeta{ResourceVersion: "77", Continue: "token", RemainingItemCount: &remaining}
		want := corev1.PodList{ListMeta: meta, Items: []corev1.Pod{}}
		want.Kind, want.APIVersion = "PodList", "v1"
		var records []*store.Record
		for i := range n {
			obj := pod(fmt.Sprint("p", i))
			records = append(records, record(t, core.Pod, obj, store.Revision(i*1000+1)))
			item := stamped(obj, "Pod", store.Revision(i*1000+1)).(*corev1.Pod)
			item.TypeMeta = metav1.TypeMeta{}
			want.Items = append(want.Items, *item)
		}
		var got bytes.Buffer
		if err := c.WriteList(&got, h, meta, records); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("JSON list of %d", n), got.Bytes(), upstreamJSON(t, want))
		got.Reset()
		if err := encode.WriteProtoList(&got, h, meta, records); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("protobuf list of %d", n), got.Bytes(), upstreamProto(t, &want))
	}
}

// An event is stored in one version and shown in two.
func TestConvertedVersionsCarryTheirRevision(t *testing.T) {
	c := encode.NewCache(1 << 20)
	defer c.Close()
	ev := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "default"}, Reason: "Tested", Message: "m"}
	r := record(t, core.Event, ev, 42)
	for _, s := range core.Event.Served {
		h := encode.NewHead(core.Event, s)
		data, err := c.AppendObject(nil, h, r, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got metav1.PartialObjectMetadata
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if got.ResourceVersion != "42" || got.APIVersion != s.GroupVersion().String() || got.Kind != "Event" {
			t.Errorf("JSON in %s: got %s", s.GroupVersion(), data)
		}
		if data, err = encode.AppendProto(nil, h, r, 0); err != nil {
			t.Fatal(err)
		}
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, nil)
		if err != nil || obj.(metav1.Object).GetResourceVersion() != "42" {
			t.Errorf("protobuf in %s: got %v, %v", s.GroupVersion(), obj, err)
		}
	}
}

func TestCacheStaysWithinItsBudget(t *testing.T) {
	const budget = 20000
	c := encode.NewCache(budget)
	h := encode.NewHead(core.Pod, core.Pod.Served[0])
	for i := range 200 {
		r := record(t, core.Pod, pod(fmt.Sprint("p", i)), store.Revision(i+1))
		for range 2 {
			if _, err := c.AppendObject(nil, h, r, 0); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Bytes(); got > budget {
			t.Fatalf("after %d objects: %d bytes, the budget is %d", i+1, got, budget)
		}
	}
	if c.Bytes() == 0 {
		t.Error("nothing is kept")
	}
	c.Close()
	if got := c.Bytes(); got != 0 {
		t.Errorf("after Close: %d bytes", got)
	}
}

// Bodies are found again, and objects are decoded once while somebody holds them.
func TestReadersShare(t *testing.T) {
	c := encode.NewCache(1 << 20)
	defer c.Close()
	h := encode.NewHead(core.Pod, core.Pod.Served[0])
	r := record(t, core.Pod, pod("a"), 3)
	one, err := c.Item(h, r)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := c.Item(h, r)
	if &one[0] != &two[0] {
		t.Error("the body was encoded twice")
	}
	a, err := encode.Object(core.Pod, r)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := encode.Object(core.Pod, r); a != b {
		t.Error("the object was decoded twice")
	}
	if a.GetResourceVersion() != "3" {
		t.Errorf("resourceVersion: got %q", a.GetResourceVersion())
	}
}

func FuzzStoredProtobuf(f *testing.F) {
	value, _ := core.Pod.Storage.Codec.Encode(pod("a"))
	f.Add(value)
	f.Add([]byte("k8s\x00\x12\x02\x0a\x00"))
	f.Add([]byte("k8s\x00\x12\x04\x0a\x7f\x0a\x00"))
	h := encode.NewHead(core.Pod, core.Pod.Served[0])
	f.Fuzz(func(t *testing.T, value []byte) {
		r := &store.Record{Key: store.Key{Prefix: "pods", Name: "x"}, Value: value, Revision: 7}
		data, err := encode.AppendProto(nil, h, r, 0)
		if err != nil {
			return
		}
		var list bytes.Buffer
		if err := encode.WriteProtoList(&list, h, metav1.ListMeta{}, []*store.Record{r}); err != nil || len(data) == 0 {
			t.Errorf("object and list disagree: %v", err)
		}
	})
}
