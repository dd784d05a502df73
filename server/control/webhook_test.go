package control

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// hooks is a server of webhooks: each path answers with a function.
type hooks struct {
	t   *testing.T
	srv *httptest.Server
	ca  []byte

	mu    sync.Mutex
	paths map[string]func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse
	calls []string
	asked map[string]*admissionreview.AdmissionRequest
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{t: t, paths: map[string]func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse{}, asked: map[string]*admissionreview.AdmissionRequest{}}
	h.srv = httptest.NewTLSServer(h)
	t.Cleanup(h.srv.Close)
	h.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.srv.Certificate().Raw})
	return h
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var review admissionreview.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	answer := h.paths[r.URL.Path]
	h.calls = append(h.calls, r.URL.Path)
	h.asked[r.URL.Path] = review.Request
	h.mu.Unlock()
	if answer == nil {
		http.Error(w, "nobody here", http.StatusNotFound)
		return
	}
	review.Response = answer(review.Request)
	review.Response.UID, review.Request = review.Request.UID, nil
	json.NewEncoder(w).Encode(review)
}

func (h *hooks) on(path string, f func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paths[path] = f
}

// took gives the calls since the last time.
func (h *hooks) took() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.calls
	h.calls = nil
	return out
}

func (h *hooks) request(path string) *admissionreview.AdmissionRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[path]
}

func (h *hooks) client(path string) admissionv1.WebhookClientConfig {
	return admissionv1.WebhookClientConfig{URL: new(h.srv.URL + path), CABundle: h.ca}
}

func allowed(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
	return &admissionreview.AdmissionResponse{Allowed: true}
}

func patching(patch string) func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
	return func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
		return &admissionreview.AdmissionResponse{Allowed: true, Patch: []byte(patch), PatchType: new(admissionreview.PatchTypeJSONPatch)}
	}
}

func on(group, version string, ops []admissionv1.OperationType, resources ...string) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{Operations: ops, Rule: admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: resources}}}
}

var creates = []admissionv1.OperationType{admissionv1.Create}

func (h *hooks) validating(name, path string, rules []admissionv1.RuleWithOperations) admissionv1.ValidatingWebhook {
	return admissionv1.ValidatingWebhook{
		Name: name + ".example.com", ClientConfig: h.client(path), Rules: rules, SideEffects: new(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
	}
}

func (h *hooks) mutating(name, path string, rules []admissionv1.RuleWithOperations) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: name + ".example.com", ClientConfig: h.client(path), Rules: rules, SideEffects: new(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
	}
}

func (g *gated) validate(t *testing.T, name string, list ...admissionv1.ValidatingWebhook) {
	t.Helper()
	c := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: list}
	if _, err := g.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (g *gated) mutate(t *testing.T, name string, list ...admissionv1.MutatingWebhook) {
	t.Helper()
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: list}
	if _, err := g.admin.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// warnings collects Warning headers.
