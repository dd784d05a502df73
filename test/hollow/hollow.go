// Package hollow has nodes without containers, for tests of everything above them: a hollow node is Ready, says of every pod that is bound to it that it runs, and lets
// pods go that are deleted.
package hollow

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/core"
)

// Node is a hollow node. API, Cache (of pods) and Name are needed.
type Node struct {
	API   client.Client
	Cache client.Cache
	Name  string
	// Start is how long a pod takes to become ready once it is bound.
	Start time.Duration
	// Failed is told of what the API server refuses while the node lives; nil: nobody is.
	Failed func(error)
}

// Run registers the node and keeps it, and its pods, until ctx ends.
func (n *Node) Run(ctx context.Context) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux"}}}
	if _, err := n.API.Create(ctx, core.Node, node, metav1.CreateOptions{}); err != nil {
		n.fail(ctx, fmt.Errorf("register node %s: %w", n.Name, err))
		return
	}
	go n.heartbeat(ctx)
	n.Cache.Follow(ctx, core.Pod, "", client.FollowOptions{Fields: map[string]string{"spec.nodeName": n.Name}}, func(c client.Change) {
		pod, _ := c.New.(*corev1.Pod)
		if pod == nil {
			return
		}
		if pod.DeletionTimestamp != nil {
			zero := int64(0)
			n.API.Delete(ctx, core.Pod, pod.Namespace, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
			return
		}
		if pod.Status.Phase == corev1.PodPending {
			go n.becomeReady(ctx, pod)
		}
	}, nil)
}

func (n *Node) fail(ctx context.Context, err error) {
	if n.Failed != nil && ctx.Err() == nil {
		n.Failed(err)
	}
}

func (n *Node) becomeReady(ctx context.Context, pod *corev1.Pod) {
	select {
	case <-time.After(n.Start):
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		current, err := client.As[*corev1.Pod](n.API.Get(ctx, core.Pod, pod.Namespace, pod.Name))
		if err != nil || current.UID != pod.UID || current.DeletionTimestamp != nil {
			return
		}
		p := current.DeepCopy()
		now := metav1.Now()
		p.Status.Phase, p.Status.StartTime = corev1.PodRunning, &now
		for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
		}
		_, err = n.API.Update(ctx, core.Pod, p, "status", metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil && !apierrors.IsNotFound(err) {
			n.fail(ctx, fmt.Errorf("status of pod %s/%s: %w", p.Namespace, p.Name, err))
		}
		return
	}
}

// heartbeat keeps the node Ready.
func (n *Node) heartbeat(ctx context.Context) {
	for ctx.Err() == nil {
		if current, err := client.As[*corev1.Node](n.API.Get(ctx, core.Node, "", n.Name)); err == nil {
			node := current.DeepCopy()
			node.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("500")}
			node.Status.Capacity = node.Status.Allocatable
			node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: metav1.Now(), LastTransitionTime: node.CreationTimestamp}}
			n.API.Update(ctx, core.Node, node, "status", metav1.UpdateOptions{})
		}
		select {
		case <-time.After(20 * time.Second):
		case <-ctx.Done():
		}
	}
}
