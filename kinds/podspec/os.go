package podspec

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func isWindows(spec *corev1.PodSpec) bool {
	return spec.OS != nil && spec.OS.Name == corev1.Windows
}

// os checks spec.os and refuses fields of the other system.
func (c *checker) os(p *field.Path, spec *corev1.PodSpec) {
	switch {
	case spec.OS == nil:
	case spec.OS.Name == "":
		c.required(p.Child("os", "name"), "")
	case spec.OS.Name == corev1.Linux:
		const detail = "windows options cannot be set for a linux pod"
		if sc := spec.SecurityContext; sc != nil && sc.WindowsOptions != nil {
			c.forbidden(p.Child("securityContext", "windowsOptions"), detail)
		}
		containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
			if sc := ctr.SecurityContext; sc != nil && sc.WindowsOptions != nil {
				c.forbidden(p.Child("securityContext", "windowsOptions"), detail)
			}
		})
	case spec.OS.Name == corev1.Windows:
		c.windows(p, spec)
	default:
		oneOf(c, p.Child("os"), spec.OS.Name, corev1.Linux, corev1.Windows)
	}
}

// windows refuses what only Linux has.
func (c *checker) windows(p *field.Path, spec *corev1.PodSpec) {
	refuse := func(p *field.Path, set bool, names ...string) {
		if set {
			c.forbidden(p.Child(names[0], names[1:]...), "cannot be set for a windows pod")
		}
	}
	const security = "securityContext"
	sc := spec.SecurityContext
	if sc == nil {
		sc = &corev1.PodSecurityContext{}
	}
	refuse(p, sc.AppArmorProfile != nil, security, "appArmorProfile")
	refuse(p, sc.SELinuxOptions != nil, security, "seLinuxOptions")
	refuse(p, spec.HostUsers != nil, "hostUsers")
	refuse(p, spec.HostPID, "hostPID")
	refuse(p, spec.HostIPC, "hostIPC")
	refuse(p, sc.SeccompProfile != nil, security, "seccompProfile")
	refuse(p, sc.FSGroup != nil, security, "fsGroup")
	refuse(p, sc.FSGroupChangePolicy != nil, security, "fsGroupChangePolicy")
	refuse(p, len(sc.Sysctls) > 0, security, "sysctls")
	refuse(p, spec.ShareProcessNamespace != nil, "shareProcessNamespace")
	refuse(p, sc.RunAsUser != nil, security, "runAsUser")
	refuse(p, sc.RunAsGroup != nil, security, "runAsGroup")
	refuse(p, sc.SupplementalGroups != nil, security, "supplementalGroups")
	refuse(p, sc.SupplementalGroupsPolicy != nil, security, "supplementalGroupsPolicy")
	refuse(p, sc.SELinuxChangePolicy != nil, security, "seLinuxChangePolicy")
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		sc := ctr.SecurityContext
		if sc == nil {
			return
		}
		p = p.Child(security)
		refuse(p, sc.AppArmorProfile != nil, "appArmorProfile")
		refuse(p, sc.SELinuxOptions != nil, "seLinuxOptions")
		refuse(p, sc.SeccompProfile != nil, "seccompProfile")
		refuse(p, sc.Capabilities != nil, "capabilities")
		refuse(p, sc.ReadOnlyRootFilesystem != nil, "readOnlyRootFilesystem")
		refuse(p, sc.Privileged != nil, "privileged")
		refuse(p, sc.AllowPrivilegeEscalation != nil, "allowPrivilegeEscalation")
		refuse(p, sc.ProcMount != nil, "procMount")
		refuse(p, sc.RunAsUser != nil, "runAsUser")
		refuse(p, sc.RunAsGroup != nil, "runAsGroup")
	})
}

var (
	controlChars  = regexp.MustCompile(`[[:cntrl:]]+`)
	netBIOSDomain = regexp.MustCompile(`^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$`)
	dnsDomain     = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$`)
	badUserChars  = regexp.MustCompile(`["/\\:;|=,\+\*\?<>@\[\]]`)
	dotsAndSpaces = regexp.MustCompile(`^[\. ]+$`)
)

// credentialSpec is the most KiB a GMSA credential spec may have.
const credentialSpec = 64

func (c *checker) windowsOptions(p *field.Path, o *corev1.WindowsSecurityContextOptions) {
	if o == nil {
		return
	}
	if o.GMSACredentialSpecName != nil {
		c.each(p.Child("gmsaCredentialSpecName"), o.GMSACredentialSpecName, validation.IsDNS1123Subdomain(*o.GMSACredentialSpecName))
	}
	if spec := o.GMSACredentialSpec; spec != nil {
		if *spec == "" {
			c.invalid(p.Child("gmsaCredentialSpec"), spec, "gmsaCredentialSpec cannot be an empty string")
		} else if len(*spec) > credentialSpec*1024 {
			c.invalid(p.Child("gmsaCredentialSpec"), spec, fmt.Sprintf("gmsaCredentialSpec size must be under %d KiB", credentialSpec))
		}
	}
	if o.RunAsUserName != nil {
		c.windowsUser(p.Child("runAsUserName"), *o.RunAsUserName)
	}
}

// windowsUser is USER or DOMAIN\USER.
func (c *checker) windowsUser(p *field.Path, name string) {
	const domainLimit, userLimit = 256, 104
	bad := func(detail string) { c.invalid(p, name, detail) }
	switch {
	case name == "":
		bad("runAsUserName cannot be an empty string")
		return
	case controlChars.MatchString(name):
		bad("runAsUserName cannot contain control characters")
		return
	case strings.Count(name, `\`) > 1:
		bad("runAsUserName cannot contain more than one backslash")
		return
	}
	domain, user, hasDomain := strings.Cut(name, `\`)
	if !hasDomain {
		domain, user = "", name
	}
	if len(domain) >= domainLimit {
		bad(fmt.Sprintf("runAsUserName's Domain length must be under %d characters", domainLimit))
	}
	if hasDomain && !netBIOSDomain.MatchString(domain) && !dnsDomain.MatchString(domain) {
		bad("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
	}
	if user == "" {
		bad("runAsUserName's User cannot be empty")
	} else if len(user) > userLimit {
		bad(fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", userLimit))
	}
	if dotsAndSpaces.MatchString(user) {
		bad("runAsUserName's User cannot contain only periods or spaces")
	}
	if badUserChars.MatchString(user) {
		bad(`runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`)
	}
}

// hostProcess: in a Windows pod either all containers are host processes, and on the host's network, or none is.
func (c *checker) hostProcess(p *field.Path, spec *corev1.PodSpec) {
	var pod *bool
	if sc := spec.SecurityContext; sc != nil && sc.WindowsOptions != nil {
		pod = sc.WindowsOptions.HostProcess
	}
	all, host := 0, 0
	containersAt(spec, p, func(ctr *corev1.Container, p *field.Path) {
		all++
		own := pod
		if sc := ctr.SecurityContext; sc != nil && sc.WindowsOptions != nil && sc.WindowsOptions.HostProcess != nil {
			own = sc.WindowsOptions.HostProcess
			if pod != nil && *pod != *own {
				c.invalid(p.Child("securityContext", "windowsOptions", "hostProcess"), *own, fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *pod))
			}
		}
		if own != nil && *own {
			host++
		}
	})
	if host == 0 {
		return
	}
	if host != all {
		c.invalid(p, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers")
	}
	if !spec.HostNetwork {
		c.invalid(p.Child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers")
	}
}
