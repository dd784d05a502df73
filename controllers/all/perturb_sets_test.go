package all_test

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// sets: StatefulSets, in order and in parallel, come up with their claims, are rolled over to another template, and back while that is under way, and scaled;
// DaemonSets, with and without surge, are rolled over, and get another node and lose one.
var sets = story{
	name: "sets", writes: 50,
	show: []*kinds.Kind{apps.StatefulSet, apps.DaemonSet, apps.ControllerRevision, core.Pod, core.PersistentVolumeClaim},
	act: func(ctx context.Context, c *cluster) {
		c.must(ctx, apps.StatefulSet, statefulSet("db", 3, appsv1.OrderedReadyPodManagement))
		c.must(ctx, apps.StatefulSet, statefulSet("web", 3, appsv1.ParallelPodManagement))
		c.node(ctx, "node-2")
		c.node(ctx, "node-3")
		c.must(ctx, apps.DaemonSet, daemonSet("agent", 0, 1))
		c.must(ctx, apps.DaemonSet, daemonSet("proxy", 1, 0))
		time.Sleep(10 * time.Second)
		roll := func(k *kinds.Kind, name, image string) {
			c.merge(ctx, k, name, `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"`+image+`"}]}}}}`)
		}
		roll(apps.StatefulSet, "db", "img:2")
		roll(apps.StatefulSet, "web", "img:2")
		roll(apps.DaemonSet, "agent", "img:2")
		roll(apps.DaemonSet, "proxy", "img:2")
		time.Sleep(8 * time.Second)
		roll(apps.StatefulSet, "db", "img:1")
		roll(apps.DaemonSet, "agent", "img:1")
		time.Sleep(60 * time.Second)
		c.node(ctx, "node-4")
		c.mergeAt(ctx, core.Node, "", "node-2", `{"spec":{"taints":[{"key":"keep-off","effect":"NoExecute"}]}}`)
		c.merge(ctx, apps.StatefulSet, "db", `{"spec":{"replicas":1}}`)
		c.merge(ctx, apps.StatefulSet, "web", `{"spec":{"replicas":4}}`)
		time.Sleep(100 * time.Second)
	},
}

func (c *cluster) merge(ctx context.Context, k *kinds.Kind, name, patch string) {
	c.mergeAt(ctx, k, "default", name, patch)
}

func (c *cluster) mergeAt(ctx context.Context, k *kinds.Kind, namespace, name, patch string) {
	if _, err := c.user.Patch(ctx, k, namespace, name, types.MergePatchType, []byte(patch), "", metav1.PatchOptions{}); err != nil {
		c.t.Error(err)
	}
}

func podTemplate(labels map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "img:1"}}}}
}

func statefulSet(name string, replicas int32, order appsv1.PodManagementPolicyType) *appsv1.StatefulSet {
	labels := map[string]string{"app": name}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: podTemplate(labels), PodManagementPolicy: order,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}},
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
				WhenDeleted: appsv1.DeletePersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
			},
		},
	}
}

func daemonSet(name string, surge, unavailable int32) *appsv1.DaemonSet {
	labels := map[string]string{"app": name}
	s, u := intstr.FromInt32(surge), intstr.FromInt32(unavailable)
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: podTemplate(labels),
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: &s, MaxUnavailable: &u}},
		},
	}
}
