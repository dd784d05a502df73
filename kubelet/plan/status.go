package plan

import (
	"fmt"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	lost       = "ContainerStatusUnknown"
	lostText   = "The container could not be located when the pod was terminated"
	crashLoop  = "CrashLoopBackOff"
	initState  = "PodInitializing"
	createOne  = "ContainerCreating"
	containerd = "containerd"
)

// second drops what an API timestamp cannot hold.
func second(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

// Status is what the node says about the pod.
func Status(s *State) corev1.PodStatus {
	base := s.base()
	st := *base.DeepCopy()
	st.ObservedGeneration = s.Pod.Generation
	if st.QOSClass == "" {
		st.QOSClass = QOS(s.Pod)
	}
	if st.StartTime == nil {
		now := second(s.Now)
		st.StartTime = &now
	}
	if s.Stop != nil && s.Stop.Rejected {
		st.Phase, st.Reason, st.Message = corev1.PodFailed, s.Stop.Reason, s.Stop.Message
		return st
	}
	ended := s.Terminating() && !s.running()
	s.addresses(&st)
	st.InitContainerStatuses = s.statuses(s.Pod.Spec.InitContainers, base.InitContainerStatuses, true, ended)
	st.ContainerStatuses = s.statuses(s.Pod.Spec.Containers, base.ContainerStatuses, false, ended)
	sort.Slice(st.ContainerStatuses, func(i, j int) bool { return st.ContainerStatuses[i].Name < st.ContainerStatuses[j].Name })
	st.EphemeralContainerStatuses = nil
	for i := range s.Pod.Spec.EphemeralContainers {
		c := corev1.Container(s.Pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		st.EphemeralContainerStatuses = append(st.EphemeralContainerStatuses, s.status(&c, base.EphemeralContainerStatuses, false, ended))
	}

	phase := s.phase(&st, ended)
	if terminal(phase) && s.running() {
		phase = corev1.PodRunning // the end is told when it has come
	}
	if terminal(base.Phase) {
		phase = base.Phase
	}
	if terminal(s.Pod.Status.Phase) {
		phase = s.Pod.Status.Phase
	}
	if s.Stop != nil && ended && !terminal(base.Phase) {
		phase, st.Reason, st.Message = corev1.PodFailed, s.Stop.Reason, s.Stop.Message
	} else if phase != base.Phase {
		st.Reason, st.Message = "", ""
	}
	st.Phase = phase
	s.conditions(&st)
	return st
}

func terminal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

func (s *State) running() bool {
	for i := range s.Containers {
		if s.Containers[i].Phase == Running {
			return true
		}
	}
	return false
}

func (s *State) addresses(st *corev1.PodStatus) {
	st.HostIP, st.HostIPs = "", nil
	for _, ip := range s.HostIPs {
		st.HostIPs = append(st.HostIPs, corev1.HostIP{IP: ip})
	}
	if len(s.HostIPs) > 0 {
		st.HostIP = s.HostIPs[0]
	}
	var ips []string
	if box := s.Sandbox(); box != nil {
		if ips = box.IPs; s.Pod.Spec.HostNetwork {
			ips = s.HostIPs
		}
	} else if s.Terminating() {
		return // what it had
	}
	st.PodIP, st.PodIPs = "", nil
	for _, ip := range ips {
		st.PodIPs = append(st.PodIPs, corev1.PodIP{IP: ip})
	}
	if len(ips) > 0 {
		st.PodIP = ips[0]
	}
}

func (s *State) statuses(specs []corev1.Container, old []corev1.ContainerStatus, init, ended bool) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for i := range specs {
		out = append(out, s.status(&specs[i], old, init, ended))
	}
	return out
}

// status tells about one container.
func (s *State) status(c *corev1.Container, olds []corev1.ContainerStatus, init, ended bool) corev1.ContainerStatus {
	old := findStatus(olds, c.Name)
	st := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
	if old != nil {
		st.LastTerminationState = old.LastTerminationState
		st.RestartCount = old.RestartCount
		st.VolumeMounts = old.VolumeMounts
	}
	cur := s.Newest(c.Name)
	if cur == nil {
		s.absent(&st, c, old, ended)
	} else {
		s.present(&st, c, cur, old, ended)
	}
	s.resources(&st, c)

	p := Probes{}
	up := cur != nil && cur.Phase == Running
	if up {
		p = s.Probes[cur.ID]
	}
	started := up && p.Started
	st.Started = &started
	if init && !Sidecar(c) {
		st.Ready = st.State.Terminated != nil && st.State.Terminated.ExitCode == 0
	} else {
		st.Ready = up && p.Ready && started
	}
	return st
}

// waiting is why a container does not run yet.
func (s *State) waiting(c *corev1.Container) *corev1.ContainerStateWaiting {
	for _, do := range []Do{StartOne, EnsureImage} {
		key := Action{Do: do, Container: c.Name}.Key()
		if f, ok := s.Failed[key]; ok && f.Reason != "" {
			return &corev1.ContainerStateWaiting{Reason: f.Reason, Message: f.Message}
		}
	}
	if len(s.Pod.Spec.InitContainers) > 0 {
		return &corev1.ContainerStateWaiting{Reason: initState}
	}
	return &corev1.ContainerStateWaiting{Reason: createOne}
}

// absent tells about a container that the runtime does not have.
func (s *State) absent(st *corev1.ContainerStatus, c *corev1.Container, old *corev1.ContainerStatus, ended bool) {
	if old != nil && old.ContainerID != "" {
		// It was there: somebody removed it, or the machine was restarted.
		st.ContainerID, st.ImageID, st.Image = old.ContainerID, old.ImageID, old.Image
		if old.State.Terminated != nil {
			st.State = old.State
			return
		}
		gone := &corev1.ContainerStateTerminated{Reason: lost, Message: lostText, ExitCode: 137}
		if ended {
			st.State.Terminated = gone
			return
		}
		if old.State.Running != nil {
			st.LastTerminationState.Terminated = gone
		}
	}
	st.State.Waiting = s.waiting(c)
}

func (s *State) present(st *corev1.ContainerStatus, c *corev1.Container, cur *Container, old *corev1.ContainerStatus, ended bool) {
	st.ContainerID = containerd + "://" + cur.ID
	if cur.Image != "" {
		st.Image = cur.Image
	}
	st.ImageID = cur.ImageID
	st.RestartCount = int32(cur.Attempt)
	st.User = cur.User
	if prev := s.Previous(c.Name); prev != nil && prev.Phase == Exited {
		st.LastTerminationState.Terminated = terminated(prev)
		if told := toldEnd(old, st.LastTerminationState.Terminated.ContainerID); told != nil {
			st.LastTerminationState.Terminated = told
		}
	} else if old != nil && old.ContainerID != st.ContainerID && old.State.Terminated != nil {
		st.LastTerminationState.Terminated = old.State.Terminated
	}
	switch cur.Phase {
	case Running:
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: second(cur.StartedAt)}
	case Exited:
		end := terminated(cur)
		if told := toldEnd(old, end.ContainerID); told != nil {
			end = told // its termination message may be gone by now
		}
		st.State.Terminated = end
		if ended || s.Terminating() || !s.restarts(c, cur) {
			return
		}
		var why *corev1.ContainerStateWaiting
		if until := s.crashUntil(c.Name, cur); s.Now.Before(until) {
			why = &corev1.ContainerStateWaiting{Reason: crashLoop, Message: CrashMessage(s, c.Name)}
		} else if w := s.waiting(c); w.Reason != initState && w.Reason != createOne {
			why = w
		}
		if why != nil {
			st.State = corev1.ContainerState{Waiting: why}
			st.LastTerminationState.Terminated = end
		}
	case Unknown:
		st.State.Terminated = &corev1.ContainerStateTerminated{Reason: lost, Message: lostText, ExitCode: 137, ContainerID: st.ContainerID}
	default:
		st.State.Waiting = s.waiting(c)
	}
}

