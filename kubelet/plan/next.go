package plan

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Do names what an action does.
type Do string

const (
	MountVolumes  Do = "mount-volumes"
	RunSandbox    Do = "run-sandbox"
	StopSandbox   Do = "stop-sandbox"
	EnsureImage   Do = "ensure-image"
	StartOne      Do = "start" // create and start a container, and run its postStart hook
	KillContainer Do = "kill"  // preStop hook, stop signal, wait, kill
	CleanUp       Do = "clean-up"
	DeletePod     Do = "delete-pod"
)

// Action is one thing to do now.
type Action struct {
	Do        Do
	Container string // name
	ID        string // of the container or sandbox
	Attempt   uint32
	Grace     int64 // seconds
	Reason    string
	Message   string // of the event that tells
}

// Key names the operation: while one of this key is under way, no other is started.
func (a Action) Key() string {
	switch a.Do {
	case KillContainer, StopSandbox:
		return string(a.Do) + "/" + a.ID
	case EnsureImage, StartOne:
		return string(a.Do) + "/" + a.Container
	}
	return string(a.Do)
}

// Plan is what is due.
type Plan struct {
	Actions []Action
	// Wake is when to look again if nothing else happens; zero: never.
	Wake time.Time
	// Stop, when set, is to be remembered in State.Stop.
	Stop *Stop
	// Done: the pod is gone from the node and the API; the worker can end.
	Done bool
}

// minGrace is what containers get that are killed after the pod's grace period is used up, in seconds.
const minGrace = 2

type planner struct {
	*State
	Plan
}

// Next returns what is due for the pod.
func Next(s *State) Plan {
	p := planner{State: s}
	if !s.Terminating() {
		if at, ok := s.deadline(); ok {
			if s.Now.Before(at) {
				p.wake(at)
			} else {
				p.Plan.Stop = &Stop{Reason: "DeadlineExceeded", Message: "Pod was active on the node longer than the specified deadline"}
				c := *s
				c.Stop = p.Plan.Stop
				p.State = &c
			}
		}
	}
	if p.Terminating() {
		p.end()
	} else {
		p.run()
	}
	return p.Plan
}

func (s *State) deadline() (time.Time, bool) {
	d := s.Pod.Spec.ActiveDeadlineSeconds
	start := s.base().StartTime
	if d == nil || start == nil {
		return time.Time{}, false
	}
	return start.Add(time.Duration(*d) * time.Second), true
}

func (p *planner) wake(at time.Time) {
	if p.Wake.IsZero() || at.Before(p.Wake) {
		p.Wake = at
	}
}

// do adds an action unless it is under way or waits after a failure. It reports whether the action was added.
func (p *planner) do(a Action) bool {
	key := a.Key()
	if _, busy := p.Busy[key]; busy {
		return false
	}
	if f, ok := p.Failed[key]; ok && p.Now.Before(f.Retry) {
		p.wake(f.Retry)
		return false
	}
	p.Actions = append(p.Actions, a)
	return true
}

// run brings the pod towards running.
func (p *planner) run() {
	if !p.Volumes {
		p.do(Action{Do: MountVolumes})
	}
	box := p.Sandbox()
	if box == nil {
		p.remakeSandbox()
	}
	p.containers(box)
}

// remakeSandbox ends what is left in sandboxes that cannot be used, and then makes a new one, if anything is still to be run.
func (p *planner) remakeSandbox() {
	if !p.anythingToRun() {
		return
	}
	if len(p.Sandboxes) > 0 {
		left := false
		for i := range p.Containers {
			if c := &p.Containers[i]; c.Phase == Running {
				left = true
				p.kill(c, p.specGrace(), "SandboxChanged", "Stopping container "+c.Name)
			}
		}
		if left {
			return
		}
		for _, b := range p.Sandboxes {
			if b.Ready {
				p.do(Action{Do: StopSandbox, ID: b.ID, Reason: "SandboxChanged"})
				left = true
			}
		}
		if left {
			return
		}
	}
	a := Action{Do: RunSandbox}
	if len(p.Sandboxes) > 0 {
		a.Attempt = p.Sandboxes[0].Attempt + 1
		a.Reason, a.Message = "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
	}
	p.do(a)
}

// anythingToRun reports that at least one regular container has not come to its end.
func (p *planner) anythingToRun() bool {
	for i := range p.Pod.Spec.Containers {
		c := &p.Pod.Spec.Containers[i]
		if n := p.Newest(c.Name); n == nil || n.Phase != Exited || Restarts(&p.Pod.Spec, c, n.ExitCode) {
			return true
		}
	}
	return false
}

