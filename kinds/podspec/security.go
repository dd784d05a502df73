package podspec

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/node/util/sysctl"
)

// podSecurity checks the pod's security context.
func (c *checker) podSecurity(p *field.Path, spec *corev1.PodSpec) {
	sc := spec.SecurityContext
	if sc == nil {
		// Upstream keeps shareProcessNamespace in the security context, which is never nil once defaults are set.
		sc = &corev1.PodSecurityContext{}
	}
	c.group(p.Child("fsGroup"), sc.FSGroup)
	c.user(p.Child("runAsUser"), sc.RunAsUser)
	c.group(p.Child("runAsGroup"), sc.RunAsGroup)
	for i := range sc.SupplementalGroups {
		c.group(p.Child("supplementalGroups").Index(i), &sc.SupplementalGroups[i])
	}
	if spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace && spec.HostPID {
		c.invalid(p.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled")
	}
	c.sysctls(p.Child("sysctls"), spec)
	if sc.FSGroupChangePolicy != nil {
		oneOf(c, p.Child("fsGroupChangePolicy"), *sc.FSGroupChangePolicy, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)
	}
	c.seccomp(p.Child("seccompProfile"), sc.SeccompProfile)
	c.windowsOptions(p.Child("windowsOptions"), sc.WindowsOptions)
	c.appArmor(p.Child("appArmorProfile"), sc.AppArmorProfile)
	if sc.SupplementalGroupsPolicy != nil {
		oneOf(c, p.Child("supplementalGroupsPolicy"), *sc.SupplementalGroupsPolicy, corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)
	}
	if sc.SELinuxChangePolicy != nil {
		// MountOption is behind SELinuxMount, which is off.
		if c.anySELinuxChangePolicy {
			oneOf(c, p.Child("seLinuxChangePolicy"), *sc.SELinuxChangePolicy, corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)
		} else {
			oneOf(c, p.Child("seLinuxChangePolicy"), *sc.SELinuxChangePolicy, corev1.SELinuxChangePolicyRecursive)
		}
	}
}

func (c *checker) user(p *field.Path, id *int64) {
	if id != nil {
		c.each(p, *id, validation.IsValidUserID(*id))
	}
}

func (c *checker) group(p *field.Path, id *int64) {
	if id != nil {
		c.each(p, *id, validation.IsValidGroupID(*id))
	}
}

// containerSecurity checks one container's security context. Unmasked /proc is safe only in a user namespace.
func (c *checker) containerSecurity(p *field.Path, sc *corev1.SecurityContext, ownUsers bool) {
	if sc == nil {
		return
	}
	c.user(p.Child("runAsUser"), sc.RunAsUser)
	c.group(p.Child("runAsGroup"), sc.RunAsGroup)
	if sc.ProcMount != nil {
		oneOf(c, p.Child("procMount"), *sc.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
		if *sc.ProcMount == corev1.UnmaskedProcMount && !ownUsers {
			c.invalid(p.Child("procMount"), sc.ProcMount, "`hostUsers` must be false to use `Unmasked`")
		}
	}
	c.seccomp(p.Child("seccompProfile"), sc.SeccompProfile)
	if sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation {
		if sc.Privileged != nil && *sc.Privileged {
			c.invalid(p, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
		}
		if sc.Capabilities != nil {
			for _, capability := range sc.Capabilities.Add {
				if capability == "CAP_SYS_ADMIN" {
					c.invalid(p, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
				}
			}
		}
	}
	c.windowsOptions(p.Child("windowsOptions"), sc.WindowsOptions)
	c.appArmor(p.Child("appArmorProfile"), sc.AppArmorProfile)
}

func (c *checker) seccomp(p *field.Path, s *corev1.SeccompProfile) {
	if s == nil {
		return
	}
	if s.Type == "" {
		c.required(p.Child("type"), "type is required when seccompProfile is set")
	} else {
		oneOf(c, p.Child("type"), s.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	}
	at := p.Child("localhostProfile")
	switch {
	case s.Type != corev1.SeccompProfileTypeLocalhost:
		if s.LocalhostProfile != nil {
			c.invalid(at, s, "can only be set when seccomp type is Localhost")
		}
	case s.LocalhostProfile == nil:
		c.required(at, "must be set when seccomp type is Localhost")
	default:
		c.descendingPath(at, *s.LocalhostProfile)
	}
}

func (c *checker) appArmor(p *field.Path, s *corev1.AppArmorProfile) {
	if s == nil {
		return
	}
	at := p.Child("localhostProfile")
	switch s.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		const set, longest = "must be set when AppArmor type is Localhost", 4095
		switch {
		case s.LocalhostProfile == nil:
			c.required(at, set)
		case strings.TrimSpace(*s.LocalhostProfile) != *s.LocalhostProfile:
			c.invalid(at, *s.LocalhostProfile, "must not be padded with whitespace")
		case *s.LocalhostProfile == "":
			c.required(at, set)
		}
		if s.LocalhostProfile != nil && len(*s.LocalhostProfile) > longest {
			c.tooLong(at, longest)
		}
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if s.LocalhostProfile != nil {
			c.invalid(at, s.LocalhostProfile, "can only be set when AppArmor type is Localhost")
		}
	case "":
		c.required(p.Child("type"), "type is required when appArmorProfile is set")
	default:
		oneOf(c, p.Child("type"), s.Type, corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	}
}

// sysctlName is a sysctl's name with dots or slashes.
var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func (c *checker) sysctls(p *field.Path, spec *corev1.PodSpec) {
	if spec.SecurityContext == nil {
		return
	}
	const longest = 253
	seen := sets.Set[string]{}
	for i, s := range spec.SecurityContext.Sysctls {
		at := p.Index(i).Child("name")
		switch {
		case s.Name == "":
			c.required(at, "")
		case len(s.Name) > longest || !sysctlName.MatchString(s.Name):
			c.invalid(at, s.Name, fmt.Sprintf("must have at most %d characters and match regex %s", longest, sysctlName))
		case seen.Has(s.Name):
			c.duplicate(at, s.Name)
		}
		if detail := hostSysctl(s.Name, spec); detail != "" && !c.hostSysctls {
			c.invalid(at, s.Name, detail)
		}
		seen.Insert(s.Name)
	}
}

// hostSysctl says why a sysctl may not be set: it would be the host's.
func hostSysctl(name string, spec *corev1.PodSpec) string {
	ns, _, _ := sysctl.GetNamespace(name)
	switch {
	case spec.HostNetwork && ns == sysctl.NetNamespace:
		return "may not be specified when 'hostNetwork' is true"
	case spec.HostIPC && ns == sysctl.IPCNamespace:
		return "may not be specified when 'hostIPC' is true"
	}
	return ""
}

// hostUsers checks what a user namespace of the pod's own rules out.
func (c *checker) hostUsers(p *field.Path, spec *corev1.PodSpec) {
	if !ownUsers(spec) {
		return
	}
	const detail = "when `hostUsers` is false"
	if spec.HostNetwork && !c.ownUsersHostNetwork {
		c.forbidden(p.Child("hostNetwork"), detail)
	}
	if spec.HostPID {
		c.forbidden(p.Child("HostPID"), detail)
	}
	if spec.HostIPC {
		c.forbidden(p.Child("HostIPC"), detail)
	}
	if c.ownUsersDevices {
		return
	}
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		if len(ctr.VolumeDevices) > 0 {
			c.forbidden(p.Child("volumeDevices"), detail)
		}
	})
}
