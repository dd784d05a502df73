package endpointslice

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// listed answers lists of pods and slices as they were, so that the plan alone is measured.
type listed struct {
	controllers.Reader
	lists map[*kinds.Kind][]kinds.Object
	node  kinds.Object
}

func (l listed) List(k *kinds.Kind, _ string, _ labels.Selector) []kinds.Object { return l.lists[k] }

func (l listed) Get(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	if k == core.Node {
		return l.node, true
	}
	return l.Reader.Get(k, namespace, name)
}

// BenchmarkPlan is a look at a Service of 5,000 pods of which one has changed.
func BenchmarkPlan(b *testing.B) {
	w := controllerstest.NewWorld(time.Now)
	create := func(k *kinds.Kind, obj kinds.Object) kinds.Object {
		made, err := w.User().Create(b.Context(), k, obj, metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		return made
	}
	svc := create(core.Service, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, ClusterIP: "10.96.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}},
	}})
	l := listed{Reader: w.Cache(), lists: map[*kinds.Kind][]kinds.Object{}, node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}}
	for i := range 5000 {
		l.lists[core.Pod] = append(l.lists[core.Pod], &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("web-%04d", i), UID: "u", Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{NodeName: "n"},
			Status: corev1.PodStatus{PodIP: fmt.Sprintf("10.%d.%d.1", i/250, i%250), PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.1", i/250, i%250)}},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
	for _, c := range Plan(controllers.Snapshot{Reader: l}, controllers.KeyOf(svc), time.Now()).Creates {
		l.lists[discovery.EndpointSlice] = append(l.lists[discovery.EndpointSlice], create(discovery.EndpointSlice, c.Object))
	}
	if n := len(l.lists[discovery.EndpointSlice]); n != 50 {
		b.Fatalf("%d slices", n)
	}
	changed := l.lists[core.Pod][2500].DeepCopyObject().(*corev1.Pod)
	changed.Status.Conditions = nil
	l.lists[core.Pod][2500] = changed
	b.Run("slices", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p := Plan(controllers.Snapshot{Reader: l}, controllers.KeyOf(svc), time.Now()); len(p.Updates) != 1 || len(p.Creates)+len(p.Deletes) > 0 {
				b.Fatalf("the plan is\n%s", controllerstest.PrintPlan(p))
			}
		}
	})
	b.Run("endpoints", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			PlanEndpoints(controllers.Snapshot{Reader: l}, controllers.KeyOf(svc), time.Now())
		}
	})
}
