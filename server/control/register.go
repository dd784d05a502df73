package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiregistration"
	"github.com/tenet-run/tenet/kinds/core"
)

// trust writes what other API servers need to know to believe this one: whose client certificates are users', and whose are the front proxy's.
func (c *Control) trust(ctx context.Context, api client.Client) error {
	if c.cfg.FrontProxy == nil {
		return nil
	}
	list := func(s ...string) string {
		b, _ := json.Marshal(s) // strings cannot fail
		return string(b)
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"},
		Data: map[string]string{
			"requestheader-username-headers":     list("X-Remote-User"),
			"requestheader-uid-headers":          list("X-Remote-Uid"),
			"requestheader-group-headers":        list("X-Remote-Group"),
			"requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
			"requestheader-allowed-names":        list(c.cfg.FrontProxy.Name),
			"requestheader-client-ca-file":       string(c.cfg.FrontProxy.CA),
		},
	}
	if len(c.cfg.CA) > 0 {
		cm.Data["client-ca-file"] = string(c.cfg.CA)
	}
	return c.put(ctx, api, core.ConfigMap, cm, func(have kinds.Object) bool { return maps.Equal(have.(*corev1.ConfigMap).Data, cm.Data) })
}

// together is how long more changes of what is served are waited for before APIServices are written.
const together = 100 * time.Millisecond

// registerGroups keeps an APIService for each group version that definitions serve here, as long as they do. (Those of the built-in ones are made at the start, when they
// are missing.) One commit makes a hundred. changed is closed with the next change of what is served.
func (c *Control) registerGroups(ctx context.Context, changed <-chan struct{}) error {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		// Definitions come many at once.
		select {
		case <-time.After(together):
		case <-ctx.Done():
			return ctx.Err()
		}
		changed = c.live.Changes()
		if err := c.register(ctx, false); err != nil && ctx.Err() == nil {
			c.cfg.Logger.Warn("the APIServices of local groups could not be written", "error", err)
		}
	}
}

func (c *Control) register(ctx context.Context, first bool) error {
	want := map[string]*apiregistrationv1.APIService{}
	for _, k := range c.live.List() {
		managed := apiregistration.ManagedOnStart
		if k.Custom() {
			managed = apiregistration.ManagedContinuously
		} else if !first {
			continue
		}
		for _, v := range k.Served {
			gv := schema.GroupVersion{Group: v.Group, Version: v.Version}
			if gv.Group != apiregistration.Group {
				a := apiregistration.Local(gv, managed)
				want[a.Name] = a
			}
		}
	}
	api := c.Client(systemUser)
	var errs []error
	for _, obj := range c.Cache.List(apiregistration.APIService, "", nil) {
		a := obj.(*apiregistrationv1.APIService)
		if want[a.Name] != nil {
			delete(want, a.Name)
			continue
		}
		if a.Labels[apiregistration.AutomanagedLabel] == apiregistration.ManagedContinuously && a.Spec.Service == nil {
			uid := a.UID
			err := api.Delete(ctx, apiregistration.APIService, "", a.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				errs = append(errs, fmt.Errorf("delete apiservice %s: %w", a.Name, err))
			}
		}
	}
	var missing []apiserver.NewObject
	for _, a := range want {
		missing = append(missing, apiserver.NewObject{Kind: apiregistration.APIService, Object: a})
	}
	if len(missing) > 0 {
		errs = append(errs, c.Server.CreateObjects(ctx, systemUser, missing))
	}
	return errors.Join(errs...)
}
