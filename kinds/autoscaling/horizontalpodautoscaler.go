package autoscaling

import (
	"fmt"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// HorizontalPodAutoscaler changes the number of replicas of something by what they use. Version 1 knows of CPU only, and keeps the rest in annotations.
var HorizontalPodAutoscaler = kinds.Define(kinds.Definition[*autoscalingv2.HorizontalPodAutoscaler, *autoscalingv2.HorizontalPodAutoscalerList]{
	Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler", Plural: "horizontalpodautoscalers", ShortNames: []string{"hpa"},
	Categories: []string{"all"}, Namespaced: true,
	New:        func() *autoscalingv2.HorizontalPodAutoscaler { return &autoscalingv2.HorizontalPodAutoscaler{} },
	NewList:    func() *autoscalingv2.HorizontalPodAutoscalerList { return &autoscalingv2.HorizontalPodAutoscalerList{} },
	Default:    defaultAutoscaler,
	CopyStatus: func(dst, src *autoscalingv2.HorizontalPodAutoscaler) { dst.Status = src.Status },
	CopySpec:   func(dst, src *autoscalingv2.HorizontalPodAutoscaler) { dst.Spec = src.Spec },
	Validate: func(h *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
		return validateAutoscaler(&h.Spec, nil)
	},
	ValidateUpdate: func(h, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
		return validateAutoscaler(&h.Spec, &old.Spec)
	},
	ValidateStatus: func(h, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
		c := kinds.Counts{Path: field.NewPath("status")}
		c.NotNegative("currentReplicas", int64(h.Status.CurrentReplicas))
		c.NotNegative("desiredReplicas", int64(h.Status.DesiredReplicas))
		return c.Errs
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Reference", "string", autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc()["scaleTargetRef"]),
		kinds.Column("Targets", "string", autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc()["metrics"]),
		kinds.Column("MinPods", "string", autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc()["minReplicas"]),
		kinds.Column("MaxPods", "string", autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc()["maxReplicas"]),
		kinds.Column("Replicas", "string", autoscalingv2.HorizontalPodAutoscalerStatus{}.SwaggerDoc()["currentReplicas"]),
		kinds.AgeColumn(),
	},
	Row: func(h *autoscalingv2.HorizontalPodAutoscaler) []any {
		least := "<unset>"
		if h.Spec.MinReplicas != nil {
			least = fmt.Sprint(*h.Spec.MinReplicas)
		}
		return []any{
			h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, metricsCell(h), least,
			int64(h.Spec.MaxReplicas), int64(h.Status.CurrentReplicas), kinds.Age(h.CreationTimestamp),
		}
	},
	Also: []*kinds.Served{{
		Group: "autoscaling", Version: "v1",
		New:     func() kinds.Object { return &autoscalingv1.HorizontalPodAutoscaler{} },
		NewList: func() runtime.Object { return &autoscalingv1.HorizontalPodAutoscalerList{} },
		Default: func(obj kinds.Object) { setDefault(&obj.(*autoscalingv1.HorizontalPodAutoscaler).Spec.MinReplicas, 1) },
		ToHub: func(in kinds.Object) (kinds.Object, error) {
			return autoscalerFromV1(in.(*autoscalingv1.HorizontalPodAutoscaler)), nil
		},
		FromHub: func(in kinds.Object) (kinds.Object, error) {
			return autoscalerToV1(in.(*autoscalingv2.HorizontalPodAutoscaler))
		},
	}},
})

func setDefault[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

// cpuAt80 is what counts when nothing is said.
func cpuAt80() []autoscalingv2.MetricSpec {
	percent := int32(80)
	return []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
	}}}
}

func defaultAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	setDefault(&h.Spec.MinReplicas, 1)
	if len(h.Spec.Metrics) == 0 {
		h.Spec.Metrics = cpuAt80()
	}
	if h.Spec.Behavior == nil {
		return
	}
	rules := func(to **autoscalingv2.HPAScalingRules, policies ...autoscalingv2.HPAScalingPolicy) {
		setDefault(to, autoscalingv2.HPAScalingRules{})
		setDefault(&(*to).SelectPolicy, autoscalingv2.MaxChangePolicySelect)
		if (*to).Policies == nil {
			(*to).Policies = policies
		}
	}
	allAtOnce := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}
	rules(&h.Spec.Behavior.ScaleUp, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}, allAtOnce)
	setDefault(&h.Spec.Behavior.ScaleUp.StabilizationWindowSeconds, 0)
	rules(&h.Spec.Behavior.ScaleDown, allAtOnce)
}

// metricsCell shows what is measured against what is wanted, two of them at most.
func metricsCell(h *autoscalingv2.HorizontalPodAutoscaler) string {
	if len(h.Spec.Metrics) == 0 {
		return "<none>"
	}
	var cells []string
	for i := range h.Spec.Metrics {
		var status *autoscalingv2.MetricStatus
		if i < len(h.Status.CurrentMetrics) {
			status = &h.Status.CurrentMetrics[i]
		}
		cells = append(cells, metricCell(&h.Spec.Metrics[i], status))
	}
	if more := len(cells) - 2; more > 0 {
		return fmt.Sprintf("%s + %d more...", strings.Join(cells[:2], ", "), more)
	}
	return strings.Join(cells, ", ")
}

func metricCell(m *autoscalingv2.MetricSpec, s *autoscalingv2.MetricStatus) string {
	if s == nil {
		s = &autoscalingv2.MetricStatus{}
	}
	switch {
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		var now *autoscalingv2.MetricValueStatus
		if s.External != nil {
			now = &s.External.Current
		}
		return valueCell(&m.External.Target, now)
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		var now *autoscalingv2.MetricValueStatus
		if s.Object != nil {
			now = &s.Object.Current
		}
		return valueCell(&m.Object.Target, now)
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		now := "<unknown>"
		if s.Pods != nil {
			now = quantity(s.Pods.Current.AverageValue)
		}
		return now + "/" + quantity(m.Pods.Target.AverageValue)
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		var now *autoscalingv2.MetricValueStatus
		if s.Resource != nil {
			now = &s.Resource.Current
		}
		return resourceCell(m.Resource.Name, &m.Resource.Target, now)
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		var now *autoscalingv2.MetricValueStatus
		if s.ContainerResource != nil {
			now = &s.ContainerResource.Current
		}
		return resourceCell(m.ContainerResource.Name, &m.ContainerResource.Target, now)
	}
	return "<unknown type>"
}

func valueCell(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	is := "<unknown>"
	if t.AverageValue != nil {
		if now != nil && now.AverageValue != nil {
			is = now.AverageValue.String()
		}
		return is + "/" + t.AverageValue.String() + " (avg)"
	}
	if now != nil {
		is = quantity(now.Value)
	}
	return is + "/" + quantity(t.Value)
}

func resourceCell(name corev1.ResourceName, t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	is, want := "<unknown>", "<auto>"
	if t.AverageValue != nil {
		if now != nil {
			is = quantity(now.AverageValue)
		}
		return fmt.Sprintf("%s: %s/%s", name, is, t.AverageValue.String())
	}
	if now != nil && now.AverageUtilization != nil {
		is = fmt.Sprintf("%d%%", *now.AverageUtilization)
	}
	if t.AverageUtilization != nil {
		want = fmt.Sprintf("%d%%", *t.AverageUtilization)
	}
	return fmt.Sprintf("%s: %s/%s", name, is, want)
}

func quantity(q *resource.Quantity) string {
	if q == nil {
		return "<nil>"
	}
	return q.String()
}
