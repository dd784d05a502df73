// Package plan decides what a node does next for one pod, and what it says about it.
//
// Both are pure functions of a [State]: the pod as the API last gave it, what the container runtime reports, results of probes, operations under
// way, and the time. [Next] returns the actions that are due now and when to look again; [Status] returns the pod's status. Neither reads a clock
// nor a file, so that every path is a line in a table. The pod worker (package kubelet) executes actions, each in its own goroutine, and asks
// again whenever something has changed.
//
// # Guarantees
//
//   - An action is never returned twice while its operation is under way ([State].Busy), except a kill whose grace period has become shorter.
//   - A regular container is not started before all init containers succeeded and all sidecars have started.
//   - Sidecars end after the regular containers, in reverse order.
//   - A phase that is terminal stays.
package plan

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// State is all that a decision may depend on.
type State struct {
	Pod *corev1.Pod
	Now time.Time
	// Gone: the API has no such pod any more.
	Gone bool
	// Stop is set once the node itself ends the pod (deadline, eviction, refused admission). It is never unset.
	Stop *Stop
	// TerminatingSince is when the worker first saw that the pod has to end; zero before.
	TerminatingSince time.Time

	Sandboxes  []Sandbox   // newest first
	Containers []Container // newest first
	// Volumes are mounted.
	Volumes bool
	// CleanedUp: volumes are unmounted and the pod's cgroup and directories are gone, after the pod has ended.
	CleanedUp bool
	// Images holds, by container name, an image that was ensured for the next start of the container.
	Images map[string]Image
	// Busy holds the operations under way, by [Action.Key].
	Busy map[string]Busy
	// Failed holds, by [Action.Key], the last failure of an operation and when it may be tried again.
	Failed map[string]Failure
	// Probes holds results by container ID.
	Probes map[string]Probes
	// Backoff holds, by container name, how long restarts wait.
	Backoff map[string]Backoff
	// Last is the status that was last made: the base of transitions (conditions, last states). Nil: the one in Pod.
	Last *corev1.PodStatus

	HostIPs []string
	// Tolerant of a runtime without pod addresses (tests, hollow nodes): a sandbox is good without an address.
	NoNetwork bool
}

// Stop says why the node itself ends a pod; Phase is always Failed.
type Stop struct {
	Reason, Message string
	Grace           *int64
	// Condition is added to the status (DisruptionTarget), may be nil.
	Condition *corev1.PodCondition
	// Rejected: the pod never ran here, containers get no status.
	Rejected bool
}

// Sandbox is a pod sandbox in the runtime.
type Sandbox struct {
	ID        string
	Attempt   uint32
	Ready     bool
	CreatedAt time.Time
	IPs       []string
	HostNet   bool
}

// Phase of a container in the runtime.
type Phase uint8

const (
	Created Phase = iota
	Running
	Exited
	Unknown
)

func (p Phase) String() string { return [...]string{"created", "running", "exited", "unknown"}[p] }

// Container is a container in the runtime.
type Container struct {
	ID, Name, SandboxID string
	Attempt             uint32
	Phase               Phase
	Hash                string
	Image, ImageID      string
	CreatedAt           time.Time
	StartedAt           time.Time
	FinishedAt          time.Time
	ExitCode            int32
	Reason, Message     string
	User                *corev1.ContainerUser
}

// Image is an image ready for use.
type Image struct{ Ref string }

// Busy is an operation under way.
type Busy struct {
	Grace int64 // of a kill, seconds
	Since time.Time
}

// Failure is the last failure of an operation.
type Failure struct {
	Reason, Message string
	Retry           time.Time
}

// Probes are the results for one container that runs.
type Probes struct {
	// Started: the startup probe has succeeded, or there is none, and the postStart hook is done.
	Started bool
	Ready   bool
	// Unhealthy is why the container must be restarted ("liveness", "startup"), or empty.
	Unhealthy string
}

// Backoff is how long restarts of a container wait.
type Backoff struct {
	Delay time.Duration
	At    time.Time // when Delay was set
}

