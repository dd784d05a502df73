package endpointslice

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	upstream "k8s.io/endpointslice"
	"k8s.io/endpointslice/topologycache"
	"k8s.io/endpointslice/util"
	"k8s.io/klog/v2"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// recorded is a clientset that keeps what upstream's reconciler writes.
type recorded struct {
	kubernetes.Interface
	discoveryclient.DiscoveryV1Interface
	discoveryclient.EndpointSliceInterface
	written []*discoveryv1.EndpointSlice
	verbs   []string
}

func (r *recorded) DiscoveryV1() discoveryclient.DiscoveryV1Interface            { return r }
func (r *recorded) EndpointSlices(string) discoveryclient.EndpointSliceInterface { return r }

func (r *recorded) Create(_ context.Context, s *discoveryv1.EndpointSlice, _ metav1.CreateOptions) (*discoveryv1.EndpointSlice, error) {
	r.written, r.verbs = append(r.written, s), append(r.verbs, "create")
	return s, nil
}

func (r *recorded) Update(_ context.Context, s *discoveryv1.EndpointSlice, _ metav1.UpdateOptions) (*discoveryv1.EndpointSlice, error) {
	r.written, r.verbs = append(r.written, s), append(r.verbs, "update")
	return s, nil
}

func (r *recorded) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	r.verbs = append(r.verbs, "delete "+name)
	return nil
}

// TestPlansAsUpstream lives through random changes of pods, nodes and the Service, and compares each plan with what upstream's reconciler writes from the same
// state: the same verbs, and in the same number of slices of the same size the same endpoints in all. Which endpoint upstream puts where is left to chance.
func TestPlansAsUpstream(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := newLife(t, rand.New(rand.NewPCG(seed, 1)))
			for range 25 {
				l.change()
				l.compare()
			}
		})
	}
}

type life struct {
	*testing.T
	rand *rand.Rand
	w    *controllerstest.World
	pods int
}

func newLife(t *testing.T, r *rand.Rand) *life {
	l := &life{T: t, rand: r, w: controllerstest.NewWorld(time.Now)}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, ClusterIP: "10.96.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("http")}},
	}}
	if r.IntN(2) == 0 {
		svc.Spec.IPFamilies = append(svc.Spec.IPFamilies, corev1.IPv6Protocol)
	}
	l.create(core.Service, svc)
	for i := range 3 {
		l.create(core.Node, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i), Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprint("z", i%2)}},
			Status: corev1.NodeStatus{
				Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			},
		})
	}
	return l
}

func (l *life) create(k *kinds.Kind, obj kinds.Object) {
	if _, err := l.w.User().Create(l.Context(), k, obj, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
}

func (l *life) service() *corev1.Service {
	svc, _ := client.Found[*corev1.Service](l.w.Cache().Get(core.Service, "default", "web"))
	return svc.DeepCopy()
}

// change makes a few pods come, become ready or not, move their port, or go, and sometimes changes the Service.
func (l *life) change() {
	var all []*corev1.Pod
	for _, obj := range l.w.Cache().List(core.Pod, "default", nil) {
		all = append(all, obj.(*corev1.Pod))
	}
	switch n := l.rand.IntN(12); {
	case n < 4:
		for range l.rand.IntN(90) {
			l.pods++
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("p%04d", l.pods), Labels: map[string]string{"app": "web"}},
				Spec: corev1.PodSpec{NodeName: fmt.Sprint("n", l.rand.IntN(4)), Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{
					{Name: "http", ContainerPort: int32(8080 + l.rand.IntN(5)/4), Protocol: corev1.ProtocolTCP}}}}},
			}
			l.create(core.Pod, pod)
			pod.Status.PodIP = fmt.Sprintf("10.0.%d.%d", l.pods/250, l.pods%250+1)
			pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
			if l.rand.IntN(3) > 0 {
				pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: fmt.Sprintf("2001:db8::%x", l.pods)})
			}
			l.ready(pod)
		}
	case n < 6:
		for _, pod := range all {
			if l.rand.IntN(3) == 0 {
				l.w.User().Delete(l.Context(), core.Pod, "default", pod.Name, metav1.DeleteOptions{})
			}
		}
	case n < 9:
		for _, pod := range all {
			if l.rand.IntN(8) == 0 {
				l.ready(pod.DeepCopy())
			}
		}
	default:
		svc := l.service()
		switch l.rand.IntN(5) {
		case 4:
			if svc.Annotations = map[string]string{corev1.AnnotationTopologyMode: "Auto"}; l.rand.IntN(2) == 0 {
				svc.Annotations = nil
			}
		case 0:
			near := []string{corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode}[l.rand.IntN(2)]
			svc.Spec.TrafficDistribution = &near
		case 1:
			svc.Spec.TrafficDistribution = nil
		case 2:
			svc.Labels = map[string]string{"round": fmt.Sprint(l.pods)}
		case 3:
			svc.Spec.PublishNotReadyAddresses = !svc.Spec.PublishNotReadyAddresses
		}
		if _, err := l.w.User().Update(l.Context(), core.Service, svc, "", metav1.UpdateOptions{}); err != nil {
			l.Fatal(err)
		}
	}
}

