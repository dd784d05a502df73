package apiregistration

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tenet-run/tenet/kinds"
)

// APIService says who serves one version of an API group: this server, when it names no Service, or another one behind a Service.
var APIService = kinds.Define(kinds.Definition[*apiregistrationv1.APIService, *apiregistrationv1.APIServiceList]{
	Group: Group, Version: "v1", Kind: "APIService", Plural: "apiservices", Categories: []string{"api-extensions"},
	Prefix:    "apiregistration.k8s.io/apiservices",
	New:       func() *apiregistrationv1.APIService { return &apiregistrationv1.APIService{} },
	NewList:   func() *apiregistrationv1.APIServiceList { return &apiregistrationv1.APIServiceList{} },
	ValidName: func(name string, prefix bool) []string { return path.IsValidPathSegmentName(name) },
	Default: func(a *apiregistrationv1.APIService) {
		if s := a.Spec.Service; s != nil && s.Port == nil {
			port := int32(443)
			s.Port = &port
		}
	},
	CopyStatus: func(dst, src *apiregistrationv1.APIService) { dst.Status = src.Status },
	CopySpec: func(dst, src *apiregistrationv1.APIService) {
		dst.Spec, dst.Labels, dst.Annotations, dst.Finalizers = src.Spec, src.Labels, src.Annotations, src.Finalizers
	},
	StatusResets:          []string{"metadata"},
	NoUnconditionalUpdate: true,
	Stamp: func(a, old *apiregistrationv1.APIService, now metav1.Time) {
		if old == nil && a.Spec.Service == nil {
			SetCondition(a, apiregistrationv1.APIServiceCondition{
				Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, LastTransitionTime: now,
				Reason: "Local", Message: "Local APIServices are always available",
			})
		}
	},
	Validate:       validateAPIService,
	ValidateStatus: func(a, _ *apiregistrationv1.APIService) field.ErrorList { return validateStatus(&a.Status) },
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Service", "string", "The reference to the service that hosts this API endpoint."),
		kinds.Column("Available", "string", "Whether this service is available."),
		{Name: "Age", Type: "string", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
	},
	Row: func(a *apiregistrationv1.APIService) []any {
		service, available := "Local", string(apiregistrationv1.ConditionUnknown)
		if s := a.Spec.Service; s != nil {
			service = s.Namespace + "/" + s.Name
		}
		if c := Condition(a, apiregistrationv1.Available); c != nil {
			available = string(c.Status)
			if c.Status != apiregistrationv1.ConditionTrue && c.Reason != "" {
				available += " (" + c.Reason + ")"
			}
		}
		return []any{a.Name, service, available, kinds.Age(a.CreationTimestamp)}
	},
})

func validateAPIService(a *apiregistrationv1.APIService) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if must := a.Spec.Version + "." + a.Spec.Group; a.Name != "" && a.Name != must && len(path.IsValidPathSegmentName(a.Name)) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), a.Name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", must)))
	}
	if a.Spec.Group == "" {
		if a.Spec.Version != "v1" {
			errs = append(errs, field.Required(spec.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
		}
	} else {
		for _, text := range validation.IsDNS1123Subdomain(a.Spec.Group) {
			errs = append(errs, field.Invalid(spec.Child("group"), a.Spec.Group, text))
		}
	}
	for _, text := range validation.IsDNS1035Label(a.Spec.Version) {
		errs = append(errs, field.Invalid(spec.Child("version"), a.Spec.Version, text))
	}
	if p := a.Spec.GroupPriorityMinimum; p <= 0 || p > 20000 {
		errs = append(errs, field.Invalid(spec.Child("groupPriorityMinimum"), p, "must be positive and less than 20000"))
	}
	if p := a.Spec.VersionPriority; p <= 0 || p > 1000 {
		errs = append(errs, field.Invalid(spec.Child("versionPriority"), p, "must be positive and less than 1000"))
	}
	s := a.Spec.Service
	if s == nil {
		if n := len(a.Spec.CABundle); n != 0 {
			errs = append(errs, field.Invalid(spec.Child("caBundle"), fmt.Sprintf("%d bytes", n), "local APIServices may not have a caBundle"))
		}
		if a.Spec.InsecureSkipTLSVerify {
			errs = append(errs, field.Invalid(spec.Child("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify"))
		}
		return errs
	}
	if s.Namespace == "" {
		errs = append(errs, field.Required(spec.Child("service", "namespace"), ""))
	}
	if s.Name == "" {
		errs = append(errs, field.Required(spec.Child("service", "name"), ""))
	}
	port := int32(0)
	if s.Port != nil {
		port = *s.Port
	}
	if texts := validation.IsValidPortNum(int(port)); texts != nil {
		errs = append(errs, field.Invalid(spec.Child("service", "port"), port, "port is not valid: "+strings.Join(texts, ", ")))
	}
	if a.Spec.InsecureSkipTLSVerify && len(a.Spec.CABundle) > 0 {
		errs = append(errs, field.Invalid(spec.Child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present"))
	}
	return errs
}

func validateStatus(s *apiregistrationv1.APIServiceStatus) (errs field.ErrorList) {
	known := []apiregistrationv1.ConditionStatus{apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown}
	for i, c := range s.Conditions {
		switch c.Status {
		case known[0], known[1], known[2]:
		default:
			errs = append(errs, field.NotSupported(field.NewPath("status", "conditions").Index(i).Child("status"), c.Status, known))
		}
	}
	return errs
}

// Condition is the condition of a type, or nil.
func Condition(a *apiregistrationv1.APIService, t apiregistrationv1.APIServiceConditionType) *apiregistrationv1.APIServiceCondition {
	for i := range a.Status.Conditions {
		if a.Status.Conditions[i].Type == t {
			return &a.Status.Conditions[i]
		}
	}
	return nil
}

// SetCondition adds a condition, or changes the one of its type, whose time moves when its status does. It reports whether anything changed.
func SetCondition(a *apiregistrationv1.APIService, c apiregistrationv1.APIServiceCondition) bool {
	had := Condition(a, c.Type)
	if had == nil {
		a.Status.Conditions = append(a.Status.Conditions, c)
		return true
	}
	if had.Status == c.Status {
		c.LastTransitionTime = had.LastTransitionTime
	}
	changed := *had != c
	*had = c
	return changed
}

// Available reports that requests may be sent to whoever serves the group version.
func Available(a *apiregistrationv1.APIService) bool {
	c := Condition(a, apiregistrationv1.Available)
	return c != nil && c.Status == apiregistrationv1.ConditionTrue
}
