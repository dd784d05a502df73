// Kinds runs Kubernetes' own strategies and printers on the cases of kinds/all/testdata and prints where they say something else than Tenet.
//
//	cd test/oracle && go run ./kinds [files]
//
// Known to differ, and not printed: the field names in values of structs, which are those of v1 here and of internal types there. Known to differ,
// and printed: what the pools of Service addresses refuse, since no pool stands behind the strategies, and the warnings on a Service's status.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/printers"
	printersinternal "k8s.io/kubernetes/pkg/printers/internalversion"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"sigs.k8s.io/yaml"
)

var created = metav1.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func main() {
	flag.Parse()
	persistentvolume.NowFunc = func() metav1.Time { return metav1.NewTime(created.Add(time.Minute)) }
	files := flag.Args()
	if len(files) == 0 {
		files, _ = filepath.Glob("../../kinds/all/testdata/*.txt")
	}
	cases, differ := 0, 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		check(err)
		s := &state{}
		for _, c := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
			in, want, _ := strings.Cut(c+"\n", "----\n")
			lines := slices.DeleteFunc(strings.Split(strings.TrimSuffix(in, "\n"), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
			if len(lines) == 0 {
				continue
			}
			got, ok := s.run(strings.Fields(lines[0]), strings.Join(lines[1:], "\n"), want)
			if !ok {
				continue
			}
			cases++
			if comparable(got) != comparable(want) {
				differ++
				fmt.Printf("=== %s\n%s--- Tenet\n%s--- Kubernetes\n%s\n", filepath.Base(path), in, want, got)
			}
		}
	}
	fmt.Printf("%d cases, %d differ\n", cases, differ)
}

var (
	structs  = regexp.MustCompile(`(value: )\{.*\}(:|$)`)
	warnings = regexp.MustCompile(`(?m)^warning: .*\n`)
	ages     = regexp.MustCompile(`(?m)^(Age|Last Seen|First Seen \(wide\)| *-? lastTransitionTime| *lastUpdateTime): .*$`)
)

// comparable takes out what is known to differ: times that run on, field names of structs, and the order of errors that follows a map's.
func comparable(out string) string {
	out = ages.ReplaceAllString(strings.TrimPrefix(out, "volatile\n"), "$1")
	lines := slices.DeleteFunc(strings.Split(out, "\n"), func(l string) bool { return strings.HasPrefix(l, "\t") }) // differences of structs
	isErrors := false
	for i, l := range lines {
		isErrors = isErrors || strings.Contains(l, "value: ") || strings.HasPrefix(l, "Required ") || strings.HasPrefix(l, "Forbidden ")
		lines[i] = structs.ReplaceAllString(l, "$1{}$2")
	}
	if isErrors {
		slices.Sort(lines)
	}
	return strings.Join(lines, "\n")
}

// state is the object that the cases of a file work on.
type state struct {
	kind string
	gv   schema.GroupVersion
	ctx  context.Context
	obj  runtime.Object
}

