package core_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// now is the time at which rows are looked at.
var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestPodRow(t *testing.T) {
	const meta = "metadata: {name: p, creationTimestamp: '2030-01-01T11:55:00Z'}"
	one := "spec: {containers: [{name: a}]}\n"
	two := "spec: {containers: [{name: a}, {name: b}]}\n"
	inits := "spec: {containers: [{name: a}], initContainers: [{name: i}, {name: j}]}\n"
	sidecar := "spec: {containers: [{name: a}], initContainers: [{name: s, restartPolicy: Always}]}\n"
	for name, c := range map[string]struct{ pod, want string }{
		"pending":                         {one + "status: {phase: Pending}", "p 0/1 Pending 0 5m <none> <none> <none> <none>"},
		"running":                         {"spec: {nodeName: n1, containers: [{name: a}]}\nstatus: {phase: Running, podIPs: [{ip: 10.0.0.1}], containerStatuses: [{name: a, ready: true, state: {running: {}}}]}", "p 1/1 Running 0 5m 10.0.0.1 n1 <none> <none>"},
		"reason":                          {one + "status: {phase: Failed, reason: Evicted}", "p 0/1 Evicted 0 5m <none> <none> <none> <none>"},
		"gated":                           {one + "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}", "p 0/1 SchedulingGated 0 5m <none> <none> <none> <none>"},
		"nominated":                       {one + "status: {phase: Pending, nominatedNodeName: n2}", "p 0/1 Pending 0 5m <none> <none> n2 <none>"},
		"creating":                        {one + "status: {phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}]}", "p 0/1 ContainerCreating 0 5m <none> <none> <none> <none>"},
		"crash loop":                      {one + "status: {phase: Running, containerStatuses: [{name: a, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, finishedAt: '2030-01-01T11:59:00Z'}}}]}", "p 0/1 CrashLoopBackOff 3 (60s ago) 5m <none> <none> <none> <none>"},
		"restarted, no time":              {one + "status: {phase: Running, containerStatuses: [{name: a, ready: true, restartCount: 3, state: {running: {}}}]}", "p 1/1 Running 3 5m <none> <none> <none> <none>"},
		"completed":                       {one + "status: {phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}]}", "p 0/1 Completed 0 5m <none> <none> <none> <none>"},
		"error":                           {one + "status: {phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 1, reason: Error}}}]}", "p 0/1 Error 0 5m <none> <none> <none> <none>"},
		"exit code":                       {one + "status: {phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 7}}}]}", "p 0/1 ExitCode:7 0 5m <none> <none> <none> <none>"},
		"signal":                          {one + "status: {phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 7, signal: 9}}}]}", "p 0/1 Signal:9 0 5m <none> <none> <none> <none>"},
		"one of two completed, ready":     {two + "status: {phase: Running, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}, {name: b, ready: true, state: {running: {}}}]}", "p 1/2 Running 0 5m <none> <none> <none> <none>"},
		"one of two completed, not ready": {two + "status: {phase: Running, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}, {name: b, ready: true, state: {running: {}}}]}", "p 1/2 NotReady 0 5m <none> <none> <none> <none>"},
		"one completed, one failed":       {two + "status: {phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}, {name: b, state: {terminated: {exitCode: 2, reason: Error}}}]}", "p 0/2 Error 0 5m <none> <none> <none> <none>"},
		"init running":                    {inits + "status: {phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0}}}, {name: j, restartCount: 1, state: {running: {}}}], containerStatuses: [{name: a, state: {waiting: {reason: PodInitializing}}}]}", "p 0/1 Init:1/2 1 5m <none> <none> <none> <none>"},
		"init first":                      {inits + "status: {phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: PodInitializing}}}]}", "p 0/1 Init:0/2 0 5m <none> <none> <none> <none>"},
		"init crash":                      {inits + "status: {phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: CrashLoopBackOff}}}]}", "p 0/1 Init:CrashLoopBackOff 0 5m <none> <none> <none> <none>"},
		"init error":                      {inits + "status: {phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 2, reason: Error}}}]}", "p 0/1 Init:Error 0 5m <none> <none> <none> <none>"},
		"init exit code":                  {inits + "status: {phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 2}}}]}", "p 0/1 Init:ExitCode:2 0 5m <none> <none> <none> <none>"},
		"init signal":                     {inits + "status: {phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 2, signal: 15}}}]}", "p 0/1 Init:Signal:15 0 5m <none> <none> <none> <none>"},
		"sidecar started":                 {sidecar + "status: {phase: Running, initContainerStatuses: [{name: s, started: true, ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 1, finishedAt: '2030-01-01T11:50:00Z'}}}], containerStatuses: [{name: a, ready: true, state: {running: {}}}]}", "p 2/2 Running 2 (10m ago) 5m <none> <none> <none> <none>"},
		"sidecar not started":             {sidecar + "status: {phase: Pending, initContainerStatuses: [{name: s, started: false, state: {running: {}}}]}", "p 0/2 Init:0/1 0 5m <none> <none> <none> <none>"},
		"readiness gates":                 {"spec: {containers: [{name: a}], readinessGates: [{conditionType: x/y}, {conditionType: x/z}]}\nstatus: {phase: Pending, conditions: [{type: x/y, status: 'True'}, {type: x/z, status: 'False'}]}", "p 0/1 Pending 0 5m <none> <none> <none> 1/2"},
	} {
		if got := row(t, meta+"\n"+c.pod); got != c.want {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
	going := "metadata: {name: p, creationTimestamp: '2030-01-01T11:55:00Z', deletionTimestamp: '2030-01-01T11:59:00Z'}\n" + one
	for phase, want := range map[string]string{
		"phase: Running": "Terminating", "phase: Succeeded": "Succeeded", "phase: Running, reason: NodeLost": "Unknown",
	} {
		if got := strings.Fields(row(t, going+"status: {"+phase+"}"))[2]; got != want {
			t.Errorf("deleted, %s: got %s, want %s", phase, got, want)
		}
	}
	if got := row(t, "metadata: {name: p}"); got != "p 0/0  0 <unknown> <none> <none> <none> <none>" {
		t.Errorf("empty pod: got %s", got)
	}
	if n := len(core.Pod.Table.Columns); n != 9 {
		t.Errorf("%d columns", n)
	}
}

func row(t *testing.T, text string) string {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var out []string
	for _, c := range core.Pod.Table.Row(pod) {
		if cell, ok := c.(kinds.Cell); ok {
			c = cell.At(now)
		}
		out = append(out, c.(string))
	}
	return strings.Join(out, " ")
}

func TestPodGrace(t *testing.T) {
	sec := func(n int64) *int64 { return &n }
	for name, c := range map[string]struct {
		pod       corev1.Pod
		requested *int64
		want      int64
	}{
		"spec":           {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", TerminationGracePeriodSeconds: sec(30)}}, nil, 30},
		"requested":      {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", TerminationGracePeriodSeconds: sec(30)}}, sec(5), 5},
		"requested zero": {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", TerminationGracePeriodSeconds: sec(30)}}, sec(0), 0},
		"nothing":        {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}}, nil, 0},
		"unassigned":     {corev1.Pod{Spec: corev1.PodSpec{TerminationGracePeriodSeconds: sec(30)}}, nil, 0},
		"succeeded":      {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", TerminationGracePeriodSeconds: sec(30)}, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}, nil, 0},
		"failed":         {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodFailed}}, sec(9), 0},
		"negative":       {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", TerminationGracePeriodSeconds: sec(-4)}}, nil, 1},
	} {
		if got, graceful := core.Pod.Grace(&c.pod, c.requested); got != c.want || !graceful {
			t.Errorf("%s: got %d, %v; want %d", name, got, graceful, c.want)
		}
	}
}

func TestPodCreateStartsPending(t *testing.T) {
	pod := corpusPod(t, []byte("{metadata: {creationTimestamp: '2030-01-01T11:55:00Z'}, spec: {schedulingGates: [{name: g}]}, status: {phase: Running, podIP: 1.2.3.4}}"))
	core.Pod.BeforeCreate(pod)
	want := corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBestEffort, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "SchedulingGated", Message: "Scheduling is blocked due to non-empty scheduling gates",
		LastTransitionTime: pod.CreationTimestamp,
	}}}
	if !reflect.DeepEqual(pod.Status, want) || pod.Generation != 1 {
		t.Errorf("got generation %d, %+v\nwant %+v", pod.Generation, pod.Status, want)
	}
}

