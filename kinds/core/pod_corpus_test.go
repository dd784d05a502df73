package core_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/meta"
	"github.com/tenet-run/tenet/kinds/podspec"
)

var (
	rewrite      = flag.Bool("rewrite", false, "rewrite what the pod corpus wants")
	defaultsFile = flag.String("defaults", "", "write the defaulted pods of the corpus to this file, for test/oracle")
)

// The corpus: testdata/pod/DOOR*.txtar, where DOOR is create, template, or the door through which "NAME" changes "NAME/old". Each file is merged into this pod.
// "NAME/want" are the errors and warnings. test/oracle runs upstream's code on the same files.
const basePod = `{"metadata":{"name":"p","namespace":"default"},"spec":{"containers":[{"name":"c","image":"nginx:1"}]}}`

func corpusPod(t *testing.T, overlay []byte) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	decodeCorpus(t, overlay, pod)
	core.Pod.Served[0].Default(pod)
	return pod
}

func corpusTemplate(t *testing.T, overlay []byte) *corev1.PodTemplateSpec {
	t.Helper()
	template := &corev1.PodTemplateSpec{}
	decodeCorpus(t, overlay, template)
	podspec.SetTemplateDefaults(template)
	return template
}

func decodeCorpus(t *testing.T, overlay []byte, into any) {
	t.Helper()
	patch, err := yaml.YAMLToJSONStrict(overlay)
	if err != nil {
		t.Fatalf("overlay: %v", err)
	}
	data := []byte(basePod)
	if string(patch) != "null" {
		if data, err = jsonpatch.MergePatch(data, patch); err != nil {
			t.Fatalf("merge: %v", err)
		}
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("decode: %v\n%s", err, data)
	}
}

func TestPodCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/pod/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	cases := 0
	var defaulted strings.Builder
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		door, _, _ := strings.Cut(filepath.Base(file), "_")
		door = strings.TrimSuffix(door, ".txtar")
		parts := map[string][]byte{}
		for _, f := range ar.Files {
			parts[f.Name] = f.Data
		}
		out := &txtar.Archive{Comment: ar.Comment}
		for _, f := range ar.Files {
			name, part, has := strings.Cut(f.Name, "/")
			if has {
				if part == "old" {
					out.Files = append(out.Files, f)
				}
				continue
			}
			cases++
			if door != "template" {
				data, err := json.Marshal(corpusPod(t, f.Data))
				if err != nil {
					t.Fatal(err)
				}
				defaulted.WriteString(filepath.Base(file) + " " + name + "\t" + string(data) + "\n")
			}
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+name, func(t *testing.T) {
				got := runCorpus(t, door, f.Data, parts[name+"/old"])
				out.Files = append(out.Files, f, txtar.File{Name: name + "/want", Data: []byte(got)})
				if want := string(parts[name+"/want"]); got != want && !*rewrite {
					t.Errorf("got:\n%swant:\n%s(go test ./kinds/core -run TestPodCorpus -rewrite accepts what is printed; test/oracle says what upstream prints)", got, want)
				}
			})
		}
		if *rewrite {
			if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if *defaultsFile != "" {
		if err := os.WriteFile(*defaultsFile, []byte(defaulted.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cases", cases)
}

func runCorpus(t *testing.T, door string, overlay, before []byte) string {
	var errs field.ErrorList
	var warnings []string
	if door == "template" {
		template, path := corpusTemplate(t, overlay), field.NewPath("template")
		var old *corev1.PodTemplateSpec
		if before != nil {
			old = corpusTemplate(t, before)
		}
		podspec.DropDisabledTemplateFields(template, old)
		if errs = podspec.ValidateTemplateUpdate(template, old, path); len(errs) == 0 {
			warnings = podspec.TemplateWarnings(template, path)
		}
		return printed(errs, warnings)
	}
	k, pod := core.Pod, corpusPod(t, overlay)
	if door == "create" {
		k.BeforeCreate(pod)
		if errs = append(meta.ValidateCreate(pod, k), k.Validate(pod)...); len(errs) == 0 {
			warnings = k.Warnings(pod, nil)
		}
	} else {
		old := corpusPod(t, before)
		pod.UID, old.UID, pod.ResourceVersion, old.ResourceVersion = "u", "u", "1", "1"
		was, _ := json.Marshal(old)
		if door == "update" {
			k.BeforeUpdate(pod, old)
			errs = append(meta.ValidateUpdate(pod, old), k.ValidateUpdate(pod, old)...)
		} else {
			sub := k.Subresource(door)
			sub.Before(pod, old)
			errs = append(meta.ValidateUpdate(pod, old), sub.Validate(pod, old)...)
		}
		if is, _ := json.Marshal(old); string(is) != string(was) {
			t.Errorf("the old pod was changed from\n%s to\n%s", was, is)
		}
	}
	return printed(errs, warnings)
}

func printed(errs field.ErrorList, warnings []string) string {
	var b strings.Builder
	for _, err := range errs {
		b.WriteString("error: " + strings.TrimRight(strings.ReplaceAll(err.Error(), "\n", "\n\t"), "\t\n") + "\n")
	}
	for _, w := range warnings {
		b.WriteString("warning: " + w + "\n")
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return b.String()
}
