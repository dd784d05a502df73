package flowcontrol

import (
	"fmt"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateSchemaSpec(name string, s *flowcontrolv1.FlowSchemaSpec) (errs field.ErrorList) {
	fld := field.NewPath("spec")
	at, n := fld.Child("matchingPrecedence"), s.MatchingPrecedence
	if n <= 0 {
		errs = append(errs, field.Invalid(at, n, "must be a positive value"))
	}
	if n > flowcontrolv1.FlowSchemaMaxMatchingPrecedence {
		errs = append(errs, field.Invalid(at, n, fmt.Sprintf("must not be greater than %v", flowcontrolv1.FlowSchemaMaxMatchingPrecedence)))
	}
	if n == 1 && name != flowcontrolv1.FlowSchemaNameExempt {
		errs = append(errs, field.Invalid(at, n, "only the schema named 'exempt' may have matchingPrecedence 1"))
	}
	if m := s.DistinguisherMethod; m != nil && m.Type != flowcontrolv1.FlowDistinguisherMethodByNamespaceType && m.Type != flowcontrolv1.FlowDistinguisherMethodByUserType {
		errs = append(errs, field.NotSupported(fld.Child("distinguisherMethod", "type"), m,
			[]string{string(flowcontrolv1.FlowDistinguisherMethodByNamespaceType), string(flowcontrolv1.FlowDistinguisherMethodByUserType)}))
	}
	at = fld.Child("priorityLevelConfiguration", "name")
	if level := s.PriorityLevelConfiguration.Name; level == "" {
		errs = append(errs, field.Required(at, "must reference a priority level"))
	} else {
		for _, msg := range validation.IsDNS1123Subdomain(level) {
			errs = append(errs, field.Invalid(at, level, msg))
		}
	}
	for i := range s.Rules {
		errs = append(errs, validateRules(&s.Rules[i], fld.Child("rules").Index(i))...)
	}
	return errs
}

func validateRules(r *flowcontrolv1.PolicyRulesWithSubjects, fld *field.Path) (errs field.ErrorList) {
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(fld.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range r.Subjects {
		errs = append(errs, validateSubject(&r.Subjects[i], fld.Child("subjects").Index(i))...)
	}
	if len(r.ResourceRules)+len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(fld, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, validateResourceRule(&r.ResourceRules[i], fld.Child("resourceRules").Index(i))...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, validateURLRule(&r.NonResourceRules[i], fld.Child("nonResourceRules").Index(i))...)
	}
	return errs
}

func validateSubject(s *flowcontrolv1.Subject, fld *field.Path) (errs field.ErrorList) {
	type part struct {
		kind  flowcontrolv1.SubjectKind
		name  string
		set   bool
		check func(*field.Path) field.ErrorList
	}
	named := func(name string, fld *field.Path) field.ErrorList {
		if name == "" {
			return field.ErrorList{field.Required(fld.Child("name"), "")}
		}
		return nil
	}
	parts := []part{
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil, func(p *field.Path) field.ErrorList { return validateAccount(s.ServiceAccount, p) }},
		{flowcontrolv1.SubjectKindUser, "user", s.User != nil, func(p *field.Path) field.ErrorList { return named(s.User.Name, p) }},
		{flowcontrolv1.SubjectKindGroup, "group", s.Group != nil, func(p *field.Path) field.ErrorList { return named(s.Group.Name, p) }},
	}
	i := slices.IndexFunc(parts, func(p part) bool { return p.kind == s.Kind })
	if i < 0 {
		return field.ErrorList{field.NotSupported(fld.Child("kind"), s.Kind,
			[]flowcontrolv1.SubjectKind{flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser})}
	}
	if own := parts[i]; own.set {
		errs = own.check(fld.Child(own.name))
	} else {
		errs = append(errs, field.Required(fld.Child(own.name), fmt.Sprintf("%s is required when subject kind is '%s'", own.name, own.kind)))
	}
	for _, p := range parts {
		if p.kind != s.Kind && p.set {
			errs = append(errs, field.Forbidden(fld.Child(p.name), fmt.Sprintf("%s is forbidden when subject kind is not '%s'", p.name, p.kind)))
		}
	}
	return errs
}