// current returns the newest container of a name if it belongs to the sandbox.
func (p *planner) current(box *Sandbox, name string) *Container {
	if c := p.Newest(name); c != nil && box != nil && c.SandboxID == box.ID {
		return c
	}
	return nil
}

// initialized reports that a regular container was made in the sandbox: init containers are over, for ever.
func (p *planner) initialized(box *Sandbox) bool {
	for i := range p.Pod.Spec.Containers {
		if p.current(box, p.Pod.Spec.Containers[i].Name) != nil {
			return true
		}
	}
	return false
}

func (p *planner) containers(box *Sandbox) {
	spec := &p.Pod.Spec
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		if p.Newest(c.Name) == nil && box != nil {
			p.start(box, &c, nil)
		}
	}

	initialized := p.initialized(box)
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		cur := p.current(box, c.Name)
		if !Sidecar(c) {
			if initialized || cur == nil && p.laterInit(box, i) {
				continue
			}
			switch {
			case cur == nil:
				p.start(box, c, nil)
				return
			case cur.Phase == Exited && cur.ExitCode == 0:
				continue
			case cur.Phase == Exited && !Restarts(spec, c, cur.ExitCode):
				return // the pod has failed
			case cur.Phase == Running:
				p.check(c, cur)
				return
			default:
				p.start(box, c, cur)
				return
			}
		}
		switch {
		case cur == nil:
			p.start(box, c, nil)
		case cur.Phase == Running && p.check(c, cur):
			if p.Probes[cur.ID].Started {
				continue
			}
		case cur.Phase == Running: // is being killed
		default:
			p.start(box, c, cur)
		}
		if !initialized {
			return
		}
	}

	for i := range spec.Containers {
		c := &spec.Containers[i]
		cur := p.current(box, c.Name)
		switch {
		case cur == nil:
			if old := p.Newest(c.Name); old != nil && old.Phase == Exited && !Restarts(spec, c, old.ExitCode) {
				continue // it came to its end in an earlier sandbox
			}
			p.start(box, c, nil)
		case cur.Phase == Running:
			p.check(c, cur)
		case cur.Phase == Exited && !Restarts(spec, c, cur.ExitCode):
		default:
			p.start(box, c, cur)
		}
	}
}

// laterInit reports that an init container behind i exists in the sandbox: those before it must have succeeded and been removed by somebody.
func (p *planner) laterInit(box *Sandbox, i int) bool {
	for j := i + 1; j < len(p.Pod.Spec.InitContainers); j++ {
		if p.current(box, p.Pod.Spec.InitContainers[j].Name) != nil {
			return true
		}
	}
	return false
}

// check kills a running container that must not go on. It reports whether the container may stay.
func (p *planner) check(c *corev1.Container, cur *Container) bool {
	grace := p.specGrace()
	switch probe := p.Probes[cur.ID].Unhealthy; {
	case cur.Hash != "" && cur.Hash != Hash(c):
		p.kill(cur, grace, "Changed", fmt.Sprintf("Container %s definition changed, will be restarted", c.Name))
	case probe == "liveness":
		if c.LivenessProbe != nil && c.LivenessProbe.TerminationGracePeriodSeconds != nil {
			grace = *c.LivenessProbe.TerminationGracePeriodSeconds
		}
		p.kill(cur, grace, "Unhealthy", fmt.Sprintf("Container %s failed liveness probe, will be restarted", c.Name))
	case probe == "startup":
		if c.StartupProbe != nil && c.StartupProbe.TerminationGracePeriodSeconds != nil {
			grace = *c.StartupProbe.TerminationGracePeriodSeconds
		}
		p.kill(cur, grace, "Unhealthy", fmt.Sprintf("Container %s failed startup probe, will be restarted", c.Name))
	default:
		return true
	}
	return false
}

// start works towards a new container: its image first, then, when volumes and sandbox are there, the container itself.
// dead is the one it replaces in the same sandbox, or nil.
func (p *planner) start(box *Sandbox, c *corev1.Container, dead *Container) {
	a := Action{Do: StartOne, Container: c.Name, Attempt: p.attempt(c.Name)}
	if _, busy := p.Busy[a.Key()]; busy {
		return
	}
	if until := p.crashUntil(c.Name, dead); p.Now.Before(until) {
		p.wake(until)
		return
	}
	if _, ok := p.Images[c.Name]; !ok {
		if f, failed := p.Failed[a.Key()]; failed && p.Now.Before(f.Retry) {
			p.wake(f.Retry)
			return
		}
		p.do(Action{Do: EnsureImage, Container: c.Name})
		return
	}
	if box != nil && p.Volumes {
		p.do(a)
	}
}

