package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
)

// ComponentStatus told of the health of parts that were processes of their own. There are none here: it can be read, and lists nothing.
var ComponentStatus = kinds.Define(kinds.Definition[*corev1.ComponentStatus, *corev1.ComponentStatusList]{
	Group: "", Version: "v1", Kind: "ComponentStatus", Plural: "componentstatuses", ShortNames: []string{"cs"},
	Deprecated:   "v1 ComponentStatus is deprecated in v1.19+",
	WithoutVerbs: []string{"watch", "create", "update", "patch", "delete", "deletecollection"},
	New:          func() *corev1.ComponentStatus { return &corev1.ComponentStatus{} },
	NewList:      func() *corev1.ComponentStatusList { return &corev1.ComponentStatusList{} },
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Status", "string", "Status of the component conditions"),
		kinds.Column("Message", "string", "Message of the component conditions"),
		kinds.Column("Error", "string", "Error of the component conditions"),
	},
	Row: func(s *corev1.ComponentStatus) []any {
		status, message, problem := "Unknown", "", ""
		for _, c := range s.Conditions {
			if c.Type == corev1.ComponentHealthy {
				status, message, problem = "Unhealthy", c.Message, c.Error
				if c.Status == corev1.ConditionTrue {
					status = "Healthy"
				}
				break
			}
		}
		return []any{s.Name, status, message, problem}
	},
})
