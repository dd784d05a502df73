package control

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestServiceRangeIsShown: the range of cluster addresses can be read as the ServiceCIDR "kubernetes", and is ready.
func TestServiceRangeIsShown(t *testing.T) {
	g := serving(t)
	r, err := g.admin.NetworkingV1().ServiceCIDRs().Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{g.cfg.ServiceCIDR.String()}; !slices.Equal(r.Spec.CIDRs, want) || !meta.IsStatusConditionTrue(r.Status.Conditions, "Ready") {
		t.Errorf("ranges %v, want %v; conditions %v", r.Spec.CIDRs, want, r.Status.Conditions)
	}
}
