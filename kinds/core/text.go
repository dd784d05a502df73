package core

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type fieldErrors = field.ErrorList

// proxyVerbs are those under which discovery lists a proxy; it passes every method on.
var proxyVerbs = []string{"create", "delete", "get", "patch", "update"}

func newObject[T any, P interface {
	*T
	runtime.Object
}]() runtime.Object {
	return P(new(T))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// sortedKeys gives errors a steady order where upstream's follows a map's.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// firstFew joins at most three parts; count is how many there are.
func firstFew(parts []string, count int) string {
	const most = 3
	if count > most {
		return strings.Join(parts[:min(most, len(parts))], ",") + " + " + strconv.Itoa(count-most) + " more..."
	}
	return strings.Join(parts, ",")
}
