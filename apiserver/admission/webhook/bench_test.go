package webhook

import (
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds/core"
)

// BenchmarkNoWebhooks is what both plugins cost a write in a cluster that has none.
func BenchmarkNoWebhooks(b *testing.B) {
	cfg := Config{Reader: world{}, Changed: func(string) *atomic.Uint64 { return new(atomic.Uint64) }}
	m, v := Mutating(cfg).(admission.Mutator), Validating(cfg).(admission.Validator)
	r := &admission.Request{Operation: admission.Create, Kind: core.ConfigMap, Served: core.ConfigMap.Served[0], Namespace: "default", Object: &corev1.ConfigMap{}, User: &user.DefaultInfo{}}
	b.ReportAllocs()
	for b.Loop() {
		if m.Mutate(b.Context(), r) != nil || v.Validate(b.Context(), r) != nil {
			b.Fatal("refused")
		}
	}
}
