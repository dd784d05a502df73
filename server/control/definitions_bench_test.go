package control

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds/apiextensions"
	"github.com/tenet-run/tenet/store/embedded"
)

// bigSchema is a schema of about 20 KB: 160 described properties.
func bigSchema() *apiextensionsv1.JSONSchemaProps {
	s := &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
	for i := range 16 {
		part := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
		for j := range 10 {
			part.Properties[fmt.Sprintf("field%02d", j)] = apiextensionsv1.JSONSchemaProps{
				Type: "string", Description: fmt.Sprintf("The %dth field of part %d says what users of this part want, in a sentence as long as they usually are.", j, i),
			}
		}
		spec.Properties[fmt.Sprintf("part%02d", i)] = part
	}
	s.Properties["spec"] = spec
	s.Properties["status"] = apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"phase": {Type: "string"}}}
	return s
}

func bigDefinition(i int) *apiextensionsv1.CustomResourceDefinition {
	group := fmt.Sprintf("group%d.example.com", i/10)
	plural := fmt.Sprintf("widget%ds", i)
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Kind: fmt.Sprintf("Widget%d", i), ShortNames: []string{fmt.Sprintf("w%d", i)}},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: bigSchema()},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
}

// heap is what is in use after collections, and the number of goroutines.
func heap() (inuse, stacks uint64, goroutines int) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse, m.StackInuse, runtime.NumGoroutine()
}

// BenchmarkDefinitions installs 1,000 definitions of 20 KB through the API in process, controllers running, and says what each costs. Run it with -benchtime 1x.
func BenchmarkDefinitions(b *testing.B) {
	const n = 1000
	size := bigDefinition(0).Size()
	for b.Loop() {
		st, err := embedded.Open(b.Context(), embedded.Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		c, err := New(Config{Store: st})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var run sync.WaitGroup
		run.Go(func() { _ = c.Run(ctx) })
		<-c.Booted()
		api := c.Client(systemUser)
		if _, err := api.Create(ctx, apiextensions.CustomResourceDefinition, bigDefinition(n), metav1.CreateOptions{}); err != nil { // the first pays for CEL
			b.Fatal(err)
		}
		before, stacks, routines := heap()
		began := time.Now()
		for i := range n {
			if _, err := api.Create(ctx, apiextensions.CustomResourceDefinition, bigDefinition(i), metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began)
		if last := bigDefinition(n - 1); c.Kinds().Named(last.Spec.Group+"/v1", last.Spec.Names.Kind) == nil {
			b.Fatal("the last definition is not served")
		}
		after, stacksAfter, routinesAfter := heap()
		b.ReportMetric(took.Seconds(), "s/1000")
		b.ReportMetric(float64(size), "B/definition")
		b.ReportMetric((float64(after)-float64(before))/n, "heap-B/definition")
		b.ReportMetric((float64(stacksAfter)-float64(stacks))/n, "stack-B/definition")
		b.ReportMetric(float64(routinesAfter-routines)/n, "goroutines/definition")
		cancel()
		run.Wait()
		c.Close()
		st.Close()
	}
}