// crashUntil is the end of the wait before a dead container is replaced.
func (s *State) crashUntil(name string, dead *Container) time.Time {
	if dead == nil || dead.Phase != Exited {
		return time.Time{}
	}
	if _, starting := s.Busy[Action{Do: StartOne, Container: name}.Key()]; starting {
		return time.Time{} // the backoff is already that of the next end
	}
	return s.Backoff[name].Until(dead.FinishedAt)
}

// attempt is the restart count of the next container of a name. What the runtime has forgotten, the API's status remembers.
func (s *State) attempt(name string) uint32 {
	if c := s.Newest(name); c != nil {
		return c.Attempt + 1
	}
	b := s.base()
	for _, list := range [][]corev1.ContainerStatus{b.InitContainerStatuses, b.ContainerStatuses} {
		if st := findStatus(list, name); st != nil && st.ContainerID != "" {
			return uint32(st.RestartCount) + 1
		}
	}
	return 0
}

func (s *State) specGrace() int64 {
	if g := s.Pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return max(*g, 0)
	}
	return corev1.DefaultTerminationGracePeriodSeconds
}

// Grace is how many seconds the pod has to end, from TerminatingSince.
func (s *State) Grace() int64 {
	grace := s.specGrace()
	if s.Stop != nil && s.Stop.Grace != nil {
		grace = *s.Stop.Grace
	}
	if g := s.Pod.DeletionGracePeriodSeconds; g != nil && (s.Pod.DeletionTimestamp != nil || s.Gone) {
		grace = *g
	}
	return max(grace, 1)
}

// kill ends a container, or ends it sooner when it is being killed with more patience than it has now.
func (p *planner) kill(c *Container, grace int64, reason, message string) {
	a := Action{Do: KillContainer, Container: c.Name, ID: c.ID, Grace: grace, Reason: reason, Message: message}
	if b, busy := p.Busy[a.Key()]; busy {
		end := b.Since.Add(time.Duration(b.Grace) * time.Second)
		if p.Now.Add(time.Duration(grace) * time.Second).Before(end.Add(-500 * time.Millisecond)) {
			a.Message = ""
			p.Actions = append(p.Actions, a)
		}
		return
	}
	p.do(a)
}

// end brings the pod to its end: containers, sidecars in reverse order, sandboxes, volumes; then out of the API.
func (p *planner) end() {
	grace := p.Grace()
	if !p.TerminatingSince.IsZero() {
		used := int64(p.Now.Sub(p.TerminatingSince) / time.Second)
		grace = max(grace-used, min(grace, minGrace))
	}
	left := p.endContainers(grace)
	if left {
		return
	}
	for key := range p.Busy {
		if key == string(RunSandbox) || len(key) > 6 && key[:6] == string(StartOne)+"/" {
			return // it ends by itself, and is then to be ended
		}
	}
	for _, b := range p.Sandboxes {
		if b.Ready {
			left = true
			p.do(Action{Do: StopSandbox, ID: b.ID})
		}
	}
	if left || !p.Ended() {
		return
	}
	if !p.CleanedUp {
		p.do(Action{Do: CleanUp})
		return
	}
	switch {
	case p.Gone:
		p.Done = true
	case p.Pod.DeletionTimestamp != nil:
		p.do(Action{Do: DeletePod})
	}
}

func (p *planner) endContainers(grace int64) (left bool) {
	sidecars := map[string]bool{}
	var order []string
	for i := range p.Pod.Spec.InitContainers {
		if c := &p.Pod.Spec.InitContainers[i]; Sidecar(c) {
			sidecars[c.Name] = true
			order = append(order, c.Name)
		}
	}
	for i := range p.Containers {
		if c := &p.Containers[i]; c.Phase == Running && !sidecars[c.Name] {
			left = true
			p.kill(c, grace, "Ending", "Stopping container "+c.Name)
		}
	}
	late := !p.TerminatingSince.IsZero() && p.Now.Sub(p.TerminatingSince) >= time.Duration(p.Grace())*time.Second
	if left && !late {
		if !p.TerminatingSince.IsZero() && len(order) > 0 {
			p.wake(p.TerminatingSince.Add(time.Duration(p.Grace()) * time.Second))
		}
		return true
	}
	for i := len(order) - 1; i >= 0; i-- {
		for j := range p.Containers {
			if c := &p.Containers[j]; c.Name == order[i] && c.Phase == Running {
				left = true
				p.kill(c, grace, "Ending", "Stopping container "+c.Name)
			}
		}
		if left && !late {
			if !p.TerminatingSince.IsZero() {
				p.wake(p.TerminatingSince.Add(time.Duration(p.Grace()) * time.Second))
			}
			return true
		}
	}
	return left
}
