package services

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// Dial connects to a ready endpoint of a Service, or, when none is known, to its cluster address: the API server needs no service proxy.
func Dial(ctx context.Context, read admission.Reader, network, namespace, name string, port int32) (net.Conn, error) {
	obj, ok := read.Peek(core.Service, namespace, name)
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("service"), name)
	}
	svc := obj.(*corev1.Service)
	addresses, err := Addresses(read, svc, port)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	var errs []error
	for i, a := range addresses {
		if i == 3 { // the time is that of one call
			break
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, a)
		if err == nil {
			return conn, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errs[0]
}

// Addresses are host:port of what is ready behind a port of a Service.
func Addresses(read admission.Reader, svc *corev1.Service, port int32) ([]string, error) {
	var sp *corev1.ServicePort
	for i := range svc.Spec.Ports {
		if svc.Spec.Ports[i].Port == port {
			sp = &svc.Spec.Ports[i]
		}
	}
	if sp == nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, svc.Name))
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return []string{net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(port)))}, nil
	}
	var out []string
	slices := read.PeekList(discovery.EndpointSlice, svc.Namespace, labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: svc.Name}))
	for _, obj := range slices {
		s := obj.(*discoveryv1.EndpointSlice)
		for _, p := range s.Ports {
			if p.Port == nil || p.Name == nil || *p.Name != sp.Name {
				continue
			}
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready {
					continue
				}
				for _, a := range e.Addresses {
					out = append(out, net.JoinHostPort(a, strconv.Itoa(int(*p.Port))))
				}
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if obj, ok := read.Peek(core.Endpoints, svc.Namespace, svc.Name); ok {
		for _, set := range obj.(*corev1.Endpoints).Subsets {
			for _, p := range set.Ports {
				if p.Name != sp.Name {
					continue
				}
				for _, a := range set.Addresses {
					out = append(out, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
				}
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if len(slices) > 0 { // its endpoints are known, and there are none
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", svc.Name))
	}
	if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil {
		return []string{net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))}, nil
	}
	return nil, errNoAddress
}

var errNoAddress = errors.New("the service has neither endpoints nor an address")
