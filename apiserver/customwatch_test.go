package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// watchEvents reads a watch over HTTP; the channel closes when the server ends it.
func watchEvents(t *testing.T, url string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 100)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		d := json.NewDecoder(resp.Body)
		for {
			var e struct {
				Type   string
				Object map[string]any
			}
			if d.Decode(&e) != nil {
				return
			}
			meta, _ := e.Object["metadata"].(map[string]any)
			out <- fmt.Sprintf("%s %v %v", e.Type, meta["name"], e.Object["spec"])
		}
	}()
	return out
}

func next(t *testing.T, events <-chan string, want string) {
	t.Helper()
	select {
	case got, open := <-events:
		if !open {
			got = "the end"
		}
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing came, want %s", want)
	}
}

// TestWatchOutlivesChangesOfTheDefinition: an open watch shows objects as the newest schema has them, from the first object of a definition on; it ends when its
// version is no longer served, and, after the deletions, when the definition goes.
func TestWatchOutlivesChangesOfTheDefinition(t *testing.T) {
	s := newCustomServer(t, time.Now)
	web := httptest.NewServer(s)
	defer web.Close()
	const crds, objects = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/example.com/v1/gauges"
	if code, out := exchange(t, s, "POST", crds, "application/yaml", `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {plural: gauges, kind: Gauge}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string}}}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string}}}}}}}
`); code != 201 {
		t.Fatalf("%d %v", code, out["message"])
	}
	v1, v2 := watchEvents(t, web.URL+objects+"?watch=1"), watchEvents(t, web.URL+"/apis/example.com/v2/gauges?watch=1")
	create := func(name, spec string) {
		t.Helper()
		if code, out := exchange(t, s, "POST", objects, "application/json", `{"apiVersion":"example.com/v1","kind":"Gauge","metadata":{"name":"`+name+`"},"spec":`+spec+`}`); code != 201 {
			t.Fatalf("%d %v", code, out["message"])
		}
	}
	create("one", `{"a":"x","b":"y"}`)
	next(t, v1, "ADDED one map[a:x]")
	next(t, v2, "ADDED one map[a:x]")
	patch := func(ops string) {
		t.Helper()
		if code, out := exchange(t, s, "PATCH", crds+"/gauges.example.com", "application/json-patch+json", ops); code != 200 {
			t.Fatalf("%d %v", code, out["message"])
		}
	}
	patch(`[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/b","value":{"type":"string"}}]`)
	create("two", `{"a":"x","b":"y"}`)
	next(t, v1, "ADDED two map[a:x b:y]")
	next(t, v2, "ADDED two map[a:x]")
	patch(`[{"op":"replace","path":"/spec/versions/1/served","value":false}]`)
	next(t, v2, "the end")
	create("three", `{"b":"z"}`)
	next(t, v1, "ADDED three map[b:z]")
	if code, _ := exchange(t, s, "DELETE", crds+"/gauges.example.com", "", ""); code != 200 {
		t.Fatal("the definition cannot be deleted")
	}
	next(t, v1, "DELETED one map[a:x]")
	next(t, v1, "DELETED three map[b:z]")
	next(t, v1, "DELETED two map[a:x b:y]")
	next(t, v1, "the end")
}
