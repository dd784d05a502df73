package all_test

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// services: Services follow a ReplicationController's pods as it is scaled and its pods are replaced, what somebody wrote is mirrored, a Service is made again
// under its name, and others are deleted.
var services = story{
	name: "services", writes: 40,
	show: []*kinds.Kind{core.Service, core.ReplicationController, core.Pod, discovery.EndpointSlice, core.Endpoints},
	act: func(ctx context.Context, c *cluster) {
		c.must(ctx, core.Service, service("web", map[string]string{"app": "web"}))
		c.must(ctx, core.Service, service("short", map[string]string{"app": "web"}))
		c.must(ctx, core.Service, service("manual", nil))
		c.must(ctx, core.Endpoints, endpoints("manual", "192.0.2.1", "2001:db8::1"))
		c.must(ctx, core.Endpoints, endpoints("alone", "192.0.2.9"))
		c.must(ctx, core.ReplicationController, replicationController("web", 3))
		c.must(ctx, core.ReplicationController, replicationController("left", 2))
		time.Sleep(8 * time.Second)
		c.patch(ctx, core.ReplicationController, &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}, "",
			map[string]any{"spec": map[string]any{"replicas": 5}})
		c.patch(ctx, core.Service, service("web", nil), "", map[string]any{"metadata": map[string]any{"labels": map[string]string{"team": "a"}}})
		c.patch(ctx, core.Endpoints, endpoints("manual"), "", map[string]any{"subsets": endpoints("manual", "192.0.2.2").Subsets})
		c.remove(ctx, core.ReplicationController, "left", metav1.DeletePropagationOrphan)
		time.Sleep(3500 * time.Millisecond)
		c.patch(ctx, core.ReplicationController, &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}, "",
			map[string]any{"spec": map[string]any{"replicas": 2}})
		c.remove(ctx, core.Service, "short", metav1.DeletePropagationBackground)
		c.must(ctx, core.Service, service("short", map[string]string{"app": "left"}))
		time.Sleep(20 * time.Second)
		for _, obj := range c.cache.List(core.Pod, "default", nil) {
			if controllers.PodActive(obj.(*corev1.Pod)) && obj.GetLabels()["app"] == "web" {
				c.remove(ctx, core.Pod, obj.GetName(), "")
				break
			}
		}
		c.patch(ctx, core.Service, service("manual", nil), "", map[string]any{"spec": map[string]any{"selector": map[string]string{"app": "web"}}})
		time.Sleep(100 * time.Second)
	},
}

func (c *cluster) remove(ctx context.Context, k *kinds.Kind, name string, policy metav1.DeletionPropagation) {
	var opts metav1.DeleteOptions
	if policy != "" {
		opts.PropagationPolicy = &policy
	}
	if err := c.user.Delete(ctx, k, "default", name, opts); err != nil {
		c.t.Error(err)
	}
}

func service(name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{
		ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Selector: selector,
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}},
	}}
}

func endpoints(name string, ips ...string) *corev1.Endpoints {
	ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	for _, ip := range ips {
		ep.Subsets = append(ep.Subsets, corev1.EndpointSubset{Addresses: []corev1.EndpointAddress{{IP: ip}}, Ports: []corev1.EndpointPort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}})
	}
	return ep
}

func replicationController(name string, replicas int32) *corev1.ReplicationController {
	labels := map[string]string{"app": name}
	return &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ReplicationControllerSpec{Replicas: &replicas, Selector: labels, Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "img:1"}}},
		}},
	}
}
