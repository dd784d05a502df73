package main

import (
	"context"
	"crypto/sha256"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tenet-run/tenet/examples/operator/api"
)

// reconciler makes a ConfigMap with the page and a Deployment that serves it, for every Website. Both belong to the Website and go with it.
type reconciler struct {
	client.Client
	scheme *runtime.Scheme
}

func (r *reconciler) setup(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).For(&api.Website{}).Owns(&appsv1.Deployment{}).Owns(&corev1.ConfigMap{}).Complete(r)
}

// Reconcile implements reconcile.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	site := &api.Website{}
	if err := r.Get(ctx, req.NamespacedName, site); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	own := metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name}
	page := &corev1.ConfigMap{ObjectMeta: own}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, page, func() error {
		page.Data = map[string]string{"index.html": site.Spec.Page}
		return controllerutil.SetControllerReference(site, page, r.scheme)
	}); err != nil {
		return ctrl.Result{}, fmt.Errorf("page of %s: %w", req, err)
	}
	servers := &appsv1.Deployment{ObjectMeta: own}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, servers, func() error {
		serve(site, servers)
		return controllerutil.SetControllerReference(site, servers, r.scheme)
	}); err != nil {
		return ctrl.Result{}, fmt.Errorf("servers of %s: %w", req, err)
	}
	was := site.DeepCopy()
	site.Status.ObservedGeneration, site.Status.ReadyReplicas = site.Generation, servers.Status.ReadyReplicas
	ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Starting", ObservedGeneration: site.Generation,
		Message: fmt.Sprintf("%d of %d servers are ready", servers.Status.ReadyReplicas, *servers.Spec.Replicas)}
	if servers.Status.ReadyReplicas == *servers.Spec.Replicas {
		ready.Status, ready.Reason = metav1.ConditionTrue, "Serving"
	}
	meta.SetStatusCondition(&site.Status.Conditions, ready)
	if equality.Semantic.DeepEqual(was.Status, site.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.Status().Update(ctx, site)
}

// serve sets what the operator owns of the Deployment. A changed page changes the template, so that it is rolled out.
func serve(site *api.Website, d *appsv1.Deployment) {
	labels := map[string]string{"website": site.Name}
	d.Spec.Replicas = site.Spec.Replicas
	if d.Spec.Selector == nil {
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	}
	t := &d.Spec.Template
	t.Labels = labels
	t.Annotations = map[string]string{"examples.tenet.run/page": fmt.Sprintf("%x", sha256.Sum256([]byte(site.Spec.Page)))[:16]}
	if len(t.Spec.Containers) != 1 {
		t.Spec.Containers = make([]corev1.Container, 1)
	}
	c := &t.Spec.Containers[0]
	c.Name, c.Image = "server", site.Spec.Image
	c.Ports = []corev1.ContainerPort{{ContainerPort: 80, Protocol: corev1.ProtocolTCP}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "page", MountPath: "/usr/share/nginx/html"}}
	if len(t.Spec.Volumes) != 1 {
		t.Spec.Volumes = []corev1.Volume{{Name: "page", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}}}
	}
	t.Spec.Volumes[0].ConfigMap.Name = site.Name
}
