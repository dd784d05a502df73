package networking

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// leniency is what a changed Ingress may keep because the old one had it.
type leniency struct {
	secrets   bool // names of secrets that are none
	wildcards bool // rules for wildcard hosts that are wrong
}

// validateIngress holds for creates (old is nil) and updates.
func validateIngress(s, old *networkingv1.IngressSpec) (errs field.ErrorList) {
	fld := field.NewPath("spec")
	var may leniency
	if old != nil {
		for _, tls := range old.TLS {
			may.secrets = may.secrets || tls.SecretName != "" && len(validation.IsDNS1123Subdomain(tls.SecretName)) > 0
		}
		for i := range old.Rules {
			may.wildcards = may.wildcards || strings.Contains(old.Rules[i].Host, "*") && len(validateRule(&old.Rules[i], nil)) > 0
		}
	}
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		errs = append(errs, field.Invalid(fld, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		errs = append(errs, validateBackend(s.DefaultBackend, fld.Child("defaultBackend"))...)
	}
	for i := range s.Rules {
		errs = append(errs, validateHostRule(&s.Rules[i], may, fld.Child("rules").Index(i))...)
	}
	for i := range s.TLS {
		at := fld.Child("tls").Index(i)
		for k, host := range s.TLS[i].Hosts {
			errs = append(errs, validateHost(host, at.Child("hosts").Index(k))...)
		}
		if name := s.TLS[i].SecretName; name != "" && !may.secrets {
			errs = append(errs, each(name, validation.IsDNS1123Subdomain(name), at.Child("secretName"))...)
		}
	}
	if name := s.IngressClassName; name != nil {
		errs = append(errs, each(*name, validation.IsDNS1123Subdomain(*name), fld.Child("ingressClassName"))...)
	}
	return errs
}

func validateHost(host string, fld *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return each(host, validation.IsWildcardDNS1123Subdomain(host), fld)
	}
	return each(host, validation.IsDNS1123Subdomain(host), fld)
}

func validateHostRule(r *networkingv1.IngressRule, may leniency, fld *field.Path) (errs field.ErrorList) {
	if r.Host != "" {
		if netutils.ParseIPSloppy(r.Host) != nil {
			errs = append(errs, field.Invalid(fld.Child("host"), r.Host, "must be a DNS name, not an IP address"))
		}
		errs = append(errs, validateHost(r.Host, fld.Child("host"))...)
	}
	if may.wildcards && strings.Contains(r.Host, "*") {
		return errs
	}
	return append(errs, validateRule(r, fld)...)
}

func validateRule(r *networkingv1.IngressRule, fld *field.Path) (errs field.ErrorList) {
	if r.HTTP == nil {
		return nil
	}
	paths := fld.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		errs = append(errs, field.Required(paths, ""))
	}
	for i := range r.HTTP.Paths {
		errs = append(errs, validatePath(&r.HTTP.Paths[i], paths.Index(i))...)
	}
	return errs
}

func validatePath(p *networkingv1.HTTPIngressPath, fld *field.Path) (errs field.ErrorList) {
	at := fld.Child("path")
	if p.PathType == nil {
		return field.ErrorList{field.Required(fld.Child("pathType"), "pathType must be specified")}
	}
	absolute := func() {
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(at, p.Path, "must be an absolute path"))
		}
	}
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		absolute()
		for _, part := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, part) {
				errs = append(errs, field.Invalid(at, p.Path, fmt.Sprintf("must not contain '%s'", part)))
			}
		}
		for _, end := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, end) {
				errs = append(errs, field.Invalid(at, p.Path, fmt.Sprintf("cannot end with '%s'", end)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" {
			absolute()
		}
	default:
		errs = append(errs, field.NotSupported(fld.Child("pathType"), *p.PathType,
			[]networkingv1.PathType{networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}))
	}
	return append(errs, validateBackend(&p.Backend, fld.Child("backend"))...)
}

func validateBackend(b *networkingv1.IngressBackend, fld *field.Path) (errs field.ErrorList) {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(fld, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return validateReference(b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name, fld.Child("resource"))
	case b.Service == nil:
		return field.ErrorList{field.Invalid(fld, "", "resource or service backend is required")}
	}
	service := fld.Child("service")
	if b.Service.Name == "" {
		errs = append(errs, field.Required(service.Child("name"), ""))
	} else {
		errs = append(errs, each(b.Service.Name, apivalidation.NameIsDNSLabel(b.Service.Name, false), service.Child("name"))...)
	}
	switch port := b.Service.Port; {
	case port.Name != "" && port.Number != 0:
		errs = append(errs, field.Invalid(fld, "", "cannot set both port name & port number"))
	case port.Name != "":
		errs = append(errs, each(port.Name, validation.IsValidPortName(port.Name), service.Child("port", "name"))...)
	case port.Number != 0:
		for _, msg := range validation.IsValidPortNum(int(port.Number)) {
			errs = append(errs, field.Invalid(service.Child("port", "number"), port.Number, msg))
		}
	default:
		errs = append(errs, field.Required(fld, "port name or number is required"))
	}
	return errs
}

func validateIngressStatus(i, old *networkingv1.Ingress) (errs field.ErrorList) {
	var known []string
	for _, in := range old.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			known = append(known, in.IP)
		}
	}
	for k, in := range i.Status.LoadBalancer.Ingress {
		fld := field.NewPath("status", "loadBalancer", "ingress").Index(k)
		if in.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(fld.Child("ip"), in.IP, true, known)...)
		}
		if in.Hostname != "" {
			errs = append(errs, each(in.Hostname, validation.IsDNS1123Subdomain(in.Hostname), fld.Child("hostname"))...)
			if netutils.ParseIPSloppy(in.Hostname) != nil {
				errs = append(errs, field.Invalid(fld.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
