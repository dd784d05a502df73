package core

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// ConfigMap is small data for pods.
var ConfigMap = kinds.Define(kinds.Definition[*corev1.ConfigMap, *corev1.ConfigMapList]{
	Group: "", Version: "v1", Kind: "ConfigMap", Plural: "configmaps", ShortNames: []string{"cm"}, Namespaced: true,
	New: func() *corev1.ConfigMap { return &corev1.ConfigMap{} }, NewList: func() *corev1.ConfigMapList { return &corev1.ConfigMapList{} },
	Validate: validateConfigMap,
	ValidateUpdate: func(m, old *corev1.ConfigMap) field.ErrorList {
		var errs field.ErrorList
		if old.Immutable != nil && *old.Immutable {
			errs = append(errs, stayImmutable(m.Immutable)...)
			errs = append(errs, frozen(m.Data, old.Data, "data")...)
			errs = append(errs, frozen(m.BinaryData, old.BinaryData, "binaryData")...)
		}
		return append(errs, validateConfigMap(m)...)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Data", "string", corev1.ConfigMap{}.SwaggerDoc()["data"]), kinds.AgeColumn(),
	},
	Row: func(m *corev1.ConfigMap) []any {
		return []any{m.Name, int64(len(m.Data) + len(m.BinaryData)), kinds.Age(m.CreationTimestamp)}
	},
})

func validateConfigMap(m *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	fld := field.NewPath("data")
	for _, key := range sortedKeys(m.Data) {
		errs = append(errs, validateDataKey(key, fld)...)
		if _, twice := m.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(fld.Key(key), key, "duplicate of key present in binaryData"))
		}
		size += len(m.Data[key])
	}
	for _, key := range sortedKeys(m.BinaryData) {
		errs = append(errs, validateDataKey(key, field.NewPath("binaryData"))...)
		size += len(m.BinaryData[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize)) // "": the whole object
	}
	return errs
}

func validateDataKey(key string, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range validation.IsConfigMapKey(key) {
		errs = append(errs, field.Invalid(fld.Key(key), key, msg))
	}
	return errs
}

const frozenMessage = "field is immutable when `immutable` is set"

func stayImmutable(now *bool) field.ErrorList {
	if now != nil && *now {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("immutable"), frozenMessage)}
}

func frozen[V any](now, before map[string]V, name string) field.ErrorList {
	if len(now) == 0 && len(before) == 0 || reflect.DeepEqual(now, before) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath(name), frozenMessage)}
}
