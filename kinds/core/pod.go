package core

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// Pod is a group of containers that run together on one node. What a PodSpec means is in kinds/podspec; here is what makes it an object.
var Pod = kinds.Define(kinds.Definition[*corev1.Pod, *corev1.PodList]{
	Group: "", Version: "v1", Kind: "Pod", Plural: "pods", ShortNames: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *corev1.Pod { return &corev1.Pod{} }, NewList: func() *corev1.PodList { return &corev1.PodList{} },
	Default:        podspec.SetPodDefaults,
	Spec:           func(p *corev1.Pod) any { return &p.Spec },
	CopyStatus:     func(dst, src *corev1.Pod) { dst.Status = src.Status },
	CopySpec:       beforePodStatus,
	StatusResets:   []string{"metadata.deletionTimestamp", "metadata.ownerReferences"},
	BeforeCreate:   beforePodCreate,
	BeforeUpdate:   func(p, old *corev1.Pod) { podspec.DropDisabledFields(&p.Spec, &old.Spec) },
	Canonicalize:   canonicalizePod,
	Validate:       podspec.ValidatePod,
	ValidateUpdate: podspec.ValidatePodUpdate,
	ValidateStatus: podspec.ValidateStatus,
	Warnings:       podWarnings,
	StatusWarnings: podStatusWarnings,
	ReturnDeleted:  true,
	Grace:          podGrace,
	Fields: map[string]func(*corev1.Pod) string{
		"spec.nodeName":            func(p *corev1.Pod) string { return p.Spec.NodeName },
		"spec.restartPolicy":       func(p *corev1.Pod) string { return string(p.Spec.RestartPolicy) },
		"spec.schedulerName":       func(p *corev1.Pod) string { return p.Spec.SchedulerName },
		"spec.serviceAccountName":  func(p *corev1.Pod) string { return p.Spec.ServiceAccountName },
		"spec.hostNetwork":         func(p *corev1.Pod) string { return strconv.FormatBool(p.Spec.HostNetwork) },
		"status.phase":             func(p *corev1.Pod) string { return string(p.Status.Phase) },
		"status.podIP":             podIP,
		"status.nominatedNodeName": func(p *corev1.Pod) string { return p.Status.NominatedNodeName },
	},
	Indexed:      []string{"spec.nodeName"},
	Columns:      podColumns,
	Row:          podRow,
	Subresources: podSubresources,
})

func podIP(p *corev1.Pod) string {
	if len(p.Status.PodIPs) > 0 {
		return p.Status.PodIPs[0].IP
	}
	return ""
}

func beforePodCreate(p *corev1.Pod) {
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: podspec.QOSClass(p)}
	podspec.DropDisabledFields(&p.Spec, nil)
	if len(p.Spec.SchedulingGates) > 0 {
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates", LastTransitionTime: p.CreationTimestamp,
		}}
	}
	podspec.MergeLabelKeys(&p.Spec, p.Labels)
}

// beforePodStatus keeps all but status, and in status what a node agent of an older version would wipe out because it does not know it.
func beforePodStatus(p, old *corev1.Pod) {
	p.Spec = old.Spec
	if p.Status.QOSClass == "" {
		p.Status.QOSClass = old.Status.QOSClass
	}
	if p.Status.ObservedGeneration == 0 {
		p.Status.ObservedGeneration = old.Status.ObservedGeneration
	}
	// Several conditions may have one type: they are paired in order.
	seen := map[corev1.PodConditionType]int{}
	for i := range p.Status.Conditions {
		cond, n := &p.Status.Conditions[i], 0
		for j := range old.Status.Conditions {
			if old.Status.Conditions[j].Type != cond.Type {
				continue
			}
			if n == seen[cond.Type] && cond.ObservedGeneration == 0 {
				cond.ObservedGeneration = old.Status.Conditions[j].ObservedGeneration
			}
			n++
		}
		seen[cond.Type]++
	}
	podspec.DropDisabledStatus(&p.Status, &old.Status)
}

// canonicalizePod runs after warnings, which tell of annotations that become fields here, in a create only.
func canonicalizePod(p *corev1.Pod) {
	p.Spec.DeprecatedServiceAccount = p.Spec.ServiceAccountName // admission may have chosen the account
	if p.ResourceVersion == "" || p.ResourceVersion == "0" {
		podspec.AppArmorFields(p)
	}
}

func podWarnings(p, old *corev1.Pod) []string {
	if old == nil {
		var out []string
		if details := validation.IsDNS1123Label(p.Name); len(details) > 0 {
			out = append(out, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", details))
		}
		out = append(out, podspec.AppArmorWarnings(p)...)
		return append(out, podspec.Warnings(p)...)
	}
	return nil // changes of the spec are made by programs, often: nobody reads warnings
}

// podStatusWarnings look at addresses that are new.
func podStatusWarnings(p, old *corev1.Pod) []string {
	var out []string
	status := field.NewPath("status")
	for i, ip := range p.Status.PodIPs {
		if i >= len(old.Status.PodIPs) || old.Status.PodIPs[i] != ip {
			out = append(out, validation.GetWarningsForIP(status.Child("podIPs").Index(i).Child("ip"), ip.IP)...)
		}
	}
	for i, ip := range p.Status.HostIPs {
		if i >= len(old.Status.HostIPs) || old.Status.HostIPs[i] != ip {
			out = append(out, validation.GetWarningsForIP(status.Child("hostIPs").Index(i).Child("ip"), ip.IP)...)
		}
	}
	return out
}

// podGrace is how long the node gets to end the containers. A pod that no node has, or that has ended, goes at once.
func podGrace(p *corev1.Pod, requested *int64) (int64, bool) {
	var seconds int64
	switch {
	case requested != nil:
		seconds = *requested
	case p.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *p.Spec.TerminationGracePeriodSeconds
	}
	if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		seconds = 0
	}
	if seconds < 0 {
		seconds = 1
	}
	return seconds, true
}

var podColumns = []metav1.TableColumnDefinition{
	kinds.NameColumn(),
	kinds.Column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
	kinds.Column("Status", "string", "The aggregate status of the containers in this pod."),
	kinds.Column("Restarts", "string", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
	kinds.AgeColumn(),
	kinds.WideColumn("IP", "string", corev1.PodStatus{}.SwaggerDoc()["podIP"]),
	kinds.WideColumn("Node", "string", corev1.PodSpec{}.SwaggerDoc()["nodeName"]),
	kinds.WideColumn("Nominated Node", "string", corev1.PodStatus{}.SwaggerDoc()["nominatedNodeName"]),
	kinds.WideColumn("Readiness Gates", "string", corev1.PodSpec{}.SwaggerDoc()["readinessGates"]),
}
