package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
	"github.com/tenet-run/tenet/kinds/networking"
	"github.com/tenet-run/tenet/kinds/scheduling"
)

// bootstrap makes the objects that every cluster has. What is there already is left alone.
func (c *Control) bootstrap(ctx context.Context) error {
	api := c.Client(systemUser)
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
		if err := ensure(ctx, api, c.Cache, core.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	if err := c.grant(ctx); err != nil {
		return err
	}
	if err := c.trust(ctx, api); err != nil {
		return err
	}
	never := corev1.PreemptLowerPriority
	for name, p := range map[string]struct {
		value int32
		text  string
	}{
		"system-node-critical":    {2000001000, "Used for system critical pods that must not be moved from their current node."},
		"system-cluster-critical": {2000000000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."},
	} {
		pc := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: p.value, Description: p.text, PreemptionPolicy: &never}
		if err := ensure(ctx, api, c.Cache, scheduling.PriorityClass, pc); err != nil {
			return err
		}
	}
	single := corev1.IPFamilyPolicySingleStack
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes", Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: c.cfg.ServiceIP.String(), ClusterIPs: []string{c.cfg.ServiceIP.String()}, IPFamilyPolicy: &single,
			Type: corev1.ServiceTypeClusterIP, SessionAffinity: corev1.ServiceAffinityNone,
			Ports: []corev1.ServicePort{{Name: "https", Protocol: corev1.ProtocolTCP, Port: 443, TargetPort: intstr.FromInt(c.cfg.Port)}},
		},
	}
	if err := ensure(ctx, api, c.Cache, core.Service, service); err != nil {
		return err
	}
	return c.declareRange(ctx, api)
}

// declareRange shows the range of cluster addresses as the ServiceCIDR "kubernetes". One with other ranges is left alone: it says nothing of this server.
func (c *Control) declareRange(ctx context.Context, api client.Client) error {
	cidrs := []string{c.cfg.ServiceCIDR.String()}
	own := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
	have, ok := c.Cache.Get(networking.ServiceCIDR, "", own.Name)
	if !ok {
		made, err := api.Create(ctx, networking.ServiceCIDR, own, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("create servicecidr %s: %w", own.Name, err)
		}
		have = made
	}
	r := have.(*networkingv1.ServiceCIDR)
	if !slices.Equal(r.Spec.CIDRs, cidrs) || meta.FindStatusCondition(r.Status.Conditions, networkingv1.ServiceCIDRConditionReady) != nil {
		return nil
	}
	r = r.DeepCopy()
	meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue,
		LastTransitionTime: metav1.Now(), Message: "Kubernetes default Service CIDR is ready"})
	if _, err := api.Update(ctx, networking.ServiceCIDR, r, "status", metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update servicecidr %s: %w", r.Name, err)
	}
	return nil
}

func ensure(ctx context.Context, api client.Client, cache client.Cache, k *kinds.Kind, obj kinds.Object) error {
	if _, ok := cache.Get(k, obj.GetNamespace(), obj.GetName()); ok {
		return nil
	}
	if _, err := api.Create(ctx, k, obj, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s %s: %w", k.Singular, obj.GetName(), err)
	}
	return nil
}

// Advertise makes ip:port the endpoint of the Service default/kubernetes, where clients inside the cluster find the API server.
func (c *Control) Advertise(ctx context.Context, ip netip.Addr, port int) error {
	api := c.Client(systemUser)
	p, name, protocol, ready, managed := int32(port), "https", corev1.ProtocolTCP, true, map[string]string{discoveryv1.LabelSkipMirror: "true"}
	endpoints := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes", Labels: managed},
		Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: ip.String()}}, Ports: []corev1.EndpointPort{{Name: name, Port: p, Protocol: protocol}}}},
	}
	family := discoveryv1.AddressTypeIPv4
	if ip.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: family,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &p, Protocol: &protocol}},
	}
	if err := c.put(ctx, api, core.Endpoints, endpoints, func(have kinds.Object) bool {
		return equality.Semantic.DeepEqual(have.(*corev1.Endpoints).Subsets, endpoints.Subsets)
	}); err != nil {
		return err
	}
	return c.put(ctx, api, discovery.EndpointSlice, slice, func(have kinds.Object) bool {
		h := have.(*discoveryv1.EndpointSlice)
		return h.AddressType == family && len(h.Endpoints) == 1 && equality.Semantic.DeepEqual(h.Endpoints[0].Addresses, slice.Endpoints[0].Addresses) &&
			equality.Semantic.DeepEqual(h.Ports, slice.Ports)
	})
}

// put makes an object what it should be, unless same says that it is.
func (c *Control) put(ctx context.Context, api client.Client, k *kinds.Kind, obj kinds.Object, same func(have kinds.Object) bool) error {
	have, ok := c.Cache.Get(k, obj.GetNamespace(), obj.GetName())
	if !ok {
		return ensure(ctx, api, c.Cache, k, obj)
	}
	if same(have) {
		return nil
	}
	obj.SetResourceVersion(have.GetResourceVersion())
	if _, err := api.Update(ctx, k, obj, "", metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update %s %s: %w", k.Singular, obj.GetName(), err)
	}
	return nil
}
