// Oracle runs Kubernetes' own code on the corpus of pods (kinds/core/testdata/pod) and prints where it says something else than the corpus wants.
// It is a module of its own because it depends on k8s.io/kubernetes, which the product does not.
//
//	cd test/oracle && go run . [-v] [-defaults FILE]
//
// It knows Kubernetes 1.36, the corpus 1.37: messages about ownerReferences and managedFields differ. Not printed are values of structs, which have the
// field names of v1 here and of the internal types there, and the texts of diffs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apimachineryvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	api "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"sigs.k8s.io/yaml"
)

const basePod = `{"metadata":{"name":"p","namespace":"default"},"spec":{"containers":[{"name":"c","image":"nginx:1"}]}}`

var (
	corpus   = flag.String("corpus", "../../kinds/core/testdata/pod", "folder of the corpus")
	defaults = flag.String("defaults", "", "compare defaults with this file, which go test ./kinds/core -run TestPodCorpus -defaults FILE writes")
	order    = flag.Bool("order", false, "also compare the order of errors; upstream's follows maps in places")
	verbose  = flag.Bool("v", false, "print agreement too")
)

func main() {
	flag.Parse()
	capabilities.Setup(true, 0)
	files, _ := filepath.Glob(filepath.Join(*corpus, "*.txtar"))
	cases, differ := 0, 0
	want := map[string]string{}
	if *defaults != "" {
		data, err := os.ReadFile(*defaults)
		check(err)
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(line, "\t")
			want[name] = value
		}
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		check(err)
		door, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txtar"), "_")
		parts := map[string]string{}
		for _, f := range ar.Files {
			parts[f.Name] = string(f.Data)
		}
		for _, f := range ar.Files {
			if strings.Contains(f.Name, "/") {
				continue
			}
			name := filepath.Base(file) + " " + f.Name
			cases++
			if *defaults != "" {
				out := &corev1.Pod{}
				check(legacyscheme.Scheme.Convert(internal(string(f.Data)), out, nil))
				data, err := json.Marshal(out)
				check(err)
				if ours := plain([]byte(want[name])); ours != plain(data) {
					differ++
					fmt.Printf("== %s\n  ours:   %s\n  theirs: %s\n", name, ours, plain(data))
				}
				continue
			}
			theirs := normalise(run(door, string(f.Data), parts[f.Name+"/old"]))
			ours := normalise(strings.Split(strings.TrimSpace(strings.ReplaceAll(parts[f.Name+"/want"], "\n\t", "\\n")), "\n"))
			if slices.Equal(ours, theirs) {
				if *verbose {
					fmt.Println("same", name)
				}
				continue
			}
			differ++
			fmt.Printf("== %s\n", name)
			for _, l := range ours {
				if !*order && !slices.Contains(theirs, l) {
					fmt.Println("  ours:  ", l)
				}
			}
			if *order {
				fmt.Printf("  ours:   %s\n  theirs: %s\n", strings.Join(ours, "\n          "), strings.Join(theirs, "\n          "))
				continue
			}
			for _, l := range theirs {
				if !slices.Contains(ours, l) {
					fmt.Println("  theirs:", l)
				}
			}
		}
	}
	fmt.Printf("%d cases, %d differ\n", cases, differ)
	if differ > 0 {
		os.Exit(1)
	}
}

// plain drops what the zero values of two versions of the types write differently.
func plain(data []byte) string {
	var v any
	check(json.Unmarshal(data, &v))
	var clean func(any) any
	clean = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if e = clean(e); e == nil {
					delete(v, k)
				} else {
					v[k] = e
				}
			}
		case []any:
			for i := range v {
				v[i] = clean(v[i])
			}
		}
		return v
	}
	out, err := json.Marshal(clean(v))
	check(err)
	return string(out)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func overlaid(overlay string) []byte {
	patch, err := yaml.YAMLToJSONStrict([]byte(overlay))
	check(err)
	data := []byte(basePod)
	if string(patch) != "null" {
		data, err = jsonpatch.MergePatch(data, patch)
		check(err)
	}
	return data
}

func decode(overlay string) *corev1.Pod {
	p := &corev1.Pod{}
	check(json.Unmarshal(overlaid(overlay), p))
	legacyscheme.Scheme.Default(p)
	return p
}

