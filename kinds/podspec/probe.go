package podspec

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// lifecycleAndProbes checks what only main containers and sidecars have.
func (c *checker) lifecycleAndProbes(p *field.Path, ctr *corev1.Container, spec *corev1.PodSpec) {
	grace := spec.TerminationGracePeriodSeconds
	if l := ctr.Lifecycle; l != nil {
		at := p.Child("lifecycle")
		if l.PostStart != nil {
			c.handler(at.Child("postStart"), l.PostStart.Exec, l.PostStart.HTTPGet, l.PostStart.TCPSocket, nil, l.PostStart.Sleep, grace)
		}
		if l.PreStop != nil {
			c.handler(at.Child("preStop"), l.PreStop.Exec, l.PreStop.HTTPGet, l.PreStop.TCPSocket, nil, l.PreStop.Sleep, grace)
		}
		if l.StopSignal != nil {
			c.stopSignal(at.Child("stopSignal"), *l.StopSignal, spec.OS)
		}
	}
	if probe := ctr.LivenessProbe; probe != nil {
		c.probe(p.Child("livenessProbe"), probe)
		c.once(p.Child("livenessProbe"), probe)
	}
	if probe := ctr.ReadinessProbe; probe != nil {
		at := p.Child("readinessProbe")
		c.probe(at, probe)
		if probe.TerminationGracePeriodSeconds != nil {
			c.invalid(at.Child("terminationGracePeriodSeconds"), probe.TerminationGracePeriodSeconds, "must not be set for readinessProbes")
		}
	}
	if probe := ctr.StartupProbe; probe != nil {
		c.probe(p.Child("startupProbe"), probe)
		c.once(p.Child("startupProbe"), probe)
	}
}

func (c *checker) once(p *field.Path, probe *corev1.Probe) {
	if probe.SuccessThreshold != 1 {
		c.invalid(p.Child("successThreshold"), probe.SuccessThreshold, "must be 1")
	}
}

func (c *checker) probe(p *field.Path, probe *corev1.Probe) {
	c.handler(p, probe.Exec, probe.HTTPGet, probe.TCPSocket, probe.GRPC, nil, nil)
	c.nonNegative(p.Child("initialDelaySeconds"), int64(probe.InitialDelaySeconds))
	c.nonNegative(p.Child("timeoutSeconds"), int64(probe.TimeoutSeconds))
	c.nonNegative(p.Child("periodSeconds"), int64(probe.PeriodSeconds))
	c.nonNegative(p.Child("successThreshold"), int64(probe.SuccessThreshold))
	c.nonNegative(p.Child("failureThreshold"), int64(probe.FailureThreshold))
	if grace := probe.TerminationGracePeriodSeconds; grace != nil && *grace <= 0 {
		c.invalid(p.Child("terminationGracePeriodSeconds"), *grace, "must be greater than 0")
	}
}

// handler checks the action of a probe or hook: exactly one.
func (c *checker) handler(p *field.Path, exec *corev1.ExecAction, get *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction, grpc *corev1.GRPCAction,
	sleep *corev1.SleepAction, grace *int64) {
	n := 0
	first := func(at *field.Path) bool {
		if n++; n > 1 {
			c.forbidden(at, "may not specify more than 1 handler type")
		}
		return n == 1
	}
	if exec != nil && first(p.Child("exec")) && len(exec.Command) == 0 {
		c.required(p.Child("exec", "command"), "")
	}
	if get != nil && first(p.Child("httpGet")) {
		c.httpGet(p.Child("httpGet"), get)
	}
	if tcp != nil && first(p.Child("tcpSocket")) {
		c.portNumberOrName(p.Child("tcpSocket", "port"), tcp.Port)
	}
	if grpc != nil && first(p.Child("grpc")) {
		c.portNumberOrName(p.Child("grpc", "port"), intstr.FromInt32(grpc.Port))
	}
	// No grace period at all is reported elsewhere.
	if sleep != nil && first(p.Child("sleep")) && grace != nil && (sleep.Seconds < 0 || sleep.Seconds > *grace) {
		c.invalid(p.Child("sleep"), sleep.Seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))
	}
	if n == 0 {
		c.required(p, "must specify a handler type")
	}
}

func (c *checker) httpGet(p *field.Path, get *corev1.HTTPGetAction) {
	c.notEmpty(p.Child("path"), get.Path)
	c.portNumberOrName(p.Child("port"), get.Port)
	oneOf(c, p.Child("scheme"), get.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	for _, h := range get.HTTPHeaders {
		c.each(p.Child("httpHeaders"), h.Name, validation.IsHTTPHeaderName(h.Name))
	}
}

var stopSignals = func() []corev1.Signal {
	names := []corev1.Signal{"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT",
		"SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN",
		"SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX"}
	for i := 1; i <= 15; i++ {
		names = append(names, corev1.Signal(fmt.Sprintf("SIGRTMIN+%d", i)))
	}
	for i := 1; i <= 14; i++ {
		names = append(names, corev1.Signal(fmt.Sprintf("SIGRTMAX-%d", i)))
	}
	slices.Sort(names)
	return names
}()

func (c *checker) stopSignal(p *field.Path, signal corev1.Signal, os *corev1.PodOS) {
	switch {
	case os == nil:
		c.forbidden(p, "may not be set for containers with empty `spec.os.name`")
	case os.Name == corev1.Windows:
		oneOf(c, p, signal, corev1.SIGKILL, corev1.SIGTERM)
	case os.Name == corev1.Linux:
		oneOf(c, p, signal, stopSignals...)
	}
}
