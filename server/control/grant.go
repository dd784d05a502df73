package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/authz/policy"
	"github.com/tenet-run/tenet/controllers/clusterroleaggregation"
)

// grant brings the default roles and bindings up to date. In a new cluster they are made in two commits; later, nothing is written unless something is missing.
func (c *Control) grant(ctx context.Context) error {
	p, err := policy.Load()
	if err != nil {
		return err
	}
	api := c.Client(systemUser)
	var missing []apiserver.NewObject
	for _, ch := range p.Reconcile(c.Cache.Get) {
		var err error
		switch {
		case ch.Replaces == nil:
			missing = append(missing, apiserver.NewObject{Kind: ch.Kind, Object: ch.Object})
		case ch.Recreate:
			uid := ch.Replaces.GetUID()
			err = api.Delete(ctx, ch.Kind, ch.Object.GetNamespace(), ch.Object.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			if err == nil || apierrors.IsNotFound(err) {
				missing, err = append(missing, apiserver.NewObject{Kind: ch.Kind, Object: ch.Object}), nil
			}
		default:
			_, err = api.Update(ctx, ch.Kind, ch.Object, "", metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("default %s %s: %w", ch.Kind.Singular, ch.Object.GetName(), err)
		}
	}
	if err := gather(missing); err != nil {
		return err
	}
	return c.Server.CreateObjects(ctx, systemUser, missing)
}

// gather fills new roles that gather others, so that a new cluster begins with what their controller would make of it a moment later. Roles gather from roles
// that gather: admin from edit, edit from view.
func gather(list []apiserver.NewObject) error {
	var all []*rbacv1.ClusterRole
	for _, n := range list {
		if r, ok := n.Object.(*rbacv1.ClusterRole); ok {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	for range 3 {
		for _, r := range all {
			if r.AggregationRule == nil {
				continue
			}
			rules, err := clusterroleaggregation.Gather(r, all)
			if err != nil {
				return err
			}
			r.Rules = rules
		}
	}
	return nil
}