// CrashMessage is the text of a container that waits for its restart.
func CrashMessage(s *State, name string) string {
	return fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", s.Backoff[name].Delay, name, FullName(s.Pod))
}

// InCrashLoop returns the containers that wait for their restart now, with the delay.
func InCrashLoop(s *State) map[string]time.Duration {
	out := map[string]time.Duration{}
	if s.Terminating() {
		return out
	}
	for _, list := range [][]corev1.Container{s.Pod.Spec.InitContainers, s.Pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if cur := s.Newest(c.Name); cur != nil && cur.Phase == Exited && s.restarts(c, cur) && s.Now.Before(s.crashUntil(c.Name, cur)) {
				out[c.Name] = s.Backoff[c.Name].Delay
			}
		}
	}
	return out
}

func (s *State) restarts(c *corev1.Container, cur *Container) bool {
	for i := range s.Pod.Spec.EphemeralContainers {
		if s.Pod.Spec.EphemeralContainers[i].Name == c.Name {
			return false
		}
	}
	for i := range s.Pod.Spec.InitContainers {
		if s.Pod.Spec.InitContainers[i].Name == c.Name && !Sidecar(c) && cur.ExitCode == 0 {
			return false
		}
	}
	return Restarts(&s.Pod.Spec, c, cur.ExitCode)
}

