package podspec

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// scope is what the containers of one pod share.
type scope struct {
	spec    *corev1.PodSpec
	volumes map[string]*corev1.VolumeSource // the valid ones, by name
	claims  sets.Set[string]
}

// containers checks the main containers.
func (c *checker) containers(p *field.Path, s *scope) {
	spec := s.spec
	if len(spec.Containers) == 0 {
		c.required(p, "")
		return
	}
	names := sets.Set[string]{}
	for i := range spec.Containers {
		ctr, at := &spec.Containers[i], p.Index(i)
		c.container(at, ctr, s)
		if names.Has(ctr.Name) {
			c.duplicate(at.Child("name"), ctr.Name)
		}
		names.Insert(ctr.Name)
		c.lifecycleAndProbes(at, ctr, spec)
		c.restartRules(at, ctr.RestartPolicy, ctr.RestartPolicyRules)
	}
	c.hostPorts(p, spec.Containers)
}

// initContainers checks init containers and sidecars. Names are unique among these and the main containers.
func (c *checker) initContainers(p *field.Path, s *scope) {
	spec := s.spec
	if len(spec.InitContainers) == 0 {
		return
	}
	names := sets.Set[string]{}
	for i := range spec.Containers {
		names.Insert(spec.Containers[i].Name)
	}
	for i := range spec.InitContainers {
		ctr, at := &spec.InitContainers[i], p.Index(i)
		c.container(at, ctr, s)
		if ctr.RestartPolicy != nil {
			c.restartRules(at, ctr.RestartPolicy, ctr.RestartPolicyRules)
		} else if len(ctr.RestartPolicyRules) > 0 {
			c.required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
		}
		if names.Has(ctr.Name) {
			c.duplicate(at.Child("name"), ctr.Name)
		} else if ctr.Name != "" {
			names.Insert(ctr.Name)
		}
		// Init containers run one after the other: ports conflict only within one.
		c.hostPorts(p, spec.InitContainers[i:i+1])
		if IsSidecar(ctr) {
			c.lifecycleAndProbes(at, ctr, spec)
			continue
		}
		const only = "may not be set for init containers without restartPolicy=Always"
		if ctr.Lifecycle != nil {
			c.forbidden(at.Child("lifecycle"), only)
		}
		if ctr.LivenessProbe != nil {
			c.forbidden(at.Child("livenessProbe"), only)
		}
		if ctr.ReadinessProbe != nil {
			c.forbidden(at.Child("readinessProbe"), only)
		}
		if ctr.StartupProbe != nil {
			c.forbidden(at.Child("startupProbe"), only)
		}
		for j, policy := range ctr.ResizePolicy {
			if policy.RestartPolicy == corev1.RestartContainer && !c.initResizeRestart {
				c.invalid(at.Child("resizePolicy").Index(j).Child("restartPolicy"), policy.RestartPolicy, "must not be set to 'RestartContainer' for non-sidecar initContainers")
			}
		}
	}
}

// ephemeralFields are the fields of a container that an ephemeral one may set.
var ephemeralFields = sets.New("Name", "Image", "Command", "Args", "WorkingDir", "EnvFrom", "Env", "VolumeMounts", "VolumeDevices", "TerminationMessagePath",
	"TerminationMessagePolicy", "ImagePullPolicy", "SecurityContext", "Stdin", "StdinOnce", "TTY")

func (c *checker) ephemeralContainers(p *field.Path, s *scope) {
	spec := s.spec
	if len(spec.EphemeralContainers) == 0 {
		return
	}
	others, names := sets.Set[string]{}, sets.Set[string]{}
	for i := range spec.Containers {
		others.Insert(spec.Containers[i].Name)
	}
	for i := range spec.InitContainers {
		others.Insert(spec.InitContainers[i].Name)
	}
	const cannot = "cannot be set for an Ephemeral Container"
	for i := range spec.EphemeralContainers {
		ec, at := &spec.EphemeralContainers[i], p.Index(i)
		ctr := (*corev1.Container)(&ec.EphemeralContainerCommon)
		c.container(at, ctr, s)
		c.imageWithoutSpace(at, ctr)
		if others.Has(ec.Name) || names.Has(ec.Name) {
			c.duplicate(at.Child("name"), ec.Name)
		}
		names.Insert(ec.Name)
		if ec.TargetContainerName != "" && !others.Has(ec.TargetContainerName) {
			c.notFound(at.Child("targetContainerName"), ec.TargetContainerName)
		}
		c.onlyFields(at, ec.EphemeralContainerCommon, ephemeralFields, cannot)
		// A subPath is a bind mount that is cleaned up only with the pod.
		for j, m := range ec.VolumeMounts {
			if m.SubPath != "" {
				c.forbidden(at.Child("volumeMounts").Index(j).Child("subPath"), cannot)
			}
			if m.SubPathExpr != "" {
				c.forbidden(at.Child("volumeMounts").Index(j).Child("subPathExpr"), cannot)
			}
		}
	}
}