type warnings struct {
	mu   sync.Mutex
	list []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

func config(name string, labels map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// TestValidatingWebhooks: who is asked, what they are told, and what the client hears.
func TestValidatingWebhooks(t *testing.T) {
	g, h := serving(t), newHooks(t)
	ctx := t.Context()
	maps := g.admin.CoreV1().ConfigMaps("default")
	h.on("/no", func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
		return &admissionreview.AdmissionResponse{Result: &metav1.Status{Message: "not today", Reason: "Closed", Code: 418}, Warnings: []string{"mind the gap"}}
	})
	hook := h.validating("a", "/no", on("", "v1", []admissionv1.OperationType{"CREATE", "UPDATE", "DELETE"}, "configmaps"))
	hook.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"checked": "yes"}}
	hook.MatchConditions = []admissionv1.MatchCondition{{Name: "not-system", Expression: "!request.userInfo.username.startsWith('system:')"}, {Name: "name", Expression: "!has(object.metadata) || object.metadata.name != 'free'"}}
	g.validate(t, "a", hook)

	heard := &warnings{}
	c := rest.CopyConfig(g.config)
	c.WarningHandler = heard
	_, err := kubernetes.NewForConfigOrDie(c).CoreV1().ConfigMaps("default").Create(ctx, config("x", map[string]string{"checked": "yes"}), metav1.CreateOptions{})
	var status apierrors.APIStatus
	if err == nil || err.Error() != `admission webhook "a.example.com" denied the request: not today` {
		t.Fatalf("refused: %v", err)
	} else if status = err.(apierrors.APIStatus); status.Status().Code != 418 || status.Status().Reason != "Closed" {
		t.Errorf("status %+v", status.Status())
	}
	if !slices.Contains(heard.list, "mind the gap") {
		t.Errorf("warnings %q", heard.list)
	}
	r := h.request("/no")
	var sent corev1.ConfigMap
	if err := json.Unmarshal(r.Object.Raw, &sent); err != nil || sent.Kind != "ConfigMap" || sent.APIVersion != "v1" || sent.Name != "x" || sent.UID == "" {
		t.Errorf("object %s", r.Object.Raw)
	}
	if r.Operation != "CREATE" || r.Name != "x" || r.Namespace != "default" || r.Resource.Resource != "configmaps" || r.Kind.Kind != "ConfigMap" || r.UserInfo.Username != "kubernetes-admin" ||
		*r.DryRun || !strings.Contains(string(r.Options.Raw), `"kind":"CreateOptions"`) || len(r.OldObject.Raw) > 4 {
		t.Errorf("request %+v", r)
	}
	for _, free := range []*corev1.ConfigMap{config("y", nil), config("free", map[string]string{"checked": "yes"})} {
		if _, err := maps.Create(ctx, free, metav1.CreateOptions{}); err != nil {
			t.Errorf("%s: %v", free.Name, err)
		}
	}
	_, err = maps.Patch(ctx, "y", types.MergePatchType, []byte(`{"metadata":{"labels":{"checked":"yes"}}}`), metav1.PatchOptions{})
	if !strings.Contains(err.Error(), "denied") {
		t.Errorf("update: %v", err)
	}
	if r := h.request("/no"); r.Operation != "UPDATE" || len(r.OldObject.Raw) < 10 {
		t.Errorf("update: %+v", r)
	}

	// A configuration holds, and stops, when its write returns.
	if err := g.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Create(ctx, config("x", map[string]string{"checked": "yes"}), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}

	// One that cannot be reached.
	h.took()
	gone := h.validating("gone", "/gone", on("", "v1", creates, "configmaps"))
	g.validate(t, "b", gone)
	_, err = maps.Create(ctx, config("z", nil), metav1.CreateOptions{})
	if want := `Internal error occurred: failed calling webhook "gone.example.com": failed to call webhook: the server could not find the requested resource`; err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if _, err := g.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, "b", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Create(ctx, config("z", nil), metav1.CreateOptions{}); err != nil {
		t.Errorf("ignored: %v", err)
	}
	if got := h.took(); len(got) != 2 {
		t.Errorf("calls %q", got)
	}
}

