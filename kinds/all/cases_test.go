package all_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/meta"
)

var rewrite = flag.Bool("rewrite", false, "write what the cases print into testdata")

// TestCases runs testdata/*.txt: what a kind makes of what is sent. A case is a command, its input, a line "----", and what it prints, up to an
// empty line. Lines that begin with # are comments. Commands, for the kind that the input names:
//
//	create          a new object; later cases of the file change it, when it is valid
//	update          another state of it
//	status          another state of it, sent to the status subresource
//	sub NAME        what is sent to another subresource; without input, what it shows
//	delete          what waits for its end
//	row             its table row, an hour after it was created
//	fields          its selectable fields
//	as GROUP/VERSION  it, as served there
//
// Printed are warnings, then errors, or, when there are none, the object without what the server gives it.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { runCases(t, path) })
	}
}

func runCases(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s := &state{}
	for i, c := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		in, want, _ := strings.Cut(c+"\n", "----\n")
		var command, input []string
		for _, line := range strings.Split(strings.TrimSuffix(in, "\n"), "\n") {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if command == nil {
				command = strings.Fields(line)
			} else {
				input = append(input, line)
			}
		}
		if i > 0 {
			out.WriteString("\n")
		}
		if command == nil { // a comment by itself
			out.WriteString(c + "\n")
			continue
		}
		got := s.run(t, command, strings.Join(input, "\n"))
		if !*rewrite && got != want {
			t.Errorf("%s:\n%s----\nprints\n%sand should print\n%s(go test ./kinds/all -rewrite writes what it prints)", path, in, got, want)
		}
		out.WriteString(in + "----\n" + got)
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// state is the object that the cases of a file work on.
type state struct {
	kind   *kinds.Kind
	served *kinds.Served
	obj    kinds.Object
}

var created = metav1.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// pools of a cluster with one family; whatever is asked for is free.
var pools = core.ServicePools{
	Families: []corev1.IPFamily{corev1.IPv4Protocol},
	TakeIP: func(_ corev1.IPFamily, want string) (string, error) {
		if want == "10.43.0.1" {
			return "", fmt.Errorf("provided IP is already allocated")
		}
		return cmpOr(want, "10.43.7.7"), nil
	},
	TakePort: func(want int32) (int32, error) {
		if want == 32767 {
			return 0, fmt.Errorf("provided port is already allocated")
		}
		return cmpOr(want, 30007), nil
	},
}

func cmpOr[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

func (s *state) run(t *testing.T, command []string, input string) string {
	t.Helper()
	switch command[0] {
	case "create":
		obj := s.decode(t, input)
		if !s.kind.Stored() { // a question: it gets nothing from the server but its answer
			return s.finish(t, nil, obj, nil, s.kind.ValidateCreate(s.served, obj))
		}
		obj.SetCreationTimestamp(created)
		obj.SetUID("0")
		s.kind.BeforeCreate(obj)
		s.stamp(obj, nil)
		if s.kind.Requested != nil {
			s.kind.Requested(obj, kinds.Requester{Name: "jane", UID: "7", Groups: []string{"devs"}, Extra: map[string][]string{"k": {"v"}}})
		}
		var errs field.ErrorList
		if svc, ok := obj.(*corev1.Service); ok {
			errs = core.CompleteService(svc, nil, pools)
		}
		if len(errs) == 0 {
			errs = append(meta.ValidateCreate(obj, s.kind), s.kind.ValidateCreate(s.served, obj)...)
		}
		return s.finish(t, nil, obj, nil, errs)
	case "update":
		obj := s.decode(t, input)
		s.keepMeta(obj)
		s.kind.BeforeUpdate(obj, s.obj)
		s.stamp(obj, s.obj)
		var errs field.ErrorList
		if svc, ok := obj.(*corev1.Service); ok {
			errs = core.CompleteService(svc, s.obj.(*corev1.Service), pools)
		}
		if len(errs) == 0 {
			errs = append(meta.ValidateUpdate(obj, s.obj), s.kind.ValidateChange(s.served, obj, s.obj)...)
		}
		return s.finish(t, nil, obj, s.obj, errs)
	case "status":
		return s.subresource(t, "status", input)
	case "sub":
		return s.subresource(t, command[1], input)
	case "delete":
		obj := s.copy()
		now := created
		obj.SetDeletionTimestamp(&now)
		finalizing := s.kind.Finalizing != nil && s.kind.Finalizing(obj)
		if s.kind.OnDelete != nil {
			s.kind.OnDelete(obj)
		}
		s.obj = obj
		return fmt.Sprintf("finalizing: %v\n%s", finalizing, show(t, obj))
	case "row":
		var b strings.Builder
		for i, cell := range s.kind.Table.Row(s.obj) {
			if c, ok := cell.(kinds.Cell); ok {
				cell = c.At(created.Add(time.Hour))
			}
			column := s.kind.Table.Columns[i]
			wide := ""
			if column.Priority > 0 {
				wide = " (wide)"
			}
			fmt.Fprintf(&b, "%s%s: %v\n", column.Name, wide, cell)
		}
		return b.String()
	case "fields":
		var lines []string
		for name, f := range s.kind.Fields {
			lines = append(lines, name+"="+f(s.obj)+"\n")
		}
		sort.Strings(lines)
		return strings.Join(lines, "")
	case "as":
		gv, err := schema.ParseGroupVersion(command[1])
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.kind.Serves(gv).FromHub(s.copy())
		if err != nil {
			return err.Error() + "\n"
		}
		return show(t, out)
	}
	t.Fatalf("unknown command %q", command[0])
	return ""
}

func (s *state) stamp(obj, old kinds.Object) {
	if s.kind.Stamp != nil {
		s.kind.Stamp(obj, old, metav1.NewTime(created.Add(time.Minute)))
	}
}

func (s *state) copy() kinds.Object { return s.obj.DeepCopyObject().(kinds.Object) }

// decode reads an object of whatever kind it says it is, sets defaults and converts it to the hub.
func (s *state) decode(t *testing.T, input string) kinds.Object {
	t.Helper()
	var tm metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(input), &tm); err != nil {
		t.Fatalf("%v in\n%s", err, input)
	}
	gv, err := schema.ParseGroupVersion(tm.APIVersion)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all.Kinds(), func(k *kinds.Kind) bool { return k.Kind == tm.Kind && k.Serves(gv) != nil })
	if i < 0 {
		t.Fatalf("no kind %v", tm)
	}
	s.kind = all.Kinds()[i]
	s.served = s.kind.Serves(gv)
	obj := s.served.New()
	if err := yaml.UnmarshalStrict([]byte(input), obj); err != nil {
		t.Fatalf("%v in\n%s", err, input)
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	if s.kind.Namespaced && obj.GetNamespace() == "" {
		obj.SetNamespace("default")
	}
	if s.served.Default != nil {
		s.served.Default(obj)
	}
	if s.served.ToHub != nil {
		if obj, err = s.served.ToHub(obj); err != nil {
			t.Fatal(err)
		}
	}
	return obj
}

// keepMeta does what the API server does to metadata before every change.
func (s *state) keepMeta(obj kinds.Object) {
	obj.SetCreationTimestamp(s.obj.GetCreationTimestamp())
	obj.SetUID(s.obj.GetUID())
	obj.SetDeletionTimestamp(s.obj.GetDeletionTimestamp())
	obj.SetGeneration(s.obj.GetGeneration())
	obj.SetResourceVersion("1")
	s.obj.SetResourceVersion("1")
}

func (s *state) subresource(t *testing.T, name, input string) string {
	sub := s.kind.Subresource(name)
	if sub.New == nil {
		obj := s.decode(t, input)
		s.keepMeta(obj)
		sub.Before(obj, s.obj)
		s.stamp(obj, s.obj)
		return s.finish(t, sub, obj, s.obj, append(meta.ValidateUpdate(obj, s.obj), sub.Validate(obj, s.obj)...))
	}
	if input == "" {
		view, err := sub.Read(s.copy())
		if err != nil {
			return err.Error() + "\n"
		}
		return show(t, view)
	}
	in := sub.New()
	if err := yaml.UnmarshalStrict([]byte(input), in); err != nil {
		t.Fatalf("%v in\n%s", err, input)
	}
	obj := s.copy()
	s.keepMeta(obj)
	if err := sub.Write(obj, in); err != nil {
		if status, ok := err.(apierrors.APIStatus); ok {
			return fmt.Sprintf("%d %s: %s\n", status.Status().Code, status.Status().Reason, err)
		}
		return err.Error() + "\n"
	}
	s.kind.BeforeUpdate(obj, s.obj)
	return s.finish(t, sub, obj, s.obj, sub.Validate(obj, s.obj))
}

func (s *state) finish(t *testing.T, sub *kinds.Subresource, obj, old kinds.Object, errs field.ErrorList) string {
	var b strings.Builder
	warnings := s.kind.Warnings
	if sub != nil && sub.New == nil {
		warnings = sub.Warnings
	}
	if warnings != nil {
		for _, w := range warnings(obj, old) {
			fmt.Fprintf(&b, "warning: %s\n", w)
		}
	}
	for _, e := range errs {
		// What goes over several lines (a difference of specs) goes on with a tab, and has no empty line.
		fmt.Fprintf(&b, "%s %s\n", e.Type, strings.ReplaceAll(strings.TrimRight(e.Error(), "\n"), "\n", "\n\t"))
	}
	if len(errs) > 0 {
		return b.String()
	}
	if s.kind.Canonicalize != nil {
		s.kind.Canonicalize(obj)
	}
	if old != nil && s.kind.Volatile != nil && s.kind.Volatile(obj, old) {
		b.WriteString("volatile\n")
	}
	s.obj = obj
	b.WriteString(show(t, obj))
	return b.String()
}

// show prints an object as YAML without what every object gets from the server.
func show(t *testing.T, obj runtime.Object) string {
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := u["metadata"].(map[string]any)
	for _, k := range []string{"creationTimestamp", "uid", "resourceVersion", "name", "namespace"} {
		delete(m, k)
	}
	if len(m) == 0 {
		delete(u, "metadata")
	}
	for _, empty := range []string{"status", "spec"} {
		if v, ok := u[empty].(map[string]any); ok && len(v) == 0 {
			delete(u, empty)
		}
	}
	text, err := yaml.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
