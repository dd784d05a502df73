package apiserver_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/client-go/kubernetes/scheme"
)

func inCBOR(t *testing.T, obj runtime.Object) string {
	t.Helper()
	var b bytes.Buffer
	if err := cbor.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(obj, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func fromCBOR[T runtime.Object](t *testing.T, data []byte, into T) T {
	t.Helper()
	if _, _, err := cbor.NewSerializer(scheme.Scheme, scheme.Scheme, cbor.Strict(true)).Decode(data, nil, into); err != nil {
		t.Fatalf("%v: %x", err, data)
	}
	return into
}

// What upstream's serializer writes is read, and it reads what is written, for one object, a list, an apply, an error and a watch.
func TestCBOR(t *testing.T) {
	s := newServer(t, nil)
	const secrets = "/api/v1/namespaces/default/secrets"
	want := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"k": {0, 0xff, 'x'}}}
	w := ask(s, "POST", secrets, inCBOR(t, want), "Content-Type", "application/cbor", "Accept", "application/cbor")
	if w.Code != 201 || w.Header().Get("Content-Type") != "application/cbor" {
		t.Fatalf("create: %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	made := fromCBOR(t, w.Body.Bytes(), &corev1.Secret{})
	if !reflect.DeepEqual(made.Data, want.Data) || made.UID == "" || made.ResourceVersion == "" || len(made.ManagedFields) != 1 {
		t.Errorf("create gave %+v", made)
	}
	read := fromCBOR(t, ask(s, "GET", secrets+"/s", "", "Accept", "application/cbor").Body.Bytes(), &corev1.Secret{})
	if !reflect.DeepEqual(read, made) {
		t.Errorf("get gave %+v, want %+v", read, made)
	}
	list := fromCBOR(t, ask(s, "GET", secrets, "", "Accept", "application/cbor").Body.Bytes(), &corev1.SecretList{})
	if len(list.Items) != 1 || !reflect.DeepEqual(list.Items[0].Data, want.Data) || list.ResourceVersion != made.ResourceVersion {
		t.Errorf("list gave %+v", list)
	}
	var names metav1.PartialObjectMetadataList
	w = ask(s, "GET", secrets, "", "Accept", "application/cbor;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	if err := direct.Unmarshal(w.Body.Bytes(), &names); err != nil {
		t.Fatal(err)
	}
	if len(names.Items) != 1 || names.Items[0].Name != "s" {
		t.Errorf("list of metadata gave %+v", names)
	}

	applied, err := direct.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c"}, "data": map[string]any{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	w = ask(s, "PATCH", "/api/v1/namespaces/default/configmaps/c?fieldManager=m", string(applied), "Content-Type", "application/apply-patch+cbor", "Accept", "application/cbor")
	if cm := fromCBOR(t, w.Body.Bytes(), &corev1.ConfigMap{}); w.Code != 201 || cm.Data["a"] != "b" || cm.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Errorf("apply: %d %+v", w.Code, cm)
	}

	for name, body := range map[string]string{
		"not CBOR": "{}", "no map": "\x83\x01\x02\x03", "cut off": inCBOR(t, want)[:20], "a key twice": "\xa2\x61a\x01\x61a\x02",
		"unknown field": inCBOR(t, &corev1.Secret{TypeMeta: want.TypeMeta, ObjectMeta: metav1.ObjectMeta{Name: "t"}, StringData: map[string]string{"a": "b"}})[:3] + "\xa1\x64oops\x01",
	} {
		w := ask(s, "POST", secrets+"?fieldValidation=Strict", body, "Content-Type", "application/cbor", "Accept", "application/cbor")
		if st := fromCBOR(t, w.Body.Bytes(), &metav1.Status{}); st.Code != 400 || st.Reason != metav1.StatusReasonBadRequest {
			t.Errorf("%s: %+v, want 400 BadRequest", name, st)
		}
	}

	ts := httptest.NewServer(s)
	defer ts.Close()
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", ts.URL+secrets+"?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/cbor-seq")
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "application/cbor-seq" {
		t.Errorf("watch has content type %q", ct)
	}
	frames := cbor.NewFramer().NewFrameReader(resp.Body)
	defer frames.(io.Closer).Close()
	var got []string
	buf := make([]byte, 64<<10)
	for range 2 {
		n, err := frames.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var e metav1.WatchEvent
		if err := direct.Unmarshal(buf[:n], &e); err != nil {
			t.Fatal(err)
		}
		o := fromCBOR(t, e.Object.Raw, &corev1.Secret{})
		got = append(got, e.Type+" "+o.Name+" "+string(o.Data["k"])+o.Annotations[metav1.InitialEventsAnnotationKey])
	}
	if want := "ADDED s \x00\xffx|BOOKMARK  true"; strings.Join(got, "|") != want {
		t.Errorf("watch gave %q, want %q", got, want)
	}
}

func FuzzCBOR(f *testing.F) {
	f.Add([]byte("\xd9\xd9\xf7\xa2japiVersionbv1dkindiConfigMap"))
	f.Add([]byte("\xa1hmetadata\xa1dnamea1"))
	s := newServer(f, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range [][2]string{{"POST", "application/cbor"}, {"PATCH", "application/apply-patch+cbor"}} {
			path := "/api/v1/namespaces/default/configmaps"
			if p[0] == "PATCH" {
				path += "/a?fieldManager=m"
			}
			if w := ask(s, p[0], path, string(data), "Content-Type", p[1]); w.Code >= 500 {
				t.Errorf("%s of %x: %d %s", p[0], data, w.Code, w.Body)
			}
		}
	})
}
