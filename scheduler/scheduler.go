package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/core"
)

// Config is what a Scheduler needs. All fields but Name are required.
type Config struct {
	Client   client.Client
	Cache    client.Cache
	Recorder client.Recorder
	Logger   *slog.Logger
	// Name is the spec.schedulerName that it answers to; "" means "default-scheduler".
	Name string
}

// Scheduler is the loop.
type Scheduler struct {
	Config
	wake chan struct{}

	mu       sync.Mutex
	snapshot *Snapshot
	queue    *queue
	synced   int // of the two kinds it follows
}

// New makes a scheduler.
func New(cfg Config) *Scheduler {
	if cfg.Name == "" {
		cfg.Name = corev1.DefaultSchedulerName
	}
	return &Scheduler{Config: cfg, wake: make(chan struct{}, 1), snapshot: NewSnapshot(), queue: newQueue()}
}

// Run places pods until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	follow := func(run func() error) {
		wg.Go(func() {
			if err := run(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("scheduler: %w", err))
			}
		})
	}
	follow(func() error {
		return s.Cache.Follow(ctx, core.Node, "", client.FollowOptions{}, s.nodeChanged, s.ready)
	})
	follow(func() error { return s.Cache.Follow(ctx, core.Pod, "", client.FollowOptions{}, s.podChanged, s.ready) })
	for ctx.Err() == nil {
		wait := s.step(ctx)
		var timer <-chan time.Time
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			timer = t.C
		} else if wait < 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-timer:
		case <-ctx.Done():
		}
	}
	cancel(nil)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Scheduler) ready() {
	s.mu.Lock()
	s.synced++
	s.mu.Unlock()
	s.kick()
}

func (s *Scheduler) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Scheduler) nodeChanged(c client.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.New == nil {
		s.snapshot.RemoveNode(c.Old.GetName())
		return
	}
	node := c.New.(*corev1.Node)
	s.snapshot.SetNode(node)
	if c.Old == nil || helpful(c.Old.(*corev1.Node), node) {
		s.queue.changed()
		s.kick()
	}
}

// helpful reports a change of a node that may make room: not a heartbeat.
func helpful(old, node *corev1.Node) bool {
	return old.Spec.Unschedulable != node.Spec.Unschedulable || !reflect.DeepEqual(old.Spec.Taints, node.Spec.Taints) ||
		!reflect.DeepEqual(old.Status.Allocatable, node.Status.Allocatable) || !reflect.DeepEqual(old.Labels, node.Labels)
}

func (s *Scheduler) podChanged(c client.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj := c.Object()
	name := types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
	pod, _ := c.New.(*corev1.Pod)
	if pod == nil || pod.Spec.NodeName != "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		s.queue.remove(name)
		freed := false
		if pod == nil {
			freed = s.snapshot.RemovePod(name)
		} else {
			_, had := s.snapshot.pods[name]
			s.snapshot.SetPod(pod, pod.Spec.NodeName)
			_, has := s.snapshot.pods[name]
			freed = had && !has
		}
		if freed {
			s.queue.changed()
			s.kick()
		}
		return
	}
	if pod.Spec.SchedulerName != s.Name {
		return
	}
	if pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 {
		s.queue.remove(name)
		return
	}
	if _, assumed := s.snapshot.pods[name]; assumed {
		return // our own bind is on its way to us
	}
	s.queue.set(pod, time.Now())
	s.kick()
}

// step places one pod. It returns how long to wait for the next in backoff, 0 when only a change can bring work, and less than 0 when there may be more to do.
func (s *Scheduler) step(ctx context.Context) time.Duration {
	s.mu.Lock()
	if s.synced < 2 {
		s.mu.Unlock()
		return 0
	}
	w, due := s.queue.pop(time.Now())
	if w == nil {
		s.mu.Unlock()
		return due
	}
	pod := w.pod
	where, err := s.snapshot.Place(pod)
	if err == nil && where.Node != "" {
		s.snapshot.SetPod(pod, where.Node)
	} else {
		s.queue.failed(w, time.Now())
	}
	s.mu.Unlock()

	switch {
	case err != nil:
		s.unplaced(ctx, pod, corev1.PodReasonSchedulerError, err.Error())
	case where.Node == "":
		s.unplaced(ctx, pod, corev1.PodReasonUnschedulable, where.Message())
	default:
		s.bind(ctx, w, pod, where.Node)
	}
	return -1
}

func (s *Scheduler) bind(ctx context.Context, w *waiting, pod *corev1.Pod, node string) {
	b := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	_, err := s.Client.Post(ctx, core.Pod, pod.Namespace, pod.Name, "binding", b, metav1.CreateOptions{})
	if err == nil {
		s.mu.Lock()
		if s.queue.all[w.name] == w {
			s.queue.remove(w.name)
		}
		s.mu.Unlock()
		s.Recorder.Event(core.Pod, pod, corev1.EventTypeNormal, "Scheduled", fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node))
		return
	}
	current, ok := client.Found[*corev1.Pod](s.Cache.Get(core.Pod, pod.Namespace, pod.Name))
	retry := ok && current.UID == pod.UID && current.Spec.NodeName == "" && ctx.Err() == nil
	s.mu.Lock()
	s.snapshot.RemovePod(w.name)
	if retry {
		w.pod = current
		s.queue.retry(w, time.Now())
	} else if ok {
		s.snapshot.SetPod(current, current.Spec.NodeName)
	}
	s.mu.Unlock()
	if retry && !apierrors.IsConflict(err) {
		s.Logger.Warn("pod not bound", "pod", w.name.String(), "node", node, "error", err)
		s.unplaced(ctx, current, corev1.PodReasonSchedulerError, fmt.Sprintf("binding rejected: %v", err))
	}
}

// unplaced writes down why a pod has no node: in its status, once for each new reason, and as an event.
func (s *Scheduler) unplaced(ctx context.Context, pod *corev1.Pod, reason, message string) {
	s.Recorder.Event(core.Pod, pod, corev1.EventTypeWarning, "FailedScheduling", message)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == reason && c.Message == message {
			return
		}
	}
	cond := map[string]any{
		"type": corev1.PodScheduled, "status": corev1.ConditionFalse, "reason": reason, "message": message,
		"lastProbeTime": nil, "lastTransitionTime": metav1.Now(), "observedGeneration": pod.Generation,
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": map[string]any{"conditions": []any{cond}}})
	if err == nil {
		_, err = s.Client.Patch(ctx, core.Pod, pod.Namespace, pod.Name, types.StrategicMergePatchType, patch, "status", metav1.PatchOptions{})
	}
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		s.Logger.Warn("pod condition not written", "pod", pod.Namespace+"/"+pod.Name, "error", err)
	}
}
