package podspec

import (
	_ "crypto/sha256" // digests in image references are checked
	_ "crypto/sha512"
	"maps"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// SetDefaults sets the defaults of a PodSpec wherever it stands: in a pod or in a template.
func SetDefaults(spec *corev1.PodSpec) {
	// The old name of the field is kept in step with the new one, for the clients that still read it.
	if spec.ServiceAccountName == "" {
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	def(&spec.DNSPolicy, corev1.DNSClusterFirst)
	def(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	def(&spec.SchedulerName, corev1.DefaultSchedulerName)
	defPtr(&spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	for i := range spec.Volumes {
		setVolumeDefaults(&spec.Volumes[i])
	}
	Containers(spec, func(ctr *corev1.Container) bool {
		setContainerDefaults(ctr)
		return true
	})
	roundUp(spec.Overhead)
	if spec.Resources != nil {
		roundUp(spec.Resources.Limits)
		roundUp(spec.Resources.Requests)
	}
}

// SetTemplateDefaults sets the defaults of a template.
func SetTemplateDefaults(t *corev1.PodTemplateSpec) {
	t.Annotations = withoutInitContainers(t.Annotations)
	SetDefaults(&t.Spec)
}

// initContainerAnnotations held init containers before there was a field. No object keeps them.
var initContainerAnnotations = []string{"pod.beta.kubernetes.io/init-containers", "pod.alpha.kubernetes.io/init-containers",
	"pod.beta.kubernetes.io/init-container-statuses", "pod.alpha.kubernetes.io/init-container-statuses"}

func withoutInitContainers(annotations map[string]string) map[string]string {
	for _, key := range initContainerAnnotations {
		if _, ok := annotations[key]; ok {
			kept := maps.Clone(annotations)
			for _, key := range initContainerAnnotations {
				delete(kept, key)
			}
			return kept
		}
	}
	return annotations
}

// SetPodDefaults sets the defaults of a pod, which has some that templates do not have.
func SetPodDefaults(pod *corev1.Pod) {
	spec := &pod.Spec
	pod.Annotations = withoutInitContainers(pod.Annotations)
	if grace := spec.TerminationGracePeriodSeconds; grace != nil && *grace < 0 {
		one := int64(1)
		spec.TerminationGracePeriodSeconds = &one
	}
	setAddressDefaults(&pod.Status)
	for i := range spec.Containers {
		requestLimits(&spec.Containers[i].Resources)
	}
	for i := range spec.InitContainers {
		requestLimits(&spec.InitContainers[i].Resources)
	}
	setPodResourceDefaults(pod)
	defPtr(&spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	if spec.HostNetwork {
		hostNetworkPorts(spec.Containers)
		hostNetworkPorts(spec.InitContainers)
	}
	SetDefaults(spec)
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range statuses {
			roundUp(statuses[i].AllocatedResources)
			if r := statuses[i].Resources; r != nil {
				roundUp(r.Limits)
				roundUp(r.Requests)
			}
		}
	}
	roundUp(pod.Status.AllocatedResources)
	if r := pod.Status.Resources; r != nil {
		roundUp(r.Limits)
		roundUp(r.Requests)
	}
}

// setAddressDefaults keeps the one address and the list of addresses in step; node agents that know only the one are right.
func setAddressDefaults(s *corev1.PodStatus) {
	switch {
	case s.PodIP != "" && (len(s.PodIPs) == 0 || s.PodIPs[0].IP != s.PodIP):
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	case len(s.PodIPs) > 0:
		s.PodIP = s.PodIPs[0].IP
	}
}

func setContainerDefaults(ctr *corev1.Container) {
	if ctr.ImagePullPolicy == "" {
		ctr.ImagePullPolicy = pullPolicy(ctr.Image)
	}
	def(&ctr.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	def(&ctr.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	for i := range ctr.Ports {
		def(&ctr.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range ctr.Env {
		from := ctr.Env[i].ValueFrom
		if from == nil {
			continue
		}
		setFieldRefDefaults(from.FieldRef)
		if from.FileKeyRef != nil {
			defPtr(&from.FileKeyRef.Optional, false)
		}
	}
	roundUp(ctr.Resources.Limits)
	roundUp(ctr.Resources.Requests)
	for _, probe := range []*corev1.Probe{ctr.LivenessProbe, ctr.ReadinessProbe, ctr.StartupProbe} {
		if probe == nil {
			continue
		}
		def(&probe.TimeoutSeconds, 1)
		def(&probe.PeriodSeconds, 10)
		def(&probe.SuccessThreshold, 1)
		def(&probe.FailureThreshold, 3)
		setHTTPGetDefaults(probe.HTTPGet)
		if probe.GRPC != nil {
			defPtr(&probe.GRPC.Service, "")
		}
	}
	if l := ctr.Lifecycle; l != nil {
		if l.PostStart != nil {
			setHTTPGetDefaults(l.PostStart.HTTPGet)
		}
		if l.PreStop != nil {
			setHTTPGetDefaults(l.PreStop.HTTPGet)
		}
	}
}

func setHTTPGetDefaults(get *corev1.HTTPGetAction) {
	if get != nil {
		def(&get.Path, "/")
		def(&get.Scheme, corev1.URISchemeHTTP)
	}
}

func setFieldRefDefaults(ref *corev1.ObjectFieldSelector) {
	if ref != nil {
		def(&ref.APIVersion, "v1")
	}
}

// pullPolicy is Always for images that move (tag latest, or none), else IfNotPresent. An image that does not parse is for validation or the
// runtime to refuse.
func pullPolicy(image string) corev1.PullPolicy {
	if tag, ok := simpleTag(image); ok {
		if tag == "latest" {
			return corev1.PullAlways
		}
		return corev1.PullIfNotPresent
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return corev1.PullIfNotPresent
	}
	tag := ""
	if t, ok := named.(reference.Tagged); ok {
		tag = t.Tag()
	} else if _, ok := named.(reference.Digested); !ok {
		tag = "latest"
	}
	if tag == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// simpleTag is the tag of an image that is plain enough to be told without a parser ("nginx", "ghcr.io/a/b:1.2"), which costs 15 us: lower-case words with
// single separators, no port, no digest.
func simpleTag(image string) (tag string, ok bool) {
	name, tag, tagged := strings.Cut(image, ":")
	if !tagged {
		tag = "latest"
	}
	if len(image) > 128 || len(name) == 64 { // 64 hexadecimal digits are an identifier
		return "", false
	}
	word := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	before := false
	for i := range len(name) {
		is := word(name[i])
		if !is && (!before || name[i] != '/' && name[i] != '.' && name[i] != '-') {
			return "", false
		}
		before = is
	}
	if !before || tag == "" {
		return "", false
	}
	for i := range len(tag) {
		if c := tag[i]; !word(c) && !('A' <= c && c <= 'Z') && (i == 0 || c != '.' && c != '-' && c != '_') {
			return "", false
		}
	}
	return tag, true
}

// requestLimits makes requests of limits that have none. Only pods get this default: in a template, what came from where would be lost.
func requestLimits(r *corev1.ResourceRequirements) {
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = make(corev1.ResourceList, len(r.Limits))
	}
	for name, limit := range r.Limits {
		if _, ok := r.Requests[name]; !ok {
			r.Requests[name] = limit.DeepCopy()
		}
	}
}

// setPodResourceDefaults completes resources of the pod as a whole (KEP-2837): limits of huge pages from the containers' limits, then requests from
// the containers' requests, then from the pod's limits.
func setPodResourceDefaults(pod *corev1.Pod) {
	r := pod.Spec.Resources
	if r == nil || len(r.Limits)+len(r.Requests) == 0 {
		return
	}
	for name, limit := range resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{}) {
		if !resourcehelper.IsSupportedPodLevelResource(name) || !isHugePages(name) || has(r.Requests, name) || has(r.Limits, name) {
			continue
		}
		if r.Limits == nil {
			r.Limits = corev1.ResourceList{}
		}
		r.Limits[name] = limit.DeepCopy()
	}
	if len(r.Limits) == 0 {
		return
	}
	requests := r.Requests
	if requests == nil {
		requests = corev1.ResourceList{}
	}
	for name, request := range resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{}) {
		if !has(requests, name) && resourcehelper.IsSupportedPodLevelResource(name) && overcommitAllowed(name) {
			requests[name] = request.DeepCopy()
		}
	}
	for name, limit := range r.Limits {
		if !has(requests, name) && resourcehelper.IsSupportedPodLevelResource(name) {
			requests[name] = limit.DeepCopy()
		}
	}
	if len(requests) > 0 {
		r.Requests = requests
	}
}

func hostNetworkPorts(containers []corev1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			def(&containers[i].Ports[j].HostPort, containers[i].Ports[j].ContainerPort)
		}
	}
}

func roundUp(list corev1.ResourceList) {
	for name, q := range list {
		if q.RoundUp(-3) { // already whole thousandths
			continue
		}
		list[name] = q
	}
}

func has(list corev1.ResourceList, name corev1.ResourceName) bool {
	_, ok := list[name]
	return ok
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func defPtr[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
