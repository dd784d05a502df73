package apiregistration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// AutomanagedLabel is on the APIServices that the server makes itself.
const AutomanagedLabel = "kube-aggregator.kubernetes.io/automanaged"

// Its values: made at the start when missing, or there as long as a definition is.
const (
	ManagedOnStart      = "onstart"
	ManagedContinuously = "true"
)

// Group is the group of APIServices themselves. It has no APIService, and comes first.
const Group = "apiregistration.k8s.io"

// priorities of the groups that are built in: the order of discovery.
var priorities = map[string]int32{
	Group: 20000, "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600, "autoscaling": 17500,
	"batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800,
	"apiextensions.k8s.io": 16700, "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
	"discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
}

// Priorities of a group version that this server serves: those of Kubernetes' own, and those of definitions.
func Priorities(gv schema.GroupVersion) (group, version int32) {
	group, ok := priorities[gv.Group]
	switch {
	case !ok:
		return 1000, 100
	case gv.Group == "":
		return group, 1
	case gv.Group == "autoscaling" && gv.Version == "v2":
		return group, 30
	case gv.Version == "v1" && (gv.Group == "flowcontrol.apiserver.k8s.io" || gv.Group == "resource.k8s.io"):
		return group, 21
	}
	return group, 15
}

// Local is the APIService of a group version that this server serves; managed is the label's value.
func Local(gv schema.GroupVersion, managed string) *apiregistrationv1.APIService {
	group, version := Priorities(gv)
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: gv.Version + "." + gv.Group, Labels: map[string]string{AutomanagedLabel: managed}},
		Spec:       apiregistrationv1.APIServiceSpec{Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: group, VersionPriority: version},
	}
}
