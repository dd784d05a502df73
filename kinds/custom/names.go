package custom

import (
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/tenet-run/tenet/kinds"
)

// sortVersions puts the preferred version first, as Kubernetes prefers them: v2, v1, v1beta1.
func sortVersions(list []*kinds.Served) {
	slices.SortFunc(list, func(a, b *kinds.Served) int { return version.CompareKubeAwareVersionStrings(b.Version, a.Version) })
}

// deprecation is the warning for using a version.
func (d *Definition) deprecation(v *apiextensionsv1.CustomResourceDefinitionVersion) string {
	if v.DeprecationWarning != nil {
		return *v.DeprecationWarning
	}
	text := fmt.Sprintf("%s/%s %s is deprecated", d.group, v.Name, d.names.Kind)
	best := ""
	for _, o := range d.versions {
		if o.Served && !o.Deprecated && version.CompareKubeAwareVersionStrings(v.Name, o.Name) < 0 && (best == "" || version.CompareKubeAwareVersionStrings(o.Name, best) > 0) {
			best = o.Name
		}
	}
	if best != "" {
		text += fmt.Sprintf("; use %s/%s %s", d.group, best, d.names.Kind)
	}
	return text
}

func trimDot(path string) string { return strings.TrimPrefix(path, ".") }
