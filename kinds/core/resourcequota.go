package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
)

// ResourceQuota bounds what all objects of a namespace ask for together.
var ResourceQuota = kinds.Define(kinds.Definition[*corev1.ResourceQuota, *corev1.ResourceQuotaList]{
	Group: "", Version: "v1", Kind: "ResourceQuota", Plural: "resourcequotas", ShortNames: []string{"quota"}, Namespaced: true,
	ReturnDeleted: true,
	New:           func() *corev1.ResourceQuota { return &corev1.ResourceQuota{} },
	NewList:       func() *corev1.ResourceQuotaList { return &corev1.ResourceQuotaList{} },
	Default: func(q *corev1.ResourceQuota) {
		roundUp(q.Spec.Hard)
		roundUp(q.Status.Hard)
		roundUp(q.Status.Used)
	},
	CopyStatus:     func(dst, src *corev1.ResourceQuota) { dst.Status = src.Status },
	CopySpec:       func(dst, src *corev1.ResourceQuota) { dst.Spec = src.Spec },
	Validate:       validateQuota,
	ValidateUpdate: validateQuotaChange,
	ValidateStatus: func(q, _ *corev1.ResourceQuota) fieldErrors { return validateQuotaStatus(&q.Status) },
	Warnings: func(q, old *corev1.ResourceQuota) []string {
		if old != nil {
			return nil
		}
		return quotaWarnings(q.Spec.Hard)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Request", "string", "Request represents a minimum amount of cpu/memory that a container may consume."),
		kinds.Column("Limit", "string", "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
		kinds.AgeColumn(),
	},
	Row: func(q *corev1.ResourceQuota) []any {
		var requests, limits []string
		for _, name := range sortedKeys(q.Status.Hard) {
			used, hard := q.Status.Used[name], q.Status.Hard[name]
			cell := fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
			if strings.HasPrefix(string(name), "limits.") {
				limits = append(limits, cell)
			} else {
				requests = append(requests, cell)
			}
		}
		return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), kinds.Age(q.CreationTimestamp)}
	},
})

// quotaWarnings tell of requests that may be higher than limits.
func quotaWarnings(hard corev1.ResourceList) (out []string) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceStorage, corev1.ResourceEphemeralStorage} {
		requestName, limitName := "requests."+name, "limits."+name
		request, has := hard[requestName]
		if !has && (name == corev1.ResourceCPU || name == corev1.ResourceMemory) {
			requestName = name
			request, has = hard[name]
		}
		if limit, limited := hard[limitName]; has && limited && request.Cmp(limit) > 0 {
			out = append(out, fmt.Sprintf("ResourceQuota %s (%s) should be less than %s (%s)", requestName, request.String(), limitName, limit.String()))
		}
	}
	return out
}
