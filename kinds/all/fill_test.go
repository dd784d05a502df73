package all_test

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/runtime/schema"
	runtimeserializer "k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/randfill"
)

// fillers fill objects of all kinds with random values. Schemas contain schemas: those are filled to a depth.
var fillers = fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, func(runtimeserializer.CodecFactory) []any {
	return []any{
		func(s *apiextensionsv1.JSONSchemaProps, c randfill.Continue) {
			c.Fill(&s.Type)
			c.Fill(&s.Description)
			c.Fill(&s.Maximum)
			c.Fill(&s.Enum)
			if c.Bool() {
				s.Properties = map[string]apiextensionsv1.JSONSchemaProps{c.String(8): {Type: c.String(8), Nullable: true}}
			}
		},
		func(j *apiextensionsv1.JSON, c randfill.Continue) { j.Raw = []byte(`"x"`) },
	}
})

// known reports whether there is a Go type for a kind.
func known(gvk schema.GroupVersionKind) bool {
	return scheme.Scheme.Recognizes(gvk) || gvk == apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition") ||
		gvk == apiregistrationv1.SchemeGroupVersion.WithKind("APIService")
}