// run returns what Kubernetes prints; ok is false for commands that it has no part in.
func (s *state) run(command []string, input, want string) (out string, ok bool) {
	switch command[0] {
	case "create":
		obj := s.decode(input)
		access(obj).SetCreationTimestamp(created)
		access(obj).SetUID("0")
		giveAddresses(obj, nil, want)
		strategy := strategies[s.kind]
		strategy.PrepareForCreate(s.ctx, obj)
		errs := strategy.Validate(s.ctx, obj)
		return s.finish(obj, strategy.WarningsOnCreate(s.ctx, obj), errs, strategy.Canonicalize), true
	case "update":
		return s.update(strategies[kindOf(input)], "", input, want), true
	case "status":
		return s.update(further[kindOf(input)+" status"], "status", input, want), true
	case "sub":
		if command[1] == "scale" { // a view, compared by no strategy: what came of it is taken over
			if strings.Contains(want, "template:") {
				was := access(s.obj)
				s.obj = s.decode("apiVersion: " + s.gv.String() + "\nkind: " + s.kind + "\n" + warnings.ReplaceAllString(want, ""))
				access(s.obj).SetName(was.GetName())
				access(s.obj).SetUID(was.GetUID())
				access(s.obj).SetCreationTimestamp(was.GetCreationTimestamp())
			}
			return "", false
		}
		return s.update(further[kindOf(input)+" "+command[1]], command[1], input, want), true
	case "row":
		if s.kind == "LimitRange" {
			return "", false // has no columns of its own
		}
		table, err := printers.NewTableGenerator().With(printersinternal.AddHandlers).GenerateTable(s.obj.DeepCopyObject(), printers.GenerateOptions{Wide: true})
		check(err)
		var b strings.Builder
		for i, cell := range table.Rows[0].Cells[:len(table.ColumnDefinitions)] { // an IPAddress has a cell too many
			wide := ""
			if table.ColumnDefinitions[i].Priority > 0 {
				wide = " (wide)"
			}
			fmt.Fprintf(&b, "%s%s: %v\n", table.ColumnDefinitions[i].Name, wide, cell)
		}
		return b.String(), true
	case "delete":
		now := created
		access(s.obj).SetDeletionTimestamp(&now)
	}
	return "", false
}

func (s *state) update(strategy rest.RESTUpdateStrategy, subresource, input, want string) string {
	obj, old := s.decode(input), s.obj.DeepCopyObject()
	info, _ := request.RequestInfoFrom(s.ctx)
	info.Subresource = subresource
	now, was := access(obj), access(old)
	now.SetCreationTimestamp(was.GetCreationTimestamp())
	now.SetUID(was.GetUID())
	now.SetDeletionTimestamp(was.GetDeletionTimestamp())
	now.SetGeneration(was.GetGeneration())
	now.SetResourceVersion("1")
	was.SetResourceVersion("1")
	giveAddresses(obj, old, want)
	strategy.PrepareForUpdate(s.ctx, obj, old)
	errs := strategy.ValidateUpdate(s.ctx, obj, old)
	return s.finish(obj, strategy.WarningsOnUpdate(s.ctx, obj, old), errs, strategy.Canonicalize)
}

func kindOf(input string) string {
	var tm metav1.TypeMeta
	check(yaml.Unmarshal([]byte(input), &tm))
	return tm.Kind
}

func (s *state) decode(input string) runtime.Object {
	var tm metav1.TypeMeta
	check(yaml.Unmarshal([]byte(input), &tm))
	gv, err := schema.ParseGroupVersion(tm.APIVersion)
	check(err)
	obj, _, err := legacyscheme.Codecs.UniversalDecoder().Decode([]byte(input), nil, nil)
	check(err)
	s.kind, s.gv = tm.Kind, gv
	if strategies[s.kind].NamespaceScoped() && access(obj).GetNamespace() == "" {
		access(obj).SetNamespace("default")
	}
	ctx := request.WithRequestInfo(context.Background(), &request.RequestInfo{APIGroup: gv.Group, APIVersion: gv.Version})
	s.ctx = request.WithUser(request.WithNamespace(ctx, access(obj).GetNamespace()),
		&user.DefaultInfo{Name: "jane", UID: "7", Groups: []string{"devs"}, Extra: map[string][]string{"k": {"v"}}})
	return obj
}

