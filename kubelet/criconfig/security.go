package criconfig

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/plan"
)

var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// User is what the image says about its user.
type User struct {
	UID  *int64
	Name string
}

// effective is a container's security context with what it leaves open taken from the pod's.
func effective(pod *corev1.Pod, c *corev1.Container) corev1.SecurityContext {
	var e corev1.SecurityContext
	if c.SecurityContext != nil {
		e = *c.SecurityContext
	}
	p := pod.Spec.SecurityContext
	if p == nil {
		return e
	}
	if e.RunAsUser == nil {
		e.RunAsUser = p.RunAsUser
	}
	if e.RunAsGroup == nil {
		e.RunAsGroup = p.RunAsGroup
	}
	if e.RunAsNonRoot == nil {
		e.RunAsNonRoot = p.RunAsNonRoot
	}
	if e.SELinuxOptions == nil {
		e.SELinuxOptions = p.SELinuxOptions
	}
	if e.SeccompProfile == nil {
		e.SeccompProfile = p.SeccompProfile
	}
	return e
}

// checkNonRoot enforces runAsNonRoot.
func checkNonRoot(pod *corev1.Pod, c *corev1.Container, e *corev1.SecurityContext, user User) error {
	if e.RunAsNonRoot == nil || !*e.RunAsNonRoot {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", plan.FullName(pod), c.Name)
	switch {
	case e.RunAsUser != nil:
		if *e.RunAsUser == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
		}
	case user.UID != nil && *user.UID == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case user.UID == nil && user.Name != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", user.Name, where)
	}
	return nil
}

// HostFacts tell what the machine can do.
type HostFacts struct {
	AppArmor       bool
	SeccompDefault bool
	SeccompRoot    string // where Localhost profiles are
	Memory         int64  // bytes
}

func seccomp(p *corev1.SeccompProfile, h HostFacts) (*runtimeapi.SecurityProfile, error) {
	if p == nil {
		if h.SeccompDefault {
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	}
	switch p.Type {
	case corev1.SeccompProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
	case corev1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, fmt.Errorf("localhostProfile must be set if seccompProfile type is Localhost.")
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(h.SeccompRoot, filepath.Clean("/"+*p.LocalhostProfile))}, nil
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
}

// appArmor returns the profile in both of CRI's forms, or nothing where the host has no AppArmor and none is demanded.
func appArmor(pod *corev1.Pod, c *corev1.Container, h HostFacts) (*runtimeapi.SecurityProfile, string, error) {
	var p *corev1.AppArmorProfile
	if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		p = c.SecurityContext.AppArmorProfile
	} else if pod.Spec.SecurityContext != nil {
		p = pod.Spec.SecurityContext.AppArmorProfile
	}
	if p == nil || !h.AppArmor {
		return nil, "", nil
	}
	switch p.Type {
	case corev1.AppArmorProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, "runtime/default", nil
	case corev1.AppArmorProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, "unconfined", nil
	case corev1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile == nil {
			return nil, "", fmt.Errorf("missing localhost apparmor profile name")
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}, "localhost/" + *p.LocalhostProfile, nil
	}
	return nil, "", fmt.Errorf("unsupported AppArmor profile type: %v", p.Type)
}

func int64Value(v *int64) *runtimeapi.Int64Value {
	if v == nil {
		return nil
	}
	return &runtimeapi.Int64Value{Value: *v}
}

func selinux(o *corev1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

// namespaces says which namespaces the pod shares with the host or among its containers.
func namespaces(pod *corev1.Pod, userns *runtimeapi.UserNamespace) *runtimeapi.NamespaceOption {
	n := &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: userns}
	if pod.Spec.HostNetwork {
		n.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		n.Ipc = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostPID {
		n.Pid = runtimeapi.NamespaceMode_NODE
	} else if pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace {
		n.Pid = runtimeapi.NamespaceMode_POD
	}
	return n
}

func groups(pod *corev1.Pod) (list []int64, policy runtimeapi.SupplementalGroupsPolicy) {
	sc := pod.Spec.SecurityContext
	if sc == nil {
		return
	}
	if sc.FSGroup != nil {
		list = append(list, *sc.FSGroup)
	}
	list = append(list, sc.SupplementalGroups...)
	if sc.SupplementalGroupsPolicy != nil {
		policy = runtimeapi.SupplementalGroupsPolicy(runtimeapi.SupplementalGroupsPolicy_value[string(*sc.SupplementalGroupsPolicy)])
	}
	return
}

func containerSecurity(pod *corev1.Pod, c *corev1.Container, user User, h HostFacts, userns *runtimeapi.UserNamespace) (*runtimeapi.LinuxContainerSecurityContext, error) {
	e := effective(pod, c)
	if err := checkNonRoot(pod, c, &e, user); err != nil {
		return nil, err
	}
	sc := &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions: namespaces(pod, userns), SelinuxOptions: selinux(e.SELinuxOptions),
		RunAsUser: int64Value(e.RunAsUser), RunAsGroup: int64Value(e.RunAsGroup),
		Privileged:     e.Privileged != nil && *e.Privileged,
		ReadonlyRootfs: e.ReadOnlyRootFilesystem != nil && *e.ReadOnlyRootFilesystem,
		NoNewPrivs:     e.AllowPrivilegeEscalation != nil && !*e.AllowPrivilegeEscalation,
	}
	if sc.RunAsUser == nil {
		sc.RunAsUser = int64Value(user.UID)
		if user.UID == nil {
			sc.RunAsUsername = user.Name
		}
	}
	if caps := e.Capabilities; caps != nil {
		sc.Capabilities = &runtimeapi.Capability{}
		for _, v := range caps.Add {
			sc.Capabilities.AddCapabilities = append(sc.Capabilities.AddCapabilities, string(v))
		}
		for _, v := range caps.Drop {
			sc.Capabilities.DropCapabilities = append(sc.Capabilities.DropCapabilities, string(v))
		}
	}
	if e.ProcMount == nil || *e.ProcMount != corev1.UnmaskedProcMount {
		sc.MaskedPaths, sc.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	var err error
	if sc.Seccomp, err = seccomp(e.SeccompProfile, h); err != nil {
		return nil, err
	}
	if sc.Apparmor, sc.ApparmorProfile, err = appArmor(pod, c, h); err != nil { //nolint:staticcheck // older runtimes read the old field
		return nil, err
	}
	sc.SupplementalGroups, sc.SupplementalGroupsPolicy = groups(pod)
	return sc, nil
}