// toldEnd is what an earlier status said about the end of a container, or nil.
func toldEnd(old *corev1.ContainerStatus, id string) *corev1.ContainerStateTerminated {
	if old == nil {
		return nil
	}
	for _, t := range []*corev1.ContainerStateTerminated{old.State.Terminated, old.LastTerminationState.Terminated} {
		if t != nil && t.ContainerID == id {
			return t
		}
	}
	return nil
}

func terminated(c *Container) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode: c.ExitCode, Reason: c.Reason, Message: c.Message,
		StartedAt: second(c.StartedAt), FinishedAt: second(c.FinishedAt), ContainerID: containerd + "://" + c.ID,
	}
}

func (s *State) resources(st *corev1.ContainerStatus, c *corev1.Container) {
	if len(c.Resources.Requests) > 0 || len(c.Resources.Limits) > 0 {
		st.Resources = c.Resources.DeepCopy()
		st.AllocatedResources = c.Resources.DeepCopy().Requests
	} else if st.ContainerID != "" {
		st.Resources = &corev1.ResourceRequirements{}
	}
	if st.VolumeMounts == nil && st.ContainerID != "" {
		for _, m := range c.VolumeMounts {
			ms := corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
			if m.ReadOnly {
				r := corev1.RecursiveReadOnlyDisabled
				if m.RecursiveReadOnly != nil {
					r = *m.RecursiveReadOnly
				}
				if r == corev1.RecursiveReadOnlyIfPossible {
					r = corev1.RecursiveReadOnlyDisabled
				}
				ms.RecursiveReadOnly = &r
			}
			st.VolumeMounts = append(st.VolumeMounts, ms)
		}
	}
}