func TestPodUpdateKeepsStatusAndCountsGeneration(t *testing.T) {
	old := corpusPod(t, []byte("{metadata: {generation: 4}, status: {phase: Running}}"))
	same := corpusPod(t, []byte("{metadata: {generation: 9, labels: {a: b}}, status: {phase: Failed}}"))
	core.Pod.BeforeUpdate(same, old)
	if same.Status.Phase != corev1.PodRunning || same.Generation != 4 {
		t.Errorf("got %s, generation %d", same.Status.Phase, same.Generation)
	}
	changed := corpusPod(t, []byte("{spec: {containers: [{name: c, image: 'nginx:2'}]}}"))
	core.Pod.BeforeUpdate(changed, old)
	if changed.Generation != 5 {
		t.Errorf("got generation %d, want 5", changed.Generation)
	}
}

func TestPodStatusWriteKeepsWhatOldAgentsDrop(t *testing.T) {
	old := corpusPod(t, []byte("{status: {qosClass: Burstable, observedGeneration: 3, conditions: [{type: Ready, status: 'False', observedGeneration: 2}]}}"))
	pod := corpusPod(t, []byte("{spec: {nodeName: elsewhere}, status: {conditions: [{type: Ready, status: 'True'}, {type: Other, status: 'True'}], volumeHealth: [{name: v}]}}"))
	core.Pod.Subresource("status").Before(pod, old)
	s := pod.Status
	if pod.Spec.NodeName != "" || s.QOSClass != corev1.PodQOSBurstable || s.ObservedGeneration != 3 || s.Conditions[0].ObservedGeneration != 2 ||
		s.Conditions[1].ObservedGeneration != 0 || s.VolumeHealth != nil {
		t.Errorf("got %+v", pod)
	}
}