// TestWebhookTimeoutAndDryRun: a slow webhook is not waited for; one with side effects stops a dry run.
func TestWebhookTimeoutAndDryRun(t *testing.T) {
	g, h := serving(t), newHooks(t)
	maps := g.admin.CoreV1().ConfigMaps("default")
	release := make(chan struct{})
	h.on("/slow", func(r *admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
		<-release
		return allowed(r)
	})
	hook := h.validating("slow", "/slow", on("", "v1", creates, "configmaps"))
	hook.TimeoutSeconds = new(int32(1))
	g.validate(t, "a", hook)
	began := time.Now()
	_, err := maps.Create(t.Context(), config("x", nil), metav1.CreateOptions{})
	close(release)
	if err == nil || !strings.Contains(err.Error(), `failed calling webhook "slow.example.com": failed to call webhook: Post "`+h.srv.URL+`/slow?timeout=1s": context deadline exceeded`) {
		t.Errorf("slow: %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
	if err := g.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.on("/ok", allowed)
	quiet := h.validating("quiet", "/ok", on("", "v1", creates, "configmaps"))
	quiet.SideEffects = new(admissionv1.SideEffectClassNoneOnDryRun)
	g.validate(t, "b", quiet)
	if _, err := maps.Create(t.Context(), config("x", nil), metav1.CreateOptions{DryRun: []string{"All"}}); err != nil {
		t.Error(err)
	}
	if r := h.request("/ok"); r == nil || !*r.DryRun {
		t.Errorf("dry run: %+v", r)
	}
}

// TestMutatingWebhooks: patches, order, and a second look at what others have changed.
func TestMutatingWebhooks(t *testing.T) {
	g, h := serving(t), newHooks(t)
	ctx := t.Context()
	pods := on("", "v1", creates, "pods")
	h.on("/first", func(r *admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
		var pod corev1.Pod
		if err := json.Unmarshal(r.Object.Raw, &pod); err != nil {
			t.Error(err)
		}
		return patching(`[{"op":"add","path":"/metadata/annotations","value":{"containers":"` + strconv.Itoa(len(pod.Spec.Containers)) + `"}}]`)(r)
	})
	h.on("/second", func(r *admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
		if strings.Contains(string(r.Object.Raw), `"sidecar"`) {
			return allowed(r)
		}
		return patching(`[{"op":"add","path":"/spec/containers/-","value":{"name":"sidecar","image":"s"}}]`)(r)
	})
	first := h.mutating("first", "/first", pods)
	first.ReinvocationPolicy = new(admissionv1.IfNeededReinvocationPolicy)
	g.mutate(t, "b", h.mutating("second", "/second", pods))
	g.mutate(t, "a", first)
	g.account(t, "default", "default", nil)
	pod, err := g.admin.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := h.took(), []string{"/first", "/second", "/first"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
	if len(pod.Spec.Containers) != 2 || pod.Annotations["containers"] != "2" {
		t.Errorf("pod: %d containers, annotations %v", len(pod.Spec.Containers), pod.Annotations)
	} else if c := pod.Spec.Containers[1]; c.ImagePullPolicy == "" || len(c.VolumeMounts) != 1 {
		t.Errorf("the sidecar has no defaults, or no service account: %+v", c)
	}

	// A view of another type, and another version of the same kind.
	h.on("/scale", patching(`[{"op":"replace","path":"/spec/replicas","value":3}]`))
	h.on("/event", patching(`[{"op":"replace","path":"/note","value":"changed"}]`))
	events := h.mutating("event", "/event", on("events.k8s.io", "v1", creates, "events"))
	events.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}} // not those of controllers
	g.mutate(t, "c", h.mutating("scale", "/scale", on("apps", "v1", []admissionv1.OperationType{"UPDATE"}, "deployments/scale")), events)
	labels := map[string]string{"a": "b"}
	if _, err := g.admin.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	scale, err := g.admin.AppsV1().Deployments("default").UpdateScale(ctx, "d", &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "default"}, Spec: autoscalingv1.ScaleSpec{Replicas: 1}}, metav1.UpdateOptions{})
	if err != nil || scale.Spec.Replicas != 3 {
		t.Errorf("scale: %+v %v", scale, err)
	}
	if r := h.request("/scale"); r.Kind.Kind != "Scale" || r.SubResource != "scale" || !strings.Contains(string(r.OldObject.Raw), `"Scale"`) {
		t.Errorf("scale: %+v", r)
	}
	event, err := g.admin.CoreV1().Events("default").Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Labels: labels}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "p"}, Message: "plain"}, metav1.CreateOptions{})
	if err != nil || event.Message != "changed" {
		t.Errorf("event: %+v %v", event, err)
	}
	if r := h.request("/event"); r.Resource.Group != "events.k8s.io" || r.RequestResource.Group != "" || !strings.Contains(string(r.Object.Raw), `"note":"plain"`) {
		t.Errorf("event: %s %+v", r.Object.Raw, r.RequestResource)
	}
}

// TestWebhookOfConnections: who wants into a pod is told about before the connection is handed on.
func TestWebhookOfConnections(t *testing.T) {
	g, h := serving(t), newHooks(t)
	ctx := t.Context()
	g.account(t, "default", "default", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Image: "i"}}}})
	h.on("/exec", func(*admissionreview.AdmissionRequest) *admissionreview.AdmissionResponse {
		return &admissionreview.AdmissionResponse{Result: &metav1.Status{Message: "stay out"}}
	})
	g.validate(t, "a", h.validating("exec", "/exec", on("", "v1", []admissionv1.OperationType{admissionv1.Connect}, "pods/exec")))
	err := g.admin.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("exec").Param("command", "ls").Param("command", "-l").Param("container", "c").Param("stdout", "true").Do(ctx).Error()
	if err == nil || err.Error() != `admission webhook "exec.example.com" denied the request: stay out` {
		t.Errorf("exec: %v", err)
	}
	r := h.request("/exec")
	var opts corev1.PodExecOptions
	if r == nil || json.Unmarshal(r.Object.Raw, &opts) != nil || r.Kind.Kind != "PodExecOptions" || r.Operation != "CONNECT" || r.SubResource != "exec" || r.Name != "p" {
		t.Fatalf("request %+v", r)
	}
	if !opts.Stdout || opts.Stdin || opts.Container != "c" || !slices.Equal(opts.Command, []string{"ls", "-l"}) {
		t.Errorf("options %+v", opts)
	}
}