// phase follows upstream's table.
func (s *State) phase(st *corev1.PodStatus, ended bool) corev1.PodPhase {
	spec := &s.Pod.Spec
	var pendingInit, pendingSidecar, failedInit, waiting, running, stopped, dead, succeeded, unknown int
	begun := false // a regular container was made
	for i := range spec.Containers {
		begun = begun || s.Newest(spec.Containers[i].Name) != nil
	}
	last := func(cs *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
		if cs.State.Terminated != nil {
			return cs.State.Terminated
		}
		if cs.State.Waiting != nil {
			return cs.LastTerminationState.Terminated
		}
		return nil
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		cs := findStatus(st.InitContainerStatuses, c.Name)
		t := last(cs)
		switch {
		case Sidecar(c):
			if cs.State.Running != nil {
				running++
				if !*cs.Started {
					pendingSidecar++
				}
			} else if t == nil {
				pendingSidecar++
				waiting++
			}
		case t == nil:
			pendingInit++
		case t.ExitCode != 0 && !Restarts(spec, c, t.ExitCode):
			failedInit++
		case cs.State.Waiting != nil:
			if !begun {
				pendingInit++
			}
		case t.ExitCode != 0:
			pendingInit++
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		cs := findStatus(st.ContainerStatuses, c.Name)
		t := last(cs)
		switch {
		case cs.State.Running != nil:
			running++
		case t != nil:
			stopped++
			if !Restarts(spec, c, t.ExitCode) {
				dead++
			}
			if cs.State.Terminated != nil && t.ExitCode == 0 {
				succeeded++
			}
		case cs.State.Waiting != nil:
			waiting++
		default:
			unknown++
		}
	}
	switch {
	case failedInit > 0:
		return corev1.PodFailed
	case pendingInit > 0, pendingSidecar > 0 && !begun, waiting > 0:
		return corev1.PodPending
	case running > 0 && unknown == 0:
		if dead == len(spec.Containers) && stopped == dead && s.onlySidecarsRun() {
			return s.outcome(stopped, succeeded) // sidecars are to end now; told when they have
		}
		return corev1.PodRunning
	case stopped > 0 && unknown == 0:
		if !ended && stopped != dead {
			return corev1.PodRunning
		}
		return s.outcome(stopped, succeeded)
	}
	return corev1.PodPending
}

func (s *State) outcome(stopped, succeeded int) corev1.PodPhase {
	if stopped == succeeded {
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

func (s *State) onlySidecarsRun() bool {
	for i := range s.Pod.Spec.Containers {
		if c := s.Newest(s.Pod.Spec.Containers[i].Name); c == nil || c.Phase == Running {
			return false
		}
	}
	return true
}

// Over reports that every regular container has come to its end and none will be started again, or that initialization has failed for good:
// what still runs is to be ended.
func (s *State) Over() bool {
	spec := &s.Pod.Spec
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if cur := s.Newest(c.Name); !Sidecar(c) && cur != nil && cur.Phase == Exited && cur.ExitCode != 0 && !Restarts(spec, c, cur.ExitCode) {
			return true
		}
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		cur := s.Newest(c.Name)
		if cur == nil || cur.Phase != Exited || Restarts(spec, c, cur.ExitCode) {
			return false
		}
	}
	return true
}

// owned are the conditions that only the node writes.
var owned = map[corev1.PodConditionType]bool{
	corev1.PodReadyToStartContainers: true, corev1.PodInitialized: true, corev1.PodReady: true, corev1.ContainersReady: true, corev1.PodScheduled: true,
}

func (s *State) conditions(st *corev1.PodStatus) {
	var list []corev1.PodCondition
	set := func(t corev1.PodConditionType, ok bool, reason, message string) corev1.PodCondition {
		c := corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: s.Pod.Generation, LastTransitionTime: second(s.Now)}
		if ok {
			c.Status = corev1.ConditionTrue
		}
		for _, old := range s.base().Conditions {
			if old.Type == t && old.Status == c.Status && !old.LastTransitionTime.IsZero() {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
		list = append(list, c)
		return c
	}
	set(corev1.PodReadyToStartContainers, s.Sandbox() != nil, "", "")
	ok, reason, message := s.initializedCondition(st)
	set(corev1.PodInitialized, ok, reason, message)
	readyOK, readyReason, readyMessage := s.containersReady(st)
	ok, reason, message = readyOK, readyReason, readyMessage
	if ok {
		if m := s.gates(); m != "" {
			ok, reason, message = false, "ReadinessGatesNotReady", m
		}
	}
	set(corev1.PodReady, ok, reason, message)
	set(corev1.ContainersReady, readyOK, readyReason, readyMessage)
	set(corev1.PodScheduled, true, "", "")
	for _, c := range s.Pod.Status.Conditions {
		if !owned[c.Type] {
			list = append(list, c)
		}
	}
	if s.Stop != nil && s.Stop.Condition != nil {
		for _, c := range list {
			if c.Type == s.Stop.Condition.Type {
				st.Conditions = list
				return
			}
		}
		c := *s.Stop.Condition
		c.LastTransitionTime, c.ObservedGeneration = second(s.Now), s.Pod.Generation
		list = append(list, c)
	}
	st.Conditions = list
}

func (s *State) initializedCondition(st *corev1.PodStatus) (bool, string, string) {
	if st.Phase == corev1.PodSucceeded {
		return true, "PodCompleted", ""
	}
	for i := range s.Pod.Spec.Containers {
		if cs := findStatus(st.ContainerStatuses, s.Pod.Spec.Containers[i].Name); cs.State.Running != nil || cs.State.Terminated != nil || cs.LastTerminationState.Terminated != nil {
			return true, "", ""
		}
	}
	var missing []string
	for i := range s.Pod.Spec.InitContainers {
		c := &s.Pod.Spec.InitContainers[i]
		cs := findStatus(st.InitContainerStatuses, c.Name)
		if Sidecar(c) && !*cs.Started || !Sidecar(c) && !cs.Ready {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) > 0 {
		return false, "ContainersNotInitialized", "containers with incomplete status: [" + strings.Join(missing, " ") + "]"
	}
	return true, "", ""
}

func (s *State) containersReady(st *corev1.PodStatus) (bool, string, string) {
	switch st.Phase {
	case corev1.PodSucceeded:
		return false, "PodCompleted", ""
	case corev1.PodFailed:
		return false, "PodFailed", ""
	}
	var unready []string
	for i := range s.Pod.Spec.InitContainers {
		if c := &s.Pod.Spec.InitContainers[i]; Sidecar(c) && !findStatus(st.InitContainerStatuses, c.Name).Ready {
			unready = append(unready, c.Name)
		}
	}
	for i := range s.Pod.Spec.Containers {
		if c := &s.Pod.Spec.Containers[i]; !findStatus(st.ContainerStatuses, c.Name).Ready {
			unready = append(unready, c.Name)
		}
	}
	if len(unready) > 0 {
		return false, "ContainersNotReady", "containers with unready status: [" + strings.Join(unready, " ") + "]"
	}
	return true, "", ""
}

// gates says which readiness gates of the pod do not hold, or "".
func (s *State) gates() string {
	var out []string
	for _, g := range s.Pod.Spec.ReadinessGates {
		found := false
		for _, c := range s.Pod.Status.Conditions {
			if c.Type == g.ConditionType {
				found = true
				if c.Status != corev1.ConditionTrue {
					out = append(out, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", string(g.ConditionType), c.Status))
				}
			}
		}
		if !found {
			out = append(out, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", string(g.ConditionType)))
		}
	}
	return strings.Join(out, ", ")
}

// QOS is the quality-of-service class of a pod, from its requests and limits of cpu and memory.
func QOS(pod *corev1.Pod) corev1.PodQOSClass {
	any, guaranteed := false, true
	see := func(r *corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			req, lim := r.Requests[name], r.Limits[name]
			any = any || !req.IsZero() || !lim.IsZero()
			if lim.IsZero() || !req.IsZero() && req.Cmp(lim) != 0 {
				guaranteed = false
			}
		}
	}
	if r := pod.Spec.Resources; r != nil && (len(r.Requests) > 0 || len(r.Limits) > 0) {
		see(r)
	} else {
		for i := range pod.Spec.InitContainers {
			see(&pod.Spec.InitContainers[i].Resources)
		}
		for i := range pod.Spec.Containers {
			see(&pod.Spec.Containers[i].Resources)
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