func (l *life) ready(pod *corev1.Pod) {
	is := corev1.ConditionTrue
	if l.rand.IntN(4) == 0 {
		is = corev1.ConditionFalse
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: is}}
	pod.ResourceVersion = ""
	if _, err := l.w.User().Update(l.Context(), core.Pod, pod, "status", metav1.UpdateOptions{}); err != nil {
		l.Fatal(err)
	}
}

func (l *life) compare() {
	l.Helper()
	svc, reader := l.service(), l.w.Cache()
	nodes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	var existing []*discoveryv1.EndpointSlice
	var pods []*corev1.Pod
	after := map[string]*discoveryv1.EndpointSlice{}
	for _, obj := range reader.List(discovery.EndpointSlice, "default", nil) {
		existing = append(existing, obj.(*discoveryv1.EndpointSlice).DeepCopy())
		after[obj.GetName()] = obj.(*discoveryv1.EndpointSlice)
	}
	for _, obj := range reader.List(core.Pod, "default", nil) {
		pods = append(pods, obj.(*corev1.Pod).DeepCopy())
	}
	for _, obj := range reader.List(core.Node, "", nil) {
		nodes.Add(obj)
	}
	theirs, zones := &recorded{}, topologycache.NewTopologyCache()
	zones.SetNodes(klog.Logger{}, controllers.All[*corev1.Node](reader, core.Node, ""))
	r := upstream.NewReconciler(theirs, corelisters.NewNodeLister(nodes), maxEndpoints, util.NewEndpointSliceTracker(), zones,
		record.NewFakeRecorder(100), ManagedBy, upstream.WithPreferSameTrafficDistributionEnabled(true))
	r.Reconcile(klog.Logger{}, svc, pods, existing, time.Time{}) // it fails when a pod's node is not there, having done the rest
	want := map[string]*discoveryv1.EndpointSlice{}
	for name, slice := range after {
		want[name] = slice
	}
	var wantVerbs []string
	for i, slice := range theirs.written {
		name := slice.Name
		if name == "" {
			name = fmt.Sprint("new", i)
		}
		want[name] = slice
	}
	for _, verb := range theirs.verbs {
		if name, ok := strings.CutPrefix(verb, "delete "); ok {
			delete(want, name)
		}
		wantVerbs = append(wantVerbs, strings.Fields(verb)[0])
	}

	p := Plan(controllers.Snapshot{Reader: reader}, controllers.KeyOf(svc), time.Now())
	var gotVerbs []string
	for _, w := range p.Updates {
		gotVerbs = append(gotVerbs, "update")
		if _, err := l.w.User().Update(l.Context(), discovery.EndpointSlice, w.Object, "", metav1.UpdateOptions{}); err != nil {
			l.Fatal(err)
		}
	}
	for _, w := range p.Creates {
		gotVerbs = append(gotVerbs, "create")
		l.create(discovery.EndpointSlice, w.Object)
	}
	for _, w := range p.Deletes {
		gotVerbs = append(gotVerbs, "delete")
		l.w.User().Delete(l.Context(), discovery.EndpointSlice, w.Namespace, w.Name, metav1.DeleteOptions{})
	}
	got := map[string]*discoveryv1.EndpointSlice{}
	for _, obj := range reader.List(discovery.EndpointSlice, "default", nil) {
		got[obj.GetName()] = obj.(*discoveryv1.EndpointSlice)
	}
	slices.Sort(gotVerbs)
	slices.Sort(wantVerbs)
	if !slices.Equal(gotVerbs, wantVerbs) {
		l.Fatalf("wrote %v, upstream %v", gotVerbs, wantVerbs)
	}
	if g, w := describe(got, byTopology(svc)), describe(want, byTopology(svc)); g != w {
		l.Fatalf("another end\ngot:\n%s\nwant:\n%s", g, w)
	}
}

// describe says how large the slices are, and what endpoints are in them. Where zones give endpoints to others, which ones they give is left to chance too: then it
// says how many are meant for some zone.
func describe(all map[string]*discoveryv1.EndpointSlice, spread bool) string {
	var lines []string
	hinted := map[string]int{}
	for _, slice := range all {
		at := fmt.Sprint(slice.AddressType, " ", portsKey(slice.Ports))
		lines = append(lines, fmt.Sprint(at, ": ", len(slice.Endpoints), " endpoints, labels ", slice.Labels))
		for _, e := range slice.Endpoints {
			hints := ""
			if e.Hints != nil && spread {
				hinted[at]++
			} else if e.Hints != nil {
				hints = fmt.Sprint(e.Hints.ForZones, e.Hints.ForNodes)
			}
			zone := ""
			if e.Zone != nil {
				zone = *e.Zone
			}
			lines = append(lines, fmt.Sprint("  ", at, " ", e.Addresses, " ", *e.Conditions.Ready, *e.Conditions.Serving, " ", e.TargetRef.Name, " ", *e.NodeName, " ", zone, " ", hints))
		}
	}
	lines = append(lines, fmt.Sprint(hinted))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