func TestPodBinding(t *testing.T) {
	at := metav1.NewTime(now)
	bind := func(p *corev1.Pod, b *corev1.Binding) error {
		sub := core.Pod.Subresource("binding")
		return sub.Write(p, b)
	}
	pod := corpusPod(t, []byte("{metadata: {uid: u, resourceVersion: '7'}, status: {nominatedNodeName: m, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable}]}}"))
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: "p", CreationTimestamp: at, UID: "u", Annotations: map[string]string{"a": "b"}, Labels: map[string]string{"zone": "z"}},
		Target:     corev1.ObjectReference{Kind: "Node", Name: "n"},
	}
	if err := bind(pod, binding); err != nil {
		t.Fatal(err)
	}
	want := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: at}
	if pod.Spec.NodeName != "n" || pod.Annotations["a"] != "b" || pod.Labels["zone"] != "z" || pod.Status.NominatedNodeName != "" ||
		len(pod.Status.Conditions) != 1 || pod.Status.Conditions[0] != want {
		t.Errorf("got %+v", pod)
	}
	for name, c := range map[string]struct {
		pod  string
		to   corev1.Binding
		want metav1.StatusReason
		text string
	}{
		"already bound": {"{spec: {nodeName: m}}", *binding, metav1.StatusReasonConflict, `Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "m"`},
		"going":         {"{metadata: {deletionTimestamp: '2030-01-01T11:55:00Z'}}", *binding, metav1.StatusReasonConflict, `Operation cannot be fulfilled on pods/binding "p": pod p is being deleted, cannot be assigned to a host`},
		"gated":         {"{spec: {schedulingGates: [{name: g}]}}", *binding, metav1.StatusReasonConflict, `Operation cannot be fulfilled on pods/binding "p": pod p has non-empty .spec.schedulingGates`},
		"other pod":     {"{metadata: {uid: other}}", *binding, metav1.StatusReasonConflict, `Operation cannot be fulfilled on pods/binding "p": Precondition failed: UID in precondition: u, UID in object meta: other`},
		"no target":     {"", corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.StatusReasonInvalid, `Binding "p" is invalid: target.name: Required value`},
		"other name":    {"", corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "q"}}, metav1.StatusReasonBadRequest, "name in URL does not match name in Binding object"},
	} {
		pod := corpusPod(t, []byte(c.pod))
		if pod.UID == "" {
			pod.UID = types.UID("u")
		}
		before := pod.DeepCopy()
		err := bind(pod, &c.to)
		if apierrors.ReasonForError(err) != c.want || err.Error() != c.text {
			t.Errorf("%s: got %v (%s)\nwant %s", name, err, apierrors.ReasonForError(err), c.text)
		}
		if !reflect.DeepEqual(pod, before) {
			t.Errorf("%s: the pod was changed", name)
		}
	}
}

