package core_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"
)

var (
	mixDir  = flag.String("mix", "", "write random cases to this folder, for test/oracle -corpus")
	mixes   = flag.Int("mixes", 500, "how many")
	mixSeed = flag.Int64("seed", 1, "seed of random cases")
)

// TestPodMix writes cases that nobody thought of: cases of the corpus laid over each other, and objects filled at random. Only upstream's code can say what
// is right for them:
//
//	go test ./kinds/core -run TestPodMix -mix DIR && cd test/oracle && go run . -corpus DIR
func TestPodMix(t *testing.T) {
	if *mixDir == "" {
		t.Skip("-mix names no folder")
	}
	overlays := map[string][][]byte{}
	files, _ := filepath.Glob("testdata/pod/*.txtar")
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		door, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txtar"), "_")
		for _, f := range ar.Files {
			if data, err := yaml.YAMLToJSON(f.Data); err == nil && !strings.HasSuffix(f.Name, "/want") && string(data) != "null" {
				overlays[door] = append(overlays[door], data)
			}
		}
	}
	r := rand.New(rand.NewSource(*mixSeed))
	for _, door := range []string{"create", "update", "status", "ephemeralcontainers", "resize", "template"} {
		out := &txtar.Archive{}
		pools := [][][]byte{overlays["create"], overlays[door]}
		for i := range *mixes {
			name := fmt.Sprintf("mix%d", i)
			var made, old []byte
			if i%3 == 0 {
				made, old = randomPod(t, r), randomPod(t, r)
			} else {
				old = merged(t, r, []byte("{}"), pools)
				made = merged(t, r, old, pools)
			}
			if door == "template" && i%2 == 0 {
				old = nil
			} else if door != "create" {
				out.Files = append(out.Files, txtar.File{Name: name + "/old", Data: append(old, '\n')})
			}
			want := runCorpus(t, door, made, old)
			out.Files = append(out.Files, txtar.File{Name: name, Data: append(made, '\n')}, txtar.File{Name: name + "/want", Data: []byte(want)})
		}
		if err := os.WriteFile(filepath.Join(*mixDir, door+"_mix.txtar"), txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func merged(t *testing.T, r *rand.Rand, data []byte, pools [][][]byte) []byte {
	for range 1 + r.Intn(3) {
		pool := pools[r.Intn(len(pools))]
		var err error
		if data, err = jsonpatch.MergePatch(data, pool[r.Intn(len(pool))]); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func randomPod(t *testing.T, r *rand.Rand) []byte {
	words := []string{"", "a", "b", "Always", "Never", "Exists", "In", "kubernetes.io/hostname", "limits.cpu", "metadata.name", "TCP", "/a/../b", "..x", "localhost/x", "cpu",
		"memory", "hugepages-2Mi", "1.2.3.4", "a.b/c", "X Y", "iqn.2001-04.com.example:storage.x", "Localhost", "linux", "windows", "RuntimeDefault"}
	spec := corev1.PodSpec{}
	quantity := func(c randfill.Continue) resource.Quantity {
		return *resource.NewMilliQuantity(c.Int63n(5000)-1000, resource.DecimalSI)
	}
	randfill.NewWithSeed(r.Int63()).NilChance(0.8).NumElements(1, 2).MaxDepth(12).Funcs(
		func(s *string, c randfill.Continue) { *s = words[c.Intn(len(words))] },
		func(q *resource.Quantity, c randfill.Continue) { *q = quantity(c) },
		func(l *corev1.ResourceList, c randfill.Continue) {
			*l = corev1.ResourceList{corev1.ResourceName(words[c.Intn(len(words))]): quantity(c)}
		},
		func(b *bool, c randfill.Continue) { *b = c.Intn(5) == 0 },
		func(f *metav1.FieldsV1, _ randfill.Continue) {},
		func(m *metav1.ObjectMeta, _ randfill.Continue) {},
	).Fill(&spec)
	data, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