// onlyFields refuses every set field of a struct that is not allowed, so that new fields are refused until somebody thinks about them.
func (c *checker) onlyFields(p *field.Path, value any, allowed sets.Set[string], detail string) {
	v := reflect.ValueOf(value)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if allowed.Has(name) || v.Field(i).IsZero() {
			continue
		}
		r, n := utf8.DecodeRuneInString(name)
		c.forbidden(p.Child(string(unicode.ToLower(r))+name[n:]), detail)
	}
}

// container checks what is common to all three kinds.
func (c *checker) container(p *field.Path, ctr *corev1.Container, s *scope) {
	c.requiredDNSLabel(p.Child("name"), ctr.Name)
	c.notEmpty(p.Child("image"), ctr.Image)
	setOneOf(c, p.Child("terminationMessagePolicy"), ctr.TerminationMessagePolicy, corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)
	c.ports(p.Child("ports"), ctr.Ports)
	c.env(p.Child("env"), ctr.Env)
	c.envFrom(p.Child("envFrom"), ctr.EnvFrom)
	c.mounts(p.Child("volumeMounts"), ctr, s.volumes)
	c.devices(p.Child("volumeDevices"), ctr, s.volumes)
	c.pullPolicy(p.Child("imagePullPolicy"), ctr.ImagePullPolicy)
	c.requirements(p.Child("resources"), &ctr.Resources, c.containerResourceName, s.claims)
	c.resizePolicy(p.Child("resizePolicy"), ctr.ResizePolicy, s.spec.RestartPolicy)
	c.containerSecurity(p.Child("securityContext"), ctr.SecurityContext, ownUsers(s.spec))
}

func (c *checker) pullPolicy(p *field.Path, policy corev1.PullPolicy) {
	setOneOf(c, p, policy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

// imageWithoutSpace holds for pods only: templates have always been let off.
func (c *checker) imageWithoutSpace(p *field.Path, ctr *corev1.Container) {
	if strings.TrimSpace(ctr.Image) != ctr.Image {
		c.invalid(p.Child("image"), ctr.Image, "must not have leading or trailing whitespace")
	}
}

func (c *checker) ports(p *field.Path, ports []corev1.ContainerPort) {
	names := sets.Set[string]{}
	for i := range ports {
		port, at := &ports[i], p.Index(i)
		if port.Name != "" {
			if details := validation.IsValidPortName(port.Name); len(details) > 0 {
				c.each(at.Child("name"), port.Name, details)
			} else if names.Has(port.Name) {
				c.duplicate(at.Child("name"), port.Name)
			} else {
				names.Insert(port.Name)
			}
		}
		if port.ContainerPort == 0 {
			c.required(at.Child("containerPort"), "")
		} else {
			c.portNumber(at.Child("containerPort"), port.ContainerPort)
		}
		if port.HostPort != 0 {
			c.portNumber(at.Child("hostPort"), port.HostPort)
		}
		setOneOf(c, at.Child("protocol"), port.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
	}
}

// hostPorts refuses two ports of these containers on one port of the host.
func (c *checker) hostPorts(p *field.Path, containers []corev1.Container) {
	seen := sets.Set[string]{}
	for i := range containers {
		for j := range containers[i].Ports {
			port := &containers[i].Ports[j]
			if port.HostPort == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
			if seen.Has(key) {
				c.duplicate(p.Index(i).Child("ports").Index(j).Child("hostPort"), key)
			}
			seen.Insert(key)
		}
	}
}

func (c *checker) resizePolicy(p *field.Path, policies []corev1.ContainerResizePolicy, restart corev1.RestartPolicy) {
	seen := sets.Set[corev1.ResourceName]{}
	for i, policy := range policies {
		if seen.Has(policy.ResourceName) {
			c.duplicate(p.Index(i), policy.ResourceName)
		}
		seen.Insert(policy.ResourceName)
		setOneOf(c, p, policy.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		setOneOf(c, p, policy.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)
		if restart == corev1.RestartPolicyNever && policy.RestartPolicy != corev1.NotRequired {
			c.invalid(p, policy.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")
		}
	}
}

// restartRules checks a container's own restart policy and its rules by exit code (KEP-5307).
func (c *checker) restartRules(p *field.Path, policy *corev1.ContainerRestartPolicy, rules []corev1.ContainerRestartRule) {
	if policy != nil {
		oneOf(c, p.Child("restartPolicy"), *policy, corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	} else if len(rules) > 0 {
		c.required(p.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
	}
	p = p.Child("restartPolicyRules")
	if len(rules) > 20 {
		c.errs = append(c.errs, field.TooMany(p, len(rules), 20))
	}
	for i, rule := range rules {
		at := p.Index(i)
		oneOf(c, at.Child("action"), rule.Action, corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
		if rule.ExitCodes == nil {
			c.required(at.Child("exitCodes"), "must be specified")
			continue
		}
		oneOf(c, at.Child("exitCodes", "operator"), rule.ExitCodes.Operator, corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)
		if n := len(rule.ExitCodes.Values); n > 255 {
			c.errs = append(c.errs, field.TooMany(at.Child("exitCodes", "values"), n, 255))
		}
	}
}
