package customresources

import (
	"fmt"
	"reflect"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
)

// taken are the names that the definitions of a group hold.
type taken struct{ resources, kinds sets.Set[string] }

func (r *Registry) taken(group string) taken {
	t := taken{sets.New[string](), sets.New[string]()}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.groups[group] {
		n := d.crd.Status.AcceptedNames
		t.resources.Insert(n.Plural, n.Singular)
		t.resources.Insert(n.ShortNames...)
		t.kinds.Insert(n.Kind, n.ListKind)
	}
	return t
}

func free(requested, accepted string, used sets.Set[string]) error {
	if requested == accepted || !used.Has(requested) {
		return nil
	}
	return fmt.Errorf("%q is already in use", requested)
}

// accept decides which of the names that a definition asks for it gets, beside those that it has, as upstream's naming controller does.
func accept(crd *apiextensionsv1.CustomResourceDefinition, t taken) (apiextensionsv1.CustomResourceDefinitionNames, apiextensionsv1.CustomResourceDefinitionCondition) {
	asked, have, names := crd.Spec.Names, crd.Status.AcceptedNames, crd.Status.AcceptedNames
	cond := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found",
	}
	settle := func(reason string, err error, give func()) {
		if err == nil {
			give()
			return
		}
		cond.Status, cond.Reason, cond.Message = apiextensionsv1.ConditionFalse, reason, err.Error()
	}
	settle("PluralConflict", free(asked.Plural, have.Plural, t.resources), func() { names.Plural = asked.Plural })
	settle("SingularConflict", free(asked.Singular, have.Singular, t.resources), func() { names.Singular = asked.Singular })
	if !reflect.DeepEqual(asked.ShortNames, have.ShortNames) {
		own := sets.New(have.ShortNames...)
		var errs []error
		for _, s := range asked.ShortNames {
			if own.Has(s) {
				continue
			}
			if err := free(s, "", t.resources); err != nil {
				errs = append(errs, err)
			}
		}
		var err error
		if a := utilerrors.NewAggregate(errs); a != nil {
			err = a
		}
		settle("ShortNamesConflict", err, func() { names.ShortNames = asked.ShortNames })
	}
	settle("KindConflict", free(asked.Kind, have.Kind, t.kinds), func() { names.Kind = asked.Kind })
	settle("ListKindConflict", free(asked.ListKind, have.ListKind, t.kinds), func() { names.ListKind = asked.ListKind })
	names.Categories = asked.Categories
	return names, cond
}

// waits reports that a definition did not get all names that it asks for.
func waits(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.NamesAccepted) || !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) ||
		!reflect.DeepEqual(crd.Spec.Names, crd.Status.AcceptedNames)
}