func validateAccount(s *flowcontrolv1.ServiceAccountSubject, fld *field.Path) (errs field.ErrorList) {
	if at := fld.Child("name"); s.Name == "" {
		errs = append(errs, field.Required(at, ""))
	} else if s.Name != flowcontrolv1.NameAll {
		for _, msg := range apivalidation.ValidateServiceAccountName(s.Name, false) {
			errs = append(errs, field.Invalid(at, s.Name, msg))
		}
	}
	if at := fld.Child("namespace"); s.Namespace == "" {
		errs = append(errs, field.Required(at, "must specify namespace for service account"))
	} else {
		for _, msg := range apivalidation.ValidateNamespaceName(s.Namespace, false) {
			errs = append(errs, field.Invalid(at, s.Namespace, msg))
		}
	}
	return errs
}

func validateVerbs(list []string, fld *field.Path) field.ErrorList {
	fld = fld.Child("verbs")
	switch {
	case len(list) == 0:
		return field.ErrorList{field.Required(fld, "verbs must contain at least one value")}
	case slices.Contains(list, "*"):
		if len(list) > 1 {
			return field.ErrorList{field.Invalid(fld, list, "if '*' is present, must not specify other verbs")}
		}
	default:
		for _, v := range list {
			if !slices.Contains(verbs, v) {
				return field.ErrorList{field.NotSupported(fld, list, verbs)}
			}
		}
	}
	return nil
}

// validateList: at least one, or "*" alone.
func validateList(list []string, fld *field.Path, missing, others string) field.ErrorList {
	switch {
	case len(list) == 0:
		return field.ErrorList{field.Required(fld, missing)}
	case len(list) > 1 && slices.Contains(list, "*"):
		return field.ErrorList{field.Invalid(fld, list, "if '*' is present, must not specify other "+others)}
	}
	return nil
}

func validateResourceRule(r *flowcontrolv1.ResourcePolicyRule, fld *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, fld)
	errs = append(errs, validateList(r.APIGroups, fld.Child("apiGroups"), "resource rules must supply at least one api group", "api groups")...)
	errs = append(errs, validateList(r.Resources, fld.Child("resources"), "resource rules must supply at least one resource", "resources")...)
	at := fld.Child("namespaces")
	if len(r.Namespaces) == 0 && r.ClusterScope {
		return errs
	}
	errs = append(errs, validateList(r.Namespaces, at, "resource rules that are not cluster scoped must supply at least one namespace", "namespaces")...)
	if slices.Contains(r.Namespaces, "*") {
		return errs
	}
	for i, ns := range r.Namespaces {
		for _, msg := range apivalidation.ValidateNamespaceName(ns, false) {
			errs = append(errs, field.Invalid(at.Index(i), ns, "each member of this list must be '*' or a DNS-1123 label; "+msg))
		}
	}
	return errs
}

func validateURLRule(r *flowcontrolv1.NonResourcePolicyRule, fld *field.Path) field.ErrorList {
	errs := validateVerbs(r.Verbs, fld)
	at := fld.Child("nonResourceURLs")
	errs = append(errs, validateList(r.NonResourceURLs, at, "nonResourceURLs must contain at least one value", "non-resource URLs")...)
	if slices.Contains(r.NonResourceURLs, "*") {
		return errs
	}
	for i, path := range r.NonResourceURLs {
		if msg := wrongPath(path); msg != "" {
			errs = append(errs, field.Invalid(at.Index(i), path, msg))
		}
	}
	return errs
}

func wrongPath(path string) string {
	switch stars := strings.Count(path, "*"); {
	case path == "":
		return "must not be empty"
	case path == "/":
		return ""
	case !strings.HasPrefix(path, "/"):
		return "must start with slash"
	case strings.Contains(path, " "):
		return "must not contain white-space"
	case strings.Contains(path, "//"):
		return "must not contain double slash"
	case stars > 1 || stars == 1 && !strings.HasSuffix(path, "/*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}