func internal(overlay string) *api.Pod {
	out := &api.Pod{}
	check(legacyscheme.Scheme.Convert(decode(overlay), out, nil))
	return out
}

type recorder struct{ warnings []string }

func (r *recorder) AddWarning(_, text string) { r.warnings = append(r.warnings, text) }

var pathName = func(string, bool) []string { return nil }

func run(door, overlay, before string) []string {
	rec := &recorder{}
	ctx := warning.WithWarningRecorder(context.Background(), rec)
	var errs field.ErrorList
	if door == "template" {
		return runTemplate(ctx, overlay, before)
	}
	p := internal(overlay)
	if door == "create" {
		pod.Strategy.PrepareForCreate(ctx, p)
		errs = pod.Strategy.Validate(ctx, p)
		if len(errs) > 0 {
			rec.warnings = nil // nobody gets to see them
		} else {
			rec.warnings = append(rec.warnings, pod.Strategy.WarningsOnCreate(ctx, p)...)
		}
	} else {
		old := internal(before)
		p.UID, old.UID, p.ResourceVersion, old.ResourceVersion = "u", "u", "1", "1"
		type strategy interface {
			PrepareForUpdate(ctx context.Context, obj, old runtime.Object)
			ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList
		}
		s := map[string]strategy{"update": pod.Strategy, "status": pod.StatusStrategy, "ephemeralcontainers": pod.EphemeralContainersStrategy, "resize": pod.ResizeStrategy}[door]
		s.PrepareForUpdate(ctx, p, old)
		if old.DeletionTimestamp != nil {
			p.DeletionTimestamp = old.DeletionTimestamp
		}
		errs = apimachineryvalidation.ValidateObjectMetaAccessor(p, true, pathName, field.NewPath("metadata"))
		errs = append(errs, apimachineryvalidation.ValidateObjectMetaAccessorUpdate(p, old, field.NewPath("metadata"))...)
		errs = append(errs, s.ValidateUpdate(ctx, p, old)...)
	}
	return lines(errs, rec.warnings)
}

// runTemplate runs what kinds with a template of pods do; before is empty for a create.
func runTemplate(ctx context.Context, overlay, before string) []string {
	template := func(overlay string) *api.PodTemplateSpec {
		in := &corev1.PodTemplate{}
		check(json.Unmarshal([]byte(`{"template":`+string(overlaid(overlay))+`}`), in))
		legacyscheme.Scheme.Default(in)
		out := &api.PodTemplate{}
		check(legacyscheme.Scheme.Convert(in, out, nil))
		return &out.Template
	}
	t := template(overlay)
	var old *api.PodTemplateSpec
	if before != "" {
		old = template(before)
	}
	podutil.DropDisabledTemplateFields(t, old)
	path := field.NewPath("template")
	errs := validation.ValidatePodTemplateSpec(t, path, podutil.GetValidationOptionsFromPodTemplate(t, old))
	var warnings []string
	if len(errs) == 0 {
		warnings = podutil.GetWarningsForPodTemplate(ctx, path, t, old)
	}
	return lines(errs, warnings)
}

func lines(errs field.ErrorList, warnings []string) []string {
	var out []string
	for _, err := range errs {
		out = append(out, "error: "+strings.ReplaceAll(strings.TrimRight(err.Error(), "\n\t "), "\n", "\\n"))
	}
	for _, w := range warnings {
		out = append(out, "warning: "+w)
	}
	if len(out) == 0 {
		out = []string{"ok"}
	}
	return out
}

var structValue = regexp.MustCompile(`(Invalid value: )[\[{].*[\]}](: )`)
var diffText = regexp.MustCompile(`(if it was previously negative\)|may not be changed)\\n.*`)

// normalise drops order, repetition, and values of structs.
func normalise(lines []string) []string {
	for i, l := range lines {
		l = structValue.ReplaceAllString(l, "${1}STRUCT$2")
		lines[i] = strings.TrimSpace(diffText.ReplaceAllString(l, "$1"))
	}
	if !*order {
		slices.Sort(lines)
		return slices.Compact(lines)
	}
	var once []string
	for _, l := range lines {
		if !slices.Contains(once, l) {
			once = append(once, l)
		}
	}
	return once
}
