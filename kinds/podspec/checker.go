package podspec

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checker collects what is wrong with one pod or template. Its methods are named after what they check and report at the path they are given.
type checker struct {
	errs field.ErrorList
	leniency
}

func (c *checker) invalid(p *field.Path, value any, detail string) {
	c.errs = append(c.errs, field.Invalid(p, value, detail))
}
func (c *checker) required(p *field.Path, detail string) {
	c.errs = append(c.errs, field.Required(p, detail))
}
func (c *checker) forbidden(p *field.Path, detail string) {
	c.errs = append(c.errs, field.Forbidden(p, detail))
}
func (c *checker) duplicate(p *field.Path, value any) {
	c.errs = append(c.errs, field.Duplicate(p, value))
}
func (c *checker) notFound(p *field.Path, value any) {
	c.errs = append(c.errs, field.NotFound(p, value))
}
func (c *checker) tooLong(p *field.Path, max int) {
	c.errs = append(c.errs, field.TooLong(p, "", max))
}
func (c *checker) add(errs field.ErrorList) { c.errs = append(c.errs, errs...) }

// each reports every message about one value.
func (c *checker) each(p *field.Path, value any, details []string) {
	for _, d := range details {
		c.invalid(p, value, d)
	}
}

// oneOf reports a value that is not among those allowed, which the message lists in the order given.
func oneOf[T ~string](c *checker, p *field.Path, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		c.errs = append(c.errs, field.NotSupported(p, value, allowed))
	}
}

// setOneOf is oneOf for fields whose absence is an error of its own.
func setOneOf[T ~string](c *checker, p *field.Path, value T, allowed ...T) {
	if value == "" {
		c.required(p, "")
		return
	}
	oneOf(c, p, value, allowed...)
}

func (c *checker) dnsLabel(p *field.Path, value string) {
	c.each(p, value, validation.IsDNS1123Label(value))
}
func (c *checker) dnsSubdomain(p *field.Path, value string) {
	c.each(p, value, validation.IsDNS1123Subdomain(value))
}
func (c *checker) qualifiedName(p *field.Path, value string) {
	c.each(p, value, validation.IsQualifiedName(value))
}
func (c *checker) notEmpty(p *field.Path, value string) {
	if value == "" {
		c.required(p, "")
	}
}

// requiredDNSLabel is a name that must be there and be a DNS label.
func (c *checker) requiredDNSLabel(p *field.Path, value string) {
	if value == "" {
		c.required(p, "")
		return
	}
	c.dnsLabel(p, value)
}

func (c *checker) nonNegative(p *field.Path, value int64) {
	if value < 0 {
		c.invalid(p, value, "must be greater than or equal to 0")
	}
}
func (c *checker) positive(p *field.Path, value int64) {
	if value <= 0 {
		c.invalid(p, value, "must be greater than zero")
	}
}
func (c *checker) nonNegativeQuantity(p *field.Path, q resource.Quantity) {
	if q.Sign() < 0 {
		c.invalid(p, q.String(), "must be greater than or equal to 0")
	}
}

func (c *checker) positiveQuantity(p *field.Path, q resource.Quantity) {
	if q.Sign() <= 0 {
		c.invalid(p, q.String(), "must be greater than zero")
	}
}

// basicQuantity is an amount of whole units that is not negative.
func (c *checker) basicQuantity(p *field.Path, q resource.Quantity) {
	if q.Value() < 0 {
		c.invalid(p, q.Value(), "must be a valid resource quantity")
	}
}

func (c *checker) portNumber(p *field.Path, port int32) {
	c.each(p, port, validation.IsValidPortNum(int(port)))
}

func (c *checker) portNumberOrName(p *field.Path, port intstr.IntOrString) {
	if port.Type == intstr.String {
		c.each(p, port.StrVal, validation.IsValidPortName(port.StrVal))
		return
	}
	c.each(p, port.IntValue(), validation.IsValidPortNum(port.IntValue()))
}

const fileModeDetail = "must be a number between 0 and 0777 (octal), both inclusive"

func (c *checker) fileMode(p *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0777) {
		c.invalid(p, *mode, fileModeDetail)
	}
}

// noBacksteps is a path without "..".
func (c *checker) noBacksteps(p *field.Path, target string) {
	if hasBackstep(target) {
		c.invalid(p, target, "must not contain '..'")
	}
}

func hasBackstep(target string) bool {
	if !strings.Contains(target, "..") {
		return false
	}
	return slices.Contains(strings.Split(target, "/"), "..")
}

// descendingPath is a relative path without "..".
func (c *checker) descendingPath(p *field.Path, target string) {
	if path.IsAbs(target) {
		c.invalid(p, target, "must be a relative path")
	}
	c.noBacksteps(p, target)
}

// keyPath is a descending path below a volume whose first name does not begin with "..": such names are the volume writer's own.
func (c *checker) keyPath(p *field.Path, target string) {
	c.descendingPath(p, target)
	if strings.HasPrefix(target, "..") && !strings.HasPrefix(target, "../") {
		c.invalid(p, target, "must not start with '..'")
	}
}

func (c *checker) labelSelector(p *field.Path, s *metav1.LabelSelector, anyValue bool) {
	c.add(metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: anyValue}, p))
}

func (c *checker) ip(p *field.Path, value string, old []string) {
	c.add(validation.IsValidIPForLegacyField(p, value, true, old))
}

// requiredSecretRef checks the optional reference to a secret that many volume sources have.
func (c *checker) requiredSecretRef(p *field.Path, ref *corev1.LocalObjectReference) {
	if ref != nil {
		c.notEmpty(p.Child("secretRef", "name"), ref.Name)
	}
}