func TestPodResizeAndEphemeralContainersKeepTheRest(t *testing.T) {
	old := corpusPod(t, []byte("{metadata: {generation: 2, labels: {a: b}}, spec: {nodeName: n1}, status: {phase: Running}}"))
	pod := corpusPod(t, []byte("{metadata: {labels: {c: d}}, spec: {containers: [{name: c, image: 'other:1', resources: {limits: {cpu: 1}}}]}}"))
	core.Pod.Subresource("resize").Before(pod, old)
	c := pod.Spec.Containers[0]
	if c.Image != "nginx:1" || c.Resources.Limits.Cpu().String() != "1" || pod.Spec.NodeName != "n1" || pod.Labels["a"] != "b" || pod.Generation != 3 || pod.Status.Phase != "Running" {
		t.Errorf("resize: got %+v", pod)
	}
	pod = corpusPod(t, []byte("{spec: {ephemeralContainers: [{name: e, image: 'a:1'}], containers: [{name: c, image: 'other:1'}]}}"))
	core.Pod.Subresource("ephemeralcontainers").Before(pod, old)
	if pod.Spec.Containers[0].Image != "nginx:1" || len(pod.Spec.EphemeralContainers) != 1 || pod.Spec.NodeName != "n1" || pod.Generation != 3 {
		t.Errorf("ephemeralcontainers: got %+v", pod)
	}
}

func TestPodDoors(t *testing.T) {
	// As discovery of Kubernetes lists them.
	want := map[string]string{
		"attach": "PodAttachOptions create,get", "binding": "Binding create", "ephemeralcontainers": " get,patch,update", "eviction": "Eviction create",
		"exec": "PodExecOptions create,get", "log": " get", "portforward": "PodPortForwardOptions create,get", "proxy": "PodProxyOptions create,delete,get,patch,update",
		"resize": " get,patch,update", "status": " get,update,patch",
	}
	for _, s := range core.Pod.Subresources {
		if got := s.GVK.Kind + " " + strings.Join(s.Verbs, ","); got != want[s.Name] {
			t.Errorf("%s: got %q, want %q", s.Name, got, want[s.Name])
		}
		delete(want, s.Name)
		if (s.GVK.Kind == "") != (s.New == nil) {
			t.Errorf("%s: GVK and New disagree", s.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if _, ok := core.Pod.Subresource("eviction").New().(*policyv1.Eviction); !ok {
		t.Error("eviction does not take an Eviction")
	}
}

func TestPodFields(t *testing.T) {
	pod := corpusPod(t, []byte("{spec: {nodeName: n1, serviceAccount: s}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}}"))
	got := map[string]string{}
	for name, f := range core.Pod.Fields {
		got[name] = f(pod)
	}
	want := map[string]string{
		"spec.nodeName": "n1", "spec.restartPolicy": "Always", "spec.schedulerName": "default-scheduler", "spec.serviceAccountName": "s", "spec.hostNetwork": "false",
		"status.phase": "Running", "status.podIP": "10.0.0.1", "status.nominatedNodeName": "",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPodAppArmorAnnotationsBecomeFieldsOnCreateOnly(t *testing.T) {
	const annotated = "{metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: localhost/x}}, spec: {serviceAccountName: s}}"
	pod := corpusPod(t, []byte(annotated))
	core.Pod.Canonicalize(pod)
	if p := pod.Spec.Containers[0].SecurityContext; p == nil || p.AppArmorProfile.Type != corev1.AppArmorProfileTypeLocalhost || *p.AppArmorProfile.LocalhostProfile != "x" {
		t.Errorf("got %+v", p)
	}
	pod = corpusPod(t, []byte(annotated))
	pod.ResourceVersion = "5"
	core.Pod.Canonicalize(pod)
	if pod.Spec.Containers[0].SecurityContext != nil {
		t.Error("an update changed the pod")
	}
}

// The manifest of the README, with every default it gets.
func TestPodDefaults(t *testing.T) {
	pod := corpusPod(t, []byte(`{spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}], env: [{name: e1, valueFrom: {fieldRef: {fieldPath: metadata.name}}}],
  livenessProbe: {httpGet: {port: 80}}, readinessProbe: {grpc: {port: 1}}, resources: {limits: {cpu: 1}}}],
  volumes: [{name: a}, {name: b, configMap: {name: x}}, {name: d, projected: {sources: [{serviceAccountToken: {path: t}}]}}, {name: e, hostPath: {path: /x}}]}}`))
	got, err := json.Marshal(pod.Spec)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"volumes":[{"name":"a","emptyDir":{}},{"name":"b","configMap":{"name":"x","defaultMode":420}},` +
		`{"name":"d","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3600,"path":"t"}}],"defaultMode":420}},{"name":"e","hostPath":{"path":"/x","type":""}}],` +
		`"containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80,"protocol":"TCP"}],` +
		`"env":[{"name":"e1","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}},` +
		`"livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},` +
		`"readinessProbe":{"grpc":{"port":1,"service":""},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},` +
		`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"}],` +
		`"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
