package meta_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/meta"
)

func anyName(string, bool) []string { return nil }

func TestCreate(t *testing.T) {
	namespaced, cluster := &kinds.Kind{Namespaced: true, ValidName: anyName}, &kinds.Kind{ValidName: anyName}
	for name, c := range map[string]struct {
		meta metav1.ObjectMeta
		kind *kinds.Kind
		want string
	}{
		"ok":                 {metav1.ObjectMeta{Name: "a", Namespace: "n"}, namespaced, ""},
		"no name":            {metav1.ObjectMeta{Namespace: "n"}, namespaced, "metadata.name: Required value: name or generateName is required"},
		"no namespace":       {metav1.ObjectMeta{Name: "a"}, namespaced, "metadata.namespace: Required value"},
		"needless namespace": {metav1.ObjectMeta{Name: "a", Namespace: "n"}, cluster, "metadata.namespace: Forbidden: not allowed on this type"},
		"slash in name":      {metav1.ObjectMeta{Name: "a/b"}, cluster, `metadata.name: Invalid value: "a/b": may not contain '/'`},
		"dots for a name":    {metav1.ObjectMeta{Name: ".."}, cluster, `metadata.name: Invalid value: "..": may not be '..'`},
		"label": {metav1.ObjectMeta{Name: "a", Labels: map[string]string{"a": "b c"}}, cluster,
			`metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`},
		"finalizer": {metav1.ObjectMeta{Name: "a", Finalizers: []string{"mine"}}, cluster,
			`metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified`},
		"finalizers of its own": {metav1.ObjectMeta{Name: "a", Finalizers: []string{"kubernetes", "orphan", "a.b/c"}}, cluster, ""},
	} {
		obj := &corev1.ConfigMap{ObjectMeta: c.meta}
		got := ""
		if errs := meta.ValidateCreate(obj, c.kind); len(errs) > 0 {
			got = errs.ToAggregate().Error()
		}
		if got != c.want {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestCustomObjectsMayHaveAnyFinalizer(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetName("a")
	u.SetFinalizers([]string{"mine"})
	if errs := meta.ValidateCreate(u, &kinds.Kind{ValidName: anyName}); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestUpdate(t *testing.T) {
	now := metav1.Now()
	base := func(change func(*corev1.ConfigMap)) *corev1.ConfigMap {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "n", UID: "u", ResourceVersion: "1"}}
		if change != nil {
			change(o)
		}
		return o
	}
	for name, c := range map[string]struct {
		new, old *corev1.ConfigMap
		want     string
	}{
		"same":        {base(nil), base(nil), ""},
		"labels":      {base(func(o *corev1.ConfigMap) { o.Labels = map[string]string{"a": "b"} }), base(nil), ""},
		"name":        {base(func(o *corev1.ConfigMap) { o.Name = "b" }), base(nil), `metadata.name: Invalid value: "b": field is immutable`},
		"namespace":   {base(func(o *corev1.ConfigMap) { o.Namespace = "m" }), base(nil), `metadata.namespace: Invalid value: "m": field is immutable`},
		"uid":         {base(func(o *corev1.ConfigMap) { o.UID = "v" }), base(nil), `metadata.uid: Invalid value: "v": field is immutable`},
		"no revision": {base(func(o *corev1.ConfigMap) { o.ResourceVersion = "" }), base(nil), `metadata.resourceVersion: Invalid value: "": must be specified for an update`},
		"finalizer while going": {
			base(func(o *corev1.ConfigMap) { o.DeletionTimestamp, o.Finalizers = &now, []string{"a.b/c", "d.e/f"} }),
			base(func(o *corev1.ConfigMap) { o.DeletionTimestamp, o.Finalizers = &now, []string{"a.b/c"} }),
			`metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"d.e/f"}`,
		},
		"old bad name": {base(func(o *corev1.ConfigMap) { o.Name = "Not A DNS Name" }), base(func(o *corev1.ConfigMap) { o.Name = "Not A DNS Name" }), ""},
	} {
		got := ""
		if errs := meta.ValidateUpdate(c.new, c.old); len(errs) > 0 {
			got = errs.ToAggregate().Error()
		}
		if got != c.want {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
}
