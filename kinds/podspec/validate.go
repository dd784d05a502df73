package podspec

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	kindmeta "github.com/tenet-run/tenet/kinds/meta"
)

var (
	metaPath   = field.NewPath("metadata")
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")
)

// ValidateTemplate says what is wrong with a new template, defaults applied.
func ValidateTemplate(t *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	return ValidateTemplateUpdate(t, nil, fld)
}

// ValidateTemplateUpdate says what is wrong with a changed template. What the old one got away with, the new one may keep. old may be nil.
func ValidateTemplateUpdate(t, old *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	var c checker
	if old != nil {
		c.leniency = lenientFor(&old.Spec, old.Annotations)
	}
	at := fld.Child("spec")
	c.templateMeta(fld, t)
	c.spec(at, &t.Spec, nil)
	c.profilesMatch(at, t.Annotations, &t.Spec)
	if len(t.Spec.EphemeralContainers) > 0 {
		c.forbidden(at.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template")
	}
	return c.errs
}

// ValidateTemplateMeta is the part of ValidateTemplateUpdate that looks at labels and annotations.
func ValidateTemplateMeta(t, old *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	var c checker
	if old != nil {
		c.leniency = lenientFor(&old.Spec, old.Annotations)
	}
	c.templateMeta(fld, t)
	return c.errs
}

func (c *checker) templateMeta(fld *field.Path, t *corev1.PodTemplateSpec) {
	c.add(kindmeta.ValidateLabels(t.Labels, fld.Child("labels")))
	c.add(kindmeta.ValidateAnnotations(t.Annotations, fld.Child("annotations")))
	c.annotations(fld.Child("annotations"), t.Annotations, &t.Spec)
}

// ValidatePod says what is wrong with a new pod, its metadata excluded but for annotations that mean something to pods.
func ValidatePod(pod *corev1.Pod) field.ErrorList {
	c := checker{leniency: leniency{isPod: true}}
	c.pod(pod)
	if len(pod.Spec.EphemeralContainers) > 0 {
		c.forbidden(specPath.Child("ephemeralContainers"), "cannot be set on create")
	}
	if pod.Spec.NodeName != "" && len(pod.Spec.SchedulingGates) != 0 {
		c.forbidden(specPath.Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
	c.profilesMatch(specPath, pod.Annotations, &pod.Spec)
	return c.errs
}

// pod checks what holds for a pod at all times.
func (c *checker) pod(pod *corev1.Pod) {
	spec := &pod.Spec
	c.annotations(metaPath.Child("annotations"), pod.Annotations, spec)
	c.spec(specPath, spec, &pod.ObjectMeta)
	if spec.ServiceAccountName == "" {
		for i := range spec.Volumes {
			if spec.Volumes[i].Projected == nil {
				continue
			}
			for j, s := range spec.Volumes[i].Projected.Sources {
				if s.ServiceAccountToken != nil {
					c.forbidden(specPath.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken"), "must not be specified when serviceAccountName is not set")
				}
			}
		}
	}
	for i := range spec.Containers {
		c.imageWithoutSpace(specPath.Child("containers").Index(i), &spec.Containers[i])
	}
	for i := range spec.InitContainers {
		c.imageWithoutSpace(specPath.Child("initContainers").Index(i), &spec.InitContainers[i])
	}
}

// spec checks a PodSpec. meta is the pod's, nil in a template. Errors come in the order of upstream.
func (c *checker) spec(p *field.Path, spec *corev1.PodSpec, meta *metav1.ObjectMeta) {
	if spec.TerminationGracePeriodSeconds == nil {
		c.required(p.Child("terminationGracePeriodSeconds"), "")
	}
	s := &scope{spec: spec, claims: claimNames(spec.ResourceClaims)}
	s.volumes = c.volumes(p.Child("volumes"), spec.Volumes, meta)
	mirror := false
	if meta != nil {
		_, mirror = meta.Annotations[mirrorAnnotation]
	}
	c.resourceClaims(p.Child("resourceClaims"), spec.ResourceClaims, mirror)
	c.containers(p.Child("containers"), s)
	c.initContainers(p.Child("initContainers"), s)
	c.ephemeralContainers(p.Child("ephemeralContainers"), s)
	c.podResources(p, spec, s.claims)
	c.hostNetworkPorts(p, spec)
	setOneOf(c, p.Child("restartPolicy"), spec.RestartPolicy, corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	setOneOf(c, p.Child("dnsPolicy"), spec.DNSPolicy, corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	c.add(kindmeta.ValidateLabels(spec.NodeSelector, p.Child("nodeSelector")))
	c.podSecurity(p.Child("securityContext"), spec)
	c.affinity(p.Child("affinity"), spec.Affinity)
	c.dnsConfig(p.Child("dnsConfig"), spec.DNSConfig, spec.DNSPolicy)
	for i, gate := range spec.ReadinessGates {
		c.qualifiedName(p.Child("readinessGates").Index(i).Child("conditionType"), string(gate.ConditionType))
	}
	c.schedulingGates(p.Child("schedulingGates"), spec.SchedulingGates)
	c.topologySpread(p.Child("topologySpreadConstraints"), spec.TopologySpreadConstraints)
	c.hostProcess(p, spec)
	c.hostUsers(p, spec)
	c.hostnameOverride(p, spec)
	c.optionalSubdomain(p.Child("serviceAccountName"), spec.ServiceAccountName)
	c.optionalSubdomain(p.Child("nodeName"), spec.NodeName)
	if seconds := spec.ActiveDeadlineSeconds; seconds != nil && (*seconds < 1 || *seconds > math.MaxInt32) {
		c.invalid(p.Child("activeDeadlineSeconds"), *seconds, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	if spec.Hostname != "" {
		c.dnsLabel(p.Child("hostname"), spec.Hostname)
	}
	if spec.Subdomain != "" {
		c.dnsLabel(p.Child("subdomain"), spec.Subdomain)
	}
	c.tolerations(p.Child("tolerations"), spec.Tolerations)
	c.hostAliases(p.Child("hostAliases"), spec.HostAliases)
	c.optionalSubdomain(p.Child("priorityClassName"), spec.PriorityClassName)
	if spec.RuntimeClassName != nil {
		c.dnsSubdomain(p.Child("runtimeClassName"), *spec.RuntimeClassName)
	}
	if spec.PreemptionPolicy != nil {
		setOneOf(c, p.Child("preemptionPolicy"), *spec.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
	}
	if spec.Overhead != nil {
		c.requirements(p.Child("overhead"), &corev1.ResourceRequirements{Limits: spec.Overhead}, c.containerResourceName, nil)
	}
	c.os(p, spec)
	if g := spec.SchedulingGroup; g != nil {
		at := p.Child("schedulingGroup", "podGroupName")
		if g.PodGroupName == nil {
			c.invalid(at, g.PodGroupName, "must specify one of: `podGroupName`")
		} else {
			c.dnsSubdomain(at, *g.PodGroupName)
		}
	}
	c.fileKeyVolumes(p, spec)
}

func (c *checker) optionalSubdomain(p *field.Path, name string) {
	if name != "" {
		c.dnsSubdomain(p, name)
	}
}
