package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// warner collects warnings: things that are accepted and that whoever sent them should know.
type warner struct{ out []string }

func (w *warner) add(p *field.Path, format string, args ...any) {
	w.out = append(w.out, p.String()+": "+fmt.Sprintf(format, args...))
}

// Warnings for a pod.
func Warnings(pod *corev1.Pod) []string { return warnings(&pod.Spec, &pod.ObjectMeta, nil) }

// TemplateWarnings for a template at fld.
func TemplateWarnings(t *corev1.PodTemplateSpec, fld *field.Path) []string {
	return warnings(&t.Spec, &t.ObjectMeta, fld)
}

// ClaimWarnings for a claim at fld.
func ClaimWarnings(s *corev1.PersistentVolumeClaimSpec, fld *field.Path) []string {
	w := &warner{}
	w.claim(fld, s)
	return w.out
}

// NodeSelectorWarnings for what an object requires of nodes.
func NodeSelectorWarnings(s *corev1.NodeSelector, fld *field.Path) []string {
	w := &warner{}
	for i := range s.NodeSelectorTerms {
		w.nodeSelectorTerm(fld.Child("nodeSelectorTerms").Index(i), &s.NodeSelectorTerms[i], false)
	}
	return w.out
}

func (w *warner) claim(p *field.Path, s *corev1.PersistentVolumeClaimSpec) {
	w.fractional(p.Child("resources", "requests"), s.Resources.Requests, corev1.ResourceStorage)
	w.fractional(p.Child("resources", "limits"), s.Resources.Limits, corev1.ResourceStorage)
}

