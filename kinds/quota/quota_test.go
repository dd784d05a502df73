package quota_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/quota"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func read[T kinds.Object](t *testing.T, obj T, text string) T {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), obj); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return obj
}

func TestUsage(t *testing.T) {
	overdue := metav1.NewTime(now.Add(-31 * time.Second))
	grace := int64(30)
	for _, c := range []struct {
		why  string
		kind *kinds.Kind
		obj  kinds.Object
		want string
	}{
		{"a pod that asks for nothing", core.Pod, read(t, &corev1.Pod{}, `{spec: {containers: [{name: c}]}}`), "count/pods=1 pods=1"},
		{"requests under both names, limits, devices of vendors and of classes", core.Pod,
			read(t, &corev1.Pod{}, `{spec: {containers: [{name: c, resources: {requests: {cpu: 100m, example.com/gpu: 2, deviceclass.resource.kubernetes.io/fpga: 1, hugepages-1Gi: 1Gi}, limits: {memory: 1Gi}}}]}}`),
			"count/pods=1 cpu=100m hugepages-1Gi=1Gi limits.memory=1Gi pods=1 requests.cpu=100m requests.deviceclass.resource.kubernetes.io/fpga=1 requests.example.com/gpu=2 requests.hugepages-1Gi=1Gi"},
		{"an ended pod", core.Pod, read(t, &corev1.Pod{}, `{spec: {containers: [{name: c, resources: {requests: {cpu: 1}}}]}, status: {phase: Failed}}`), "count/pods=1"},
		{"a pod that is overdue to go", core.Pod, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &overdue, DeletionGracePeriodSeconds: &grace}}, "count/pods=1"},
		{"node ports by intent", core.Service, read(t, &corev1.Service{}, `{spec: {type: NodePort, ports: [{port: 1}, {port: 2}]}}`),
			"count/services=1 services=1 services.loadbalancers=0 services.nodeports=2"},
		{"node ports that were asked for although none are allocated", core.Service,
			read(t, &corev1.Service{}, `{spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 1}, {port: 2, nodePort: 30000}]}}`),
			"count/services=1 services=1 services.loadbalancers=1 services.nodeports=1"},
		{"a claim, in whole bytes, with the class of the annotation", core.PersistentVolumeClaim,
			read(t, &corev1.PersistentVolumeClaim{}, `{metadata: {annotations: {volume.beta.kubernetes.io/storage-class: old}}, spec: {storageClassName: new, resources: {requests: {storage: 1500m}}}}`),
			"count/persistentvolumeclaims=1 old.storageclass.storage.k8s.io/persistentvolumeclaims=1 old.storageclass.storage.k8s.io/requests.storage=2 persistentvolumeclaims=1 requests.storage=2"},
		{"an expansion that was taken back", core.PersistentVolumeClaim,
			read(t, &corev1.PersistentVolumeClaim{}, `{spec: {resources: {requests: {storage: 1Gi}}}, status: {allocatedResources: {storage: 2Gi}}}`),
			"count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=2Gi"},
		{"any other kind", apps.Deployment, apps.Deployment.New(), "count/deployments.apps=1"},
		{"one with an older name", core.Secret, core.Secret.New(), "count/secrets=1 secrets=1"},
	} {
		used := quota.Usage(c.kind, c.obj, now)
		var got []string
		for _, name := range slices.Sorted(maps.Keys(used)) {
			q := used[name]
			got = append(got, fmt.Sprintf("%s=%s", name, q.String()))
			if !quota.Tracks(c.kind, name) {
				t.Errorf("%s: %s is used, but not tracked", c.why, name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.why, strings.Join(got, " "), c.want)
		}
	}
}

func TestTracks(t *testing.T) {
	for _, name := range []corev1.ResourceName{"cpu", "requests.cpu", "limits.ephemeral-storage", "requests.example.com/gpu", "requests.hugepages-2Mi", "count/pods"} {
		if !quota.Tracks(core.Pod, name) || quota.Tracks(core.Service, name) {
			t.Errorf("%s is not a pod's alone", name)
		}
	}
	for _, name := range []corev1.ResourceName{"example.com/gpu", "requests.storage", "services", "count/secrets", "requests.kubernetes.io/batch"} {
		if quota.Tracks(core.Pod, name) {
			t.Errorf("pods use %s", name)
		}
	}
	if quota.Tracks(core.Event, "count/events") || quota.Tracks(core.Node, "count/nodes") {
		t.Error("events or nodes are counted")
	}
}

func TestScopes(t *testing.T) {
	pod := read(t, &corev1.Pod{}, `{spec: {priorityClassName: high, activeDeadlineSeconds: 5, containers: [{name: c, resources: {requests: {cpu: 1}}}],
	  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: a, namespaceSelector: {}}}]}}}}`)
	plain := read(t, &corev1.Pod{}, `{spec: {containers: [{name: c}]}}`)
	claim := read(t, &corev1.PersistentVolumeClaim{}, `{spec: {volumeAttributesClassName: gold}, status: {currentVolumeAttributesClassName: silver}}`)
	for _, c := range []struct {
		spec string
		obj  kinds.Object
		want bool
	}{
		{`{scopes: [Terminating]}`, pod, true},
		{`{scopes: [Terminating]}`, plain, false},
		{`{scopes: [NotTerminating, BestEffort]}`, plain, true},
		{`{scopes: [NotTerminating, NotBestEffort]}`, plain, false},
		{`{scopes: [NotBestEffort]}`, pod, true},
		{`{scopes: [CrossNamespacePodAffinity]}`, pod, true},
		{`{scopes: [CrossNamespacePodAffinity]}`, plain, false},
		{`{scopes: [PriorityClass]}`, plain, false},
		{`{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high, low]}]}}`, pod, true},
		{`{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [high]}]}}`, pod, false},
		{`{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [high]}]}}`, plain, true},
		{`{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: DoesNotExist}]}}`, plain, true},
		{`{scopes: [Terminating], scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: Exists}]}}`, pod, true},
		{`{scopes: [BestEffort]}`, claim, false},
		{`{scopeSelector: {matchExpressions: [{scopeName: VolumeAttributesClass, operator: In, values: [silver]}]}}`, claim, true},
		{`{scopeSelector: {matchExpressions: [{scopeName: VolumeAttributesClass, operator: NotIn, values: [silver]}]}}`, claim, true},
		{`{scopeSelector: {matchExpressions: [{scopeName: VolumeAttributesClass, operator: In, values: [lead]}]}}`, claim, false},
		{`{scopes: [NotTerminating]}`, core.Service.New(), false},
		{`{}`, core.Service.New(), true},
	} {
		q := read(t, &corev1.ResourceQuota{}, `{spec: `+c.spec+`}`)
		if got := quota.InScope(q, c.obj); got != c.want {
			t.Errorf("%s: got %v, want %v for %T", c.spec, got, c.want, c.obj)
		}
	}
}
