package podspec_test

import (
	"flag"
	"math/rand"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/randfill"

	"github.com/tenet-run/tenet/kinds/podspec"
)

var seed = flag.Int64("seed", 0, "seed of random objects; 0: a new one")

// words make random strings that get past the first check now and then.
var words = []string{"", "a", "b", "Always", "Never", "Exists", "In", "kubernetes.io/hostname", "limits.cpu", "metadata.labels['a']", "metadata.name", "TCP", "/a/../b", "..x",
	"localhost/x", "cpu", "memory", "hugepages-2Mi", "1.2.3.4", "a.b/c", "X Y", "iqn.2001-04.com.example:storage.x", "Localhost", "linux", "windows", `D\U`}

func filler(seed int64) *randfill.Filler {
	return randfill.NewWithSeed(seed).NilChance(0.4).NumElements(0, 2).MaxDepth(14).Funcs(
		func(s *string, c randfill.Continue) { *s = words[c.Intn(len(words))] },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(c.Int63n(5000)-1000, resource.DecimalSI)
		},
		func(r *corev1.ResourceList, c randfill.Continue) {
			*r = corev1.ResourceList{}
			for range c.Intn(3) {
				(*r)[corev1.ResourceName(words[c.Intn(len(words))])] = *resource.NewMilliQuantity(c.Int63n(5000)-1000, resource.DecimalSI)
			}
		},
		func(f *metav1.FieldsV1, _ randfill.Continue) {},
	)
}

// Nothing a client can send makes defaults or validation panic, validation changes nothing, and defaults of defaulted objects change nothing.
func TestRandomPods(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Int63()
	}
	t.Logf("-seed=%d", s)
	f := filler(s)
	var old *corev1.Pod
	for i := range 150 {
		pod := &corev1.Pod{}
		f.Fill(pod)
		if i%2 == 0 {
			podspec.SetPodDefaults(pod)
			again := pod.DeepCopy()
			podspec.SetPodDefaults(again)
			if !equality.Semantic.DeepEqual(pod, again) {
				t.Fatalf("-seed=%d: defaults are not idempotent: pod %d", s, i)
			}
		}
		if old == nil || i%3 == 0 {
			old = pod.DeepCopy()
		}
		before, oldBefore := pod.DeepCopy(), old.DeepCopy()
		podspec.ValidatePod(pod)
		podspec.ValidatePodUpdate(pod, old)
		podspec.ValidateStatus(pod, old)
		podspec.ValidateEphemeralContainers(pod, old)
		podspec.ValidateResize(pod, old)
		podspec.ValidateTemplateUpdate(&corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}, &corev1.PodTemplateSpec{Spec: old.Spec}, field.NewPath("t"))
		podspec.Warnings(pod)
		podspec.AppArmorWarnings(pod)
		podspec.QOSClass(pod)
		podspec.Requests(pod)
		podspec.Limits(pod)
		if !reflect.DeepEqual(pod, before) || !reflect.DeepEqual(old, oldBefore) {
			t.Fatalf("-seed=%d: validation changed pod %d", s, i)
		}
		podspec.KeepAllButResize(pod, old)
		podspec.DropDisabledFields(&pod.Spec, &old.Spec)
		podspec.DropDisabledStatus(&pod.Status, &old.Status)
		podspec.MergeLabelKeys(&pod.Spec, pod.Labels)
		podspec.AppArmorFields(pod)
		if !reflect.DeepEqual(old, oldBefore) {
			t.Fatalf("-seed=%d: preparing pod %d changed the old one", s, i)
		}
	}
}