// giveAddresses does the work of the pools: a Service gets what it got in the case, or else what it had, or else any.
func giveAddresses(obj, old runtime.Object, want string) {
	svc, ok := obj.(*api.Service)
	if !ok {
		return
	}
	if svc.Spec.ClusterIP != "" && len(svc.Spec.ClusterIPs) == 0 {
		svc.Spec.ClusterIPs = []string{svc.Spec.ClusterIP}
	}
	if svc.Spec.Type == api.ServiceTypeExternalName {
		return
	}
	var given corev1.Service
	if yaml.Unmarshal([]byte(want), &given) != nil || given.Spec.Type == "" {
		given.Spec = corev1.ServiceSpec{ClusterIP: "10.43.7.7", ClusterIPs: []string{"10.43.7.7"}, IPFamilies: []corev1.IPFamily{"IPv4"}, HealthCheckNodePort: 30007}
		if was, ok := old.(*api.Service); ok && was.Spec.ClusterIP != "" {
			given.Spec.ClusterIP, given.Spec.ClusterIPs = was.Spec.ClusterIP, was.Spec.ClusterIPs
		}
	}
	if svc.Spec.ClusterIP == "" {
		svc.Spec.ClusterIP = given.Spec.ClusterIP
	}
	if len(svc.Spec.ClusterIPs) == 0 {
		svc.Spec.ClusterIPs = given.Spec.ClusterIPs
	}
	if len(svc.Spec.IPFamilies) == 0 {
		for _, f := range given.Spec.IPFamilies {
			svc.Spec.IPFamilies = append(svc.Spec.IPFamilies, api.IPFamily(f))
		}
	}
	if svc.Spec.IPFamilyPolicy == nil {
		policy := api.IPFamilyPolicySingleStack
		if given.Spec.IPFamilyPolicy != nil {
			policy = api.IPFamilyPolicy(*given.Spec.IPFamilyPolicy)
		}
		svc.Spec.IPFamilyPolicy = &policy
	}
	if svc.Spec.HealthCheckNodePort == 0 {
		svc.Spec.HealthCheckNodePort = given.Spec.HealthCheckNodePort
		if svc.Spec.Type != api.ServiceTypeLoadBalancer || svc.Spec.ExternalTrafficPolicy != api.ServiceExternalTrafficPolicyLocal {
			svc.Spec.HealthCheckNodePort = 0
		}
	}
	if svc.Spec.Type == api.ServiceTypeClusterIP {
		return
	}
	for i := range svc.Spec.Ports {
		if svc.Spec.Ports[i].NodePort == 0 && i < len(given.Spec.Ports) {
			svc.Spec.Ports[i].NodePort = given.Spec.Ports[i].NodePort
		}
	}
}

func (s *state) finish(obj runtime.Object, warnings []string, errs field.ErrorList, canonicalize func(runtime.Object)) string {
	var b strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for _, e := range errs {
		fmt.Fprintf(&b, "%s %s\n", e.Type, strings.ReplaceAll(strings.TrimRight(e.Error(), "\n"), "\n", "\n\t"))
	}
	if len(errs) == 0 {
		canonicalize(obj)
		s.obj = s.stored(obj)
		b.WriteString(s.show())
	}
	return b.String()
}

// hub is the version that Tenet stores.
func (s *state) hub() schema.GroupVersion {
	switch s.kind {
	case "Event":
		return corev1.SchemeGroupVersion
	case "HorizontalPodAutoscaler":
		return autoscalingv2.SchemeGroupVersion
	}
	return s.gv
}

// stored is an object as it comes back from storage: with the defaults of what was wiped before it was stored.
func (s *state) stored(obj runtime.Object) runtime.Object {
	out, err := legacyscheme.Scheme.ConvertToVersion(obj, s.hub())
	check(err)
	legacyscheme.Scheme.Default(out)
	back, err := legacyscheme.Scheme.ConvertToVersion(out, runtime.InternalGroupVersioner)
	check(err)
	return back
}

// show prints the object as the cases do: in its hub version, without what every object gets from the server.
func (s *state) show() string {
	out, err := legacyscheme.Scheme.ConvertToVersion(s.obj.DeepCopyObject(), s.hub())
	check(err)
	out.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(out)
	check(err)
	m, _ := u["metadata"].(map[string]any)
	for _, k := range []string{"creationTimestamp", "uid", "resourceVersion", "name", "namespace"} {
		delete(m, k)
	}
	if len(m) == 0 {
		delete(u, "metadata")
	}
	for _, k := range []string{"status", "spec"} {
		if v, ok := u[k].(map[string]any); ok && len(v) == 0 {
			delete(u, k)
		}
	}
	text, err := yaml.Marshal(u)
	check(err)
	return string(text)
}

func access(obj runtime.Object) metav1.Object {
	a, err := meta.Accessor(obj)
	check(err)
	return a
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
