package all_test

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// volumes: claims are bound to volumes, one is deleted while a pod uses it, its volume is given away again, and serves another claim.
var volumes = story{
	name: "volumes", writes: 20,
	show: []*kinds.Kind{core.PersistentVolume, core.PersistentVolumeClaim, core.Pod},
	act: func(ctx context.Context, c *cluster) {
		for i := 1; i <= 3; i++ {
			c.must(ctx, core.PersistentVolume, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", i)}, Spec: corev1.PersistentVolumeSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Capacity: corev1.ResourceList{corev1.ResourceStorage: size(i)},
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			}})
		}
		time.Sleep(time.Minute)
		c.must(ctx, core.PersistentVolumeClaim, claim("small", 1))
		time.Sleep(time.Minute)
		c.must(ctx, core.PersistentVolumeClaim, claim("big", 3))
		c.must(ctx, core.Pod, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "user"}, Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "big"}}}},
		}})
		time.Sleep(time.Minute)
		c.must(ctx, core.PersistentVolumeClaim, claim("waits", 3))
		c.remove(ctx, core.PersistentVolumeClaim, "big", "")
		time.Sleep(time.Minute)
		c.remove(ctx, core.Pod, "user", "")
		time.Sleep(time.Minute)
		c.mergeAt(ctx, core.PersistentVolume, "", "p3", `{"spec":{"claimRef":null}}`)
		time.Sleep(time.Minute)
		if err := c.user.Delete(ctx, core.PersistentVolume, "", "p2", metav1.DeleteOptions{}); err != nil {
			c.t.Error(err)
		}
		c.remove(ctx, core.PersistentVolumeClaim, "small", "")
		time.Sleep(100 * time.Second)
	},
}

func size(gib int) resource.Quantity { return resource.MustParse(fmt.Sprintf("%dGi", gib)) }

func claim(name string, gib int) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size(gib)}},
	}}
}