// Limits of the restart backoff, as upstream.
const (
	BackoffFirst = 10 * time.Second
	BackoffMax   = 5 * time.Minute
	BackoffReset = 10 * time.Minute
)

// Until is the time before which a container that finished then may not be restarted.
func (b Backoff) Until(finished time.Time) time.Time {
	if b.Delay == 0 || finished.Sub(b.At) > BackoffReset {
		return time.Time{}
	}
	return finished.Add(b.Delay)
}

// Next is the backoff after one more restart.
func (b Backoff) Next(finished, now time.Time) Backoff {
	if b.Delay == 0 || finished.Sub(b.At) > BackoffReset {
		return Backoff{Delay: BackoffFirst, At: now}
	}
	return Backoff{Delay: min(2*b.Delay, BackoffMax), At: now}
}

// Hash names what of a container's spec means a restart when it changes: name and image, as upstream.
func Hash(c *corev1.Container) string {
	b, _ := json.Marshal(map[string]string{"name": c.Name, "image": c.Image})
	h := fnv.New32a()
	h.Write(b)
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// FullName is how messages name a pod: name_namespace(uid).
func FullName(p *corev1.Pod) string { return fmt.Sprintf("%s_%s(%s)", p.Name, p.Namespace, p.UID) }

// Sidecar reports a restartable init container.
func Sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Restarts reports whether a regular or init container that exited with the code is to be started again.
// Rules of the container come first, then its policy, then the pod's (KEP-5307).
func Restarts(spec *corev1.PodSpec, c *corev1.Container, code int32) bool {
	for _, r := range c.RestartPolicyRules {
		if r.ExitCodes == nil {
			continue
		}
		in := false
		for _, v := range r.ExitCodes.Values {
			in = in || v == code
		}
		if in == (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
			return true
		}
	}
	if c.RestartPolicy != nil {
		switch *c.RestartPolicy {
		case corev1.ContainerRestartPolicyAlways:
			return true
		case corev1.ContainerRestartPolicyOnFailure:
			return code != 0
		case corev1.ContainerRestartPolicyNever:
			return false
		}
	}
	switch spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// Newest returns the newest container of a name, or nil.
func (s *State) Newest(name string) *Container {
	for i := range s.Containers {
		if s.Containers[i].Name == name {
			return &s.Containers[i]
		}
	}
	return nil
}

// Previous returns the container before the newest of a name, or nil.
func (s *State) Previous(name string) *Container {
	seen := false
	for i := range s.Containers {
		if s.Containers[i].Name == name {
			if seen {
				return &s.Containers[i]
			}
			seen = true
		}
	}
	return nil
}

// Sandbox returns the newest sandbox if containers can run in it, or nil.
func (s *State) Sandbox() *Sandbox {
	if len(s.Sandboxes) == 0 {
		return nil
	}
	b := &s.Sandboxes[0]
	if !b.Ready || b.HostNet != s.Pod.Spec.HostNetwork || (!b.HostNet && len(b.IPs) == 0 && !s.NoNetwork) {
		return nil
	}
	return b
}

func (s *State) base() *corev1.PodStatus {
	if s.Last != nil {
		return s.Last
	}
	return &s.Pod.Status
}

func findStatus(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// Terminating reports that the pod has to end, whatever the reason.
func (s *State) Terminating() bool {
	return s.Gone || s.Stop != nil || s.Pod.DeletionTimestamp != nil || s.Finished() || s.Over()
}

// Finished reports a terminal phase.
func (s *State) Finished() bool {
	p := s.base().Phase
	return p == corev1.PodSucceeded || p == corev1.PodFailed || s.Pod.Status.Phase == corev1.PodSucceeded || s.Pod.Status.Phase == corev1.PodFailed
}

// Ended reports that nothing of the pod runs, and no operation is under way.
func (s *State) Ended() bool {
	for i := range s.Containers {
		if s.Containers[i].Phase == Running {
			return false
		}
	}
	for _, b := range s.Sandboxes {
		if b.Ready {
			return false
		}
	}
	return len(s.Busy) == 0
}
