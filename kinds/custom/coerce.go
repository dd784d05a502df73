package custom

import (
	"fmt"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	schemaobjectmeta "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	structuralpruning "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// coerce does to an unstructured object what decoding into a Go struct does by itself: metadata gets its form, here and in embedded objects, fields that the
// schema does not know are taken away, and nulls where none may be. Unknown fields are named when strict is set.
func (d *Definition) coerce(version string, u *unstructured.Unstructured, strict bool) (unknown []string, err error) {
	v, err := d.version(version)
	if err != nil {
		return nil, err
	}
	kind, hasKind, err := unstructured.NestedString(u.Object, "kind")
	if err != nil {
		return nil, err
	}
	apiVersion, hasVersion, err := unstructured.NestedString(u.Object, "apiVersion")
	if err != nil {
		return nil, err
	}
	meta, hasMeta, unknown, err := schemaobjectmeta.GetObjectMetaWithOptions(u.Object, schemaobjectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: strict})
	if err != nil {
		return nil, err
	}
	// Without a kind it is no object of this schema.
	if kind == d.names.Kind {
		unknown = append(unknown, d.prune(v, u, strict)...)
		wrong, paths := schemaobjectmeta.CoerceWithOptions(nil, u.Object, v.structural, false, schemaobjectmeta.CoerceOptions{ReturnUnknownFieldPaths: strict})
		if wrong != nil {
			return nil, wrong
		}
		unknown = append(unknown, paths...)
	}
	if hasKind {
		u.SetKind(kind)
	}
	if hasVersion {
		u.SetAPIVersion(apiVersion)
	}
	if hasMeta {
		if err := schemaobjectmeta.SetObjectMeta(u.Object, meta); err != nil {
			return nil, err
		}
	}
	return unknown, nil
}

// prune takes away what the schema does not know. Type header and metadata are put aside by the caller, or known to be there.
func (d *Definition) prune(v *compiled, u *unstructured.Unstructured, strict bool) (unknown []string) {
	if d.preserve {
		return nil
	}
	unknown = structuralpruning.PruneWithOptions(u.Object, v.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: strict})
	structuraldefaulting.PruneNonNullableNullsWithoutDefaults(u.Object, v.structural)
	return unknown
}

// fit prunes an object that was converted into a version, whose metadata is in order.
func (d *Definition) fit(version string, u *unstructured.Unstructured) error {
	v, err := d.version(version)
	if err != nil {
		return err
	}
	meta, ok := u.Object["metadata"].(map[string]any)
	if _, present := u.Object["metadata"]; present && !ok {
		return fmt.Errorf("custom: metadata of %s is a %T", u.GetKind(), u.Object["metadata"])
	}
	apiVersion, kind := u.Object["apiVersion"], u.Object["kind"]
	d.prune(v, u, false)
	u.Object["apiVersion"], u.Object["kind"] = apiVersion, kind
	if ok { // an object that is not there yet, as server-side apply sees it, has none
		u.Object["metadata"] = meta
	}
	return nil
}

// setDefaults fills in what the schema of a version has defaults for.
func (d *Definition) setDefaults(version string, u *unstructured.Unstructured) {
	if v, err := d.version(version); err == nil {
		structuraldefaulting.Default(u.Object, v.structural)
	}
}
