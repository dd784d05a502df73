// Package all is the one list of the built-in kinds. A kind that is not named here does not exist.
package all

import (
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
	"github.com/tenet-run/tenet/kinds/apiextensions"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/authentication"
	"github.com/tenet-run/tenet/kinds/authorization"
	"github.com/tenet-run/tenet/kinds/autoscaling"
	"github.com/tenet-run/tenet/kinds/batch"
	"github.com/tenet-run/tenet/kinds/coordination"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
	"github.com/tenet-run/tenet/kinds/networking"
	"github.com/tenet-run/tenet/kinds/node"
	"github.com/tenet-run/tenet/kinds/policy"
	"github.com/tenet-run/tenet/kinds/rbac"
	"github.com/tenet-run/tenet/kinds/scheduling"
	"github.com/tenet-run/tenet/kinds/storage"
)

// Kinds returns the built-in kinds, ordered by group and name, the core group first. The slice is the caller's.
func Kinds() []*kinds.Kind {
	return []*kinds.Kind{
		core.ConfigMap,
		core.Endpoints,
		core.Event,
		core.LimitRange,
		core.Namespace,
		core.Node,
		core.PersistentVolume,
		core.PersistentVolumeClaim,
		core.Pod,
		core.PodTemplate,
		core.ReplicationController,
		core.ResourceQuota,
		core.Secret,
		core.Service,
		core.ServiceAccount,
		admissionregistration.MutatingAdmissionPolicy,
		admissionregistration.MutatingAdmissionPolicyBinding,
		admissionregistration.MutatingWebhookConfiguration,
		admissionregistration.ValidatingAdmissionPolicy,
		admissionregistration.ValidatingAdmissionPolicyBinding,
		admissionregistration.ValidatingWebhookConfiguration,
		apiextensions.CustomResourceDefinition,
		apps.ControllerRevision,
		apps.DaemonSet,
		apps.Deployment,
		apps.ReplicaSet,
		apps.StatefulSet,
		authentication.SelfSubjectReview,
		authentication.TokenReview,
		authorization.LocalSubjectAccessReview,
		authorization.SelfSubjectAccessReview,
		authorization.SelfSubjectRulesReview,
		authorization.SubjectAccessReview,
		autoscaling.HorizontalPodAutoscaler,
		batch.CronJob,
		batch.Job,
		coordination.Lease,
		discovery.EndpointSlice,
		networking.IPAddress,
		networking.Ingress,
		networking.IngressClass,
		networking.NetworkPolicy,
		networking.ServiceCIDR,
		node.RuntimeClass,
		policy.PodDisruptionBudget,
		rbac.ClusterRole,
		rbac.ClusterRoleBinding,
		rbac.Role,
		rbac.RoleBinding,
		scheduling.PriorityClass,
		storage.CSIDriver,
		storage.CSINode,
		storage.CSIStorageCapacity,
		storage.StorageClass,
		storage.VolumeAttachment,
		storage.VolumeAttributesClass,
	}
}
