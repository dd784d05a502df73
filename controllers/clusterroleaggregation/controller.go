// Package clusterroleaggregation fills the rules of ClusterRoles that gather those of others by label (aggregationRule): admin, edit and view, to which whoever
// brings new kinds adds.
package clusterroleaggregation

import (
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/rbac"
)

// New is the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "clusterroleaggregation", Component: "clusterrole-aggregation-controller",
		Inputs:  []controllers.Input{{Kind: rbac.ClusterRole, Keys: gatherers}},
		Outputs: []controllers.Output{{Kind: rbac.ClusterRole, Fields: "rules where there is an aggregationRule"}},
		Plan:    Plan,
	}
}

// gatherers are all roles that gather: which of them a role concerns is for the plan to find out, and there are few.
func gatherers(r controllers.Reader, k *kinds.Kind, _ client.Change) []controllers.Key {
	var keys []controllers.Key
	for _, role := range controllers.All[*rbacv1.ClusterRole](r, k, "") {
		if role.AggregationRule != nil {
			keys = append(keys, controllers.KeyOf(role))
		}
	}
	return keys
}
