package admission

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Forbidden is the 403 of a plugin, with Kubernetes' message: `pods "web" is forbidden: <why>`.
func Forbidden(r *Request, format string, args ...any) error {
	name := r.Name
	if name == "" {
		name = "Unknown"
		if r.Object != nil {
			if n := r.Object.GetName(); n != "" {
				name = n
			} else if n := r.Object.GetGenerateName(); n != "" {
				name = n
			}
		}
	}
	return apierrors.NewForbidden(r.groupResource(), name, fmt.Errorf(format, args...))
}

func (r *Request) groupResource() schema.GroupResource {
	if r.Served != nil {
		return schema.GroupResource{Group: r.Served.Group, Resource: r.Kind.Plural}
	}
	return r.Kind.GroupResource()
}