func warnings(spec *corev1.PodSpec, meta *metav1.ObjectMeta, fld *field.Path) []string {
	w := &warner{}
	p := fld.Child("spec")
	w.nodeLabels(p, spec)
	w.deprecatedAnnotations(fld.Child("metadata", "annotations"), meta)
	for i := range spec.Volumes {
		w.volume(p.Child("volumes").Index(i), &spec.Volumes[i])
	}
	w.overlappingPaths(spec.Volumes)
	w.duplicates(p, spec)
	w.fractional(p.Child("overhead"), spec.Overhead, corev1.ResourceMemory)
	w.fractional(p.Child("overhead"), spec.Overhead, corev1.ResourceEphemeralStorage)
	w.profileAnnotations(fld, spec, meta)
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			w.fractional(p.Child("resources", "limits"), ctr.Resources.Limits, name)
			w.fractional(p.Child("resources", "requests"), ctr.Resources.Requests, name)
		}
		w.hiddenEnv(p.Child("env"), ctr.Env)
	})
	w.ports(p, spec)
	if grace := spec.TerminationGracePeriodSeconds; grace != nil && *grace < 0 {
		w.add(p.Child("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	w.nullSelectors(p.Child("affinity"), spec.Affinity)
	if spec.DNSConfig != nil {
		for i, ns := range spec.DNSConfig.Nameservers {
			w.out = append(w.out, validation.GetWarningsForIP(p.Child("dnsConfig", "nameservers").Index(i), ns)...)
		}
	}
	for i, alias := range spec.HostAliases {
		w.out = append(w.out, validation.GetWarningsForIP(p.Child("hostAliases").Index(i).Child("ip"), alias.IP)...)
	}
	return w.out
}

// DeprecatedNodeLabels says what to use instead of labels of nodes that are going away.
var DeprecatedNodeLabels = map[string]string{
	"beta.kubernetes.io/arch":                       `deprecated since v1.14; use "kubernetes.io/arch" instead`,
	"beta.kubernetes.io/os":                         `deprecated since v1.14; use "kubernetes.io/os" instead`,
	"failure-domain.beta.kubernetes.io/region":      `deprecated since v1.17; use "topology.kubernetes.io/region" instead`,
	"failure-domain.beta.kubernetes.io/zone":        `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`,
	"beta.kubernetes.io/instance-type":              `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`,
	"app.kubernetes.io/created-by":                  `deprecated since v1.9`,
	"scheduler.alpha.kubernetes.io/preferAvoidPods": `deprecated since v1.22; use Taints and Tolerations instead`,
	"node-role.kubernetes.io/master":                `use "node-role.kubernetes.io/control-plane" instead`,
}

func (w *warner) nodeLabels(p *field.Path, spec *corev1.PodSpec) {
	for _, k := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		if msg := DeprecatedNodeLabels[k]; msg != "" {
			w.add(p.Child("nodeSelector").Key(k), "%s", msg)
		}
	}
	if spec.Affinity != nil && spec.Affinity.NodeAffinity != nil {
		n, at := spec.Affinity.NodeAffinity, p.Child("affinity", "nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			for i := range r.NodeSelectorTerms {
				w.nodeSelectorTerm(at.Child(requiredTerms, "nodeSelectorTerms").Index(i), &r.NodeSelectorTerms[i], false)
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			w.nodeSelectorTerm(at.Child(preferredTerms).Index(i).Child("preference"), &n.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference, true)
		}
	}
	for i := range spec.TopologySpreadConstraints {
		t, at := &spec.TopologySpreadConstraints[i], p.Child("topologySpreadConstraints").Index(i)
		if msg := DeprecatedNodeLabels[t.TopologyKey]; msg != "" {
			w.add(at.Child("topologyKey"), "%s is %s", t.TopologyKey, msg)
		}
		if t.LabelSelector == nil {
			w.add(at.Child("labelSelector"), nullSelector)
		}
	}
}

func (w *warner) nodeSelectorTerm(p *field.Path, t *corev1.NodeSelectorTerm, values bool) {
	for i, e := range t.MatchExpressions {
		at := p.Child("matchExpressions").Index(i)
		if msg := DeprecatedNodeLabels[e.Key]; msg != "" {
			w.add(at.Child("key"), "%s is %s", e.Key, msg)
		}
		for j, v := range e.Values {
			if !values {
				break
			}
			for _, msg := range validation.IsValidLabelValue(v) {
				w.add(at.Child("values").Index(j), "%s is invalid, %s", v, msg)
			}
		}
	}
}

const nullSelector = "a null labelSelector results in matching no pod"

func (w *warner) nullSelectors(p *field.Path, a *corev1.Affinity) {
	if a == nil {
		return
	}
	each := func(p *field.Path, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			if required[i].LabelSelector == nil {
				w.add(p.Child(requiredTerms).Index(i).Child("labelSelector"), nullSelector)
			}
		}
		for i := range preferred {
			if preferred[i].PodAffinityTerm.LabelSelector == nil {
				w.add(p.Child(preferredTerms).Index(i).Child("podAffinityTerm", "labelSelector"), nullSelector)
			}
		}
	}
	if n := a.PodAffinity; n != nil {
		each(p.Child("podAffinity"), n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if n := a.PodAntiAffinity; n != nil {
		each(p.Child("podAntiAffinity"), n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func (w *warner) deprecatedAnnotations(p *field.Path, meta *metav1.ObjectMeta) {
	for _, d := range [][2]string{
		{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
		{"security.alpha.kubernetes.io/sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
		{"security.alpha.kubernetes.io/unsafe-sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
	} {
		if _, ok := meta.Annotations[d[0]]; ok {
			w.add(p.Key(d[0]), "%s", d[1])
		}
	}
}

func (w *warner) volume(p *field.Path, v *corev1.Volume) {
	for _, d := range []struct {
		used      bool
		name, msg string
	}{
		{v.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
		{v.GitRepo != nil, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
		{v.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
		{v.Flocker != nil, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
		{v.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
		{v.Quobyte != nil, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
		{v.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
	} {
		if d.used {
			w.add(p.Child(d.name), "%s", d.msg)
		}
	}
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		w.claim(p.Child("ephemeral", "volumeClaimTemplate", "spec"), &v.Ephemeral.VolumeClaimTemplate.Spec)
	}
	if v.CephFS != nil {
		w.add(p.Child("cephfs"), "deprecated in v1.28, non-functional in v1.31+")
	}
	if v.RBD != nil {
		w.add(p.Child("rbd"), "deprecated in v1.28, non-functional in v1.31+")
	}
}

func (w *warner) fractional(p *field.Path, list corev1.ResourceList, name corev1.ResourceName) {
	if q, ok := list[name]; ok && q.MilliValue()%1000 != 0 {
		w.add(p.Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
	}
}

func (w *warner) duplicates(p *field.Path, spec *corev1.PodSpec) {
	seen := sets.Set[string]{}
	for i, alias := range spec.HostAliases {
		if seen.Has(alias.IP) {
			w.add(p.Child("hostAliases").Index(i).Child("ip"), "duplicate ip %q", alias.IP)
		}
		seen.Insert(alias.IP)
	}
	seen = sets.Set[string]{}
	for i, ref := range spec.ImagePullSecrets {
		if seen.Has(ref.Name) {
			w.add(p.Child("imagePullSecrets").Index(i).Child("name"), "duplicate name %q", ref.Name)
		}
		seen.Insert(ref.Name)
	}
	for i, ref := range spec.ImagePullSecrets {
		if ref.Name == "" {
			w.add(p.Child("imagePullSecrets").Index(i).Child("name"), "invalid empty name %q", ref.Name)
		}
	}
}

// profileAnnotations warns of seccomp and AppArmor annotations that no field stands beside. A pod's AppArmor annotations become fields.
func (w *warner) profileAnnotations(fld *field.Path, spec *corev1.PodSpec, meta *metav1.ObjectMeta) {
	if len(meta.Annotations) == 0 {
		return
	}
	const seccomp = `non-functional in v1.27+; use the "seccompProfile" field instead`
	at := fld.Child("metadata", "annotations")
	sc := spec.SecurityContext
	if sc == nil {
		sc = &corev1.PodSecurityContext{}
	}
	if _, ok := meta.Annotations[seccompAnnotation]; ok && sc.SeccompProfile == nil {
		w.add(at.Key(seccompAnnotation), seccomp)
	}
	Containers(spec, func(ctr *corev1.Container) bool {
		own := ctr.SecurityContext
		if own == nil {
			own = &corev1.SecurityContext{}
		}
		key := seccompAnnotations + ctr.Name
		if _, ok := meta.Annotations[key]; ok && own.SeccompProfile == nil {
			w.add(at.Key(key), seccomp)
		}
		key = appArmorAnnotations + ctr.Name
		value, ok := meta.Annotations[key]
		if ok && fld != nil && own.AppArmorProfile == nil &&
			(sc.AppArmorProfile == nil || !equality.Semantic.DeepEqual(sc.AppArmorProfile, appArmorOfAnnotation(value))) {
			w.add(at.Key(key), appArmorDeprecated)
		}
		return true
	})
}

const appArmorDeprecated = `deprecated since v1.30; use the "appArmorProfile" field instead`

// hiddenEnv warns of a variable that is defined twice, unless the second builds on the first.
func (w *warner) hiddenEnv(p *field.Path, env []corev1.EnvVar) {
	if len(env) < 2 {
		return
	}
	seen := sets.Set[string]{}
	for i, v := range env {
		if ref := "$(" + v.Name + ")"; seen.Has(v.Name) && (v.ValueFrom != nil || v.Value == ref || !strings.Contains(v.Value, ref)) {
			w.add(p.Index(i), "hides previous definition of %q, which may be dropped when using apply", v.Name)
		}
		seen.Insert(v.Name)
	}
}

func (w *warner) ports(p *field.Path, spec *corev1.PodSpec) {
	type placed struct {
		at   *field.Path
		port corev1.ContainerPort
	}
	all := map[string][]placed{}
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		for i, port := range ctr.Ports {
			at := p.Child("ports").Index(i)
			if port.HostIP != "" && port.HostPort == 0 {
				w.add(at, "hostIP set without hostPort: %+v", port)
			}
			key := fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol)
			for _, other := range all[key] {
				switch {
				case port.HostIP == other.port.HostIP && port.HostPort == other.port.HostPort:
					w.add(at, "duplicate port definition with %s", other.at)
				case port.HostPort == 0 || other.port.HostPort == 0:
					w.add(at, "overlapping port definition with %s", other.at)
				case port.HostPort == other.port.HostPort && (port.HostIP == "") != (other.port.HostIP == ""):
					w.add(at, "dangerously ambiguous port definition with %s", other.at)
				}
			}
			all[key] = append(all[key], placed{at, port})
		}
	})
	names := map[string]*field.Path{}
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		for i, port := range ctr.Ports {
			if port.Name == "" {
				continue
			}
			at := p.Child("ports").Index(i)
			if other := names[port.Name]; other != nil {
				w.add(at, "duplicate port name %q with %s, services and probes that select ports by name will use %s", port.Name, other, other)
			} else {
				names[port.Name] = at
			}
		}
	})
}
