package apps

import (
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/autoscaling"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// Deployment is a set of equal pods that changes its template step by step. Annotations count for its generation, because they are copied to its
// ReplicaSets.
var Deployment = kinds.Define(kinds.Definition[*appsv1.Deployment, *appsv1.DeploymentList]{
	Group: "apps", Version: "v1", Kind: "Deployment", Plural: "deployments", ShortNames: []string{"deploy"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *appsv1.Deployment { return &appsv1.Deployment{} }, NewList: func() *appsv1.DeploymentList { return &appsv1.DeploymentList{} },
	Default: defaultDeployment,
	Spec: func(d *appsv1.Deployment) any {
		return struct {
			Spec        appsv1.DeploymentSpec
			Annotations map[string]string
		}{d.Spec, d.Annotations}
	},
	CopyStatus:   func(dst, src *appsv1.Deployment) { dst.Status = src.Status },
	CopySpec:     func(dst, src *appsv1.Deployment) { dst.Spec, dst.Labels = src.Spec, maps.Clone(src.Labels) },
	StatusResets: []string{"metadata.labels"},
	BeforeCreate: func(d *appsv1.Deployment) { podspec.DropDisabledTemplateFields(&d.Spec.Template, nil) },
	BeforeUpdate: func(d, old *appsv1.Deployment) {
		podspec.DropDisabledTemplateFields(&d.Spec.Template, &old.Spec.Template)
	},
	Validate:       func(d *appsv1.Deployment) fieldErrors { return validateDeployment(d, nil) },
	ValidateUpdate: validateDeploymentChange,
	ValidateStatus: validateDeploymentStatus,
	Warnings: func(d, old *appsv1.Deployment) []string {
		if old == nil {
			return append(podspec.NameWarnings(d.Name), podspec.TemplateWarnings(&d.Spec.Template, templatePath)...)
		}
		if d.Generation != old.Generation {
			return podspec.TemplateWarnings(&d.Spec.Template, templatePath)
		}
		return nil
	},
	Columns: append([]metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Ready", "string", "Number of the pod with ready state"),
		kinds.Column("Up-to-date", "string", appsv1.DeploymentStatus{}.SwaggerDoc()["updatedReplicas"]),
		kinds.Column("Available", "string", appsv1.DeploymentStatus{}.SwaggerDoc()["availableReplicas"]),
		kinds.AgeColumn(),
	}, templateColumns(appsv1.DeploymentSpec{}.SwaggerDoc()["selector"])...),
	Row: func(d *appsv1.Deployment) []any {
		selector := "<invalid>"
		if s, err := metav1.LabelSelectorAsSelector(d.Spec.Selector); err == nil {
			selector = s.String()
		}
		return append([]any{
			d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, orZero(d.Spec.Replicas)), int64(d.Status.UpdatedReplicas),
			int64(d.Status.AvailableReplicas), kinds.Age(d.CreationTimestamp),
		}, templateCells(&d.Spec.Template, selector)...)
	},
	Subresources: []*kinds.Subresource{autoscaling.Scale(schema.GroupResource{Group: "apps", Resource: "deployments"},
		func(d *appsv1.Deployment) autoscaling.Parts {
			return autoscaling.Parts{Replicas: &d.Spec.Replicas, Current: d.Status.Replicas, Selector: d.Spec.Selector}
		}, validateDeploymentChange)},
})

func defaultDeployment(d *appsv1.Deployment) {
	podspec.SetTemplateDefaults(&d.Spec.Template)
	spec := &d.Spec
	setDefault(&spec.Replicas, 1)
	setDefault(&spec.RevisionHistoryLimit, 10)
	setDefault(&spec.ProgressDeadlineSeconds, 600)
	if spec.Strategy.Type == "" {
		spec.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		if spec.Strategy.RollingUpdate == nil {
			spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{}
		}
		setDefault(&spec.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		setDefault(&spec.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
}

func setDefault[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
