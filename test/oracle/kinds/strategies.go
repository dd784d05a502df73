package main

import (
	"k8s.io/apiserver/pkg/registry/rest"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/endpoint"
	"k8s.io/kubernetes/pkg/registry/core/event"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/node"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/discovery/endpointslice"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaimtemplate"
	"k8s.io/kubernetes/pkg/registry/resource/resourceslice"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csinode"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattachment"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
)

type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

var strategies = map[string]strategy{
	"ConfigMap":                  configmap.Strategy,
	"Endpoints":                  endpoint.Strategy,
	"Event":                      event.Strategy,
	"Namespace":                  namespace.Strategy,
	"Node":                       node.Strategy,
	"Secret":                     secret.Strategy,
	"Service":                    service.Strategy,
	"ServiceAccount":             serviceaccount.Strategy,
	"LimitRange":                 limitrange.Strategy,
	"ResourceQuota":              resourcequota.Strategy,
	"PersistentVolume":           persistentvolume.Strategy,
	"PersistentVolumeClaim":      persistentvolumeclaim.Strategy,
	"ReplicationController":      replicationcontroller.Strategy,
	"PodTemplate":                podtemplate.Strategy,
	"ControllerRevision":         controllerrevision.Strategy,
	"Deployment":                 deployment.Strategy,
	"ReplicaSet":                 replicaset.Strategy,
	"StatefulSet":                statefulset.Strategy,
	"DaemonSet":                  daemonset.Strategy,
	"Job":                        job.Strategy,
	"CronJob":                    cronjob.Strategy,
	"PodDisruptionBudget":        poddisruptionbudget.Strategy,
	"HorizontalPodAutoscaler":    horizontalpodautoscaler.Strategy,
	"Ingress":                    ingress.Strategy,
	"IngressClass":               ingressclass.Strategy,
	"NetworkPolicy":              networkpolicy.Strategy,
	"IPAddress":                  ipaddress.Strategy,
	"ServiceCIDR":                servicecidr.Strategy,
	"StorageClass":               storageclass.Strategy,
	"VolumeAttachment":           volumeattachment.Strategy,
	"CSIDriver":                  csidriver.Strategy,
	"CSINode":                    csinode.Strategy,
	"CSIStorageCapacity":         csistoragecapacity.Strategy,
	"VolumeAttributesClass":      volumeattributesclass.Strategy,
	"RuntimeClass":               runtimeclass.Strategy,
	"CertificateSigningRequest":  certificates.Strategy,
	"FlowSchema":                 flowschema.Strategy,
	"PriorityLevelConfiguration": prioritylevelconfiguration.Strategy,
	"DeviceClass":                deviceclass.Strategy,
	"ResourceSlice":              resourceslice.Strategy,
	"Lease":                      lease.Strategy,
	"EndpointSlice":              endpointslice.Strategy,
	"PriorityClass":              priorityclass.Strategy,
	"ResourceClaim":              resourceclaim.NewStrategy(nil, nil),
	"ResourceClaimTemplate":      resourceclaimtemplate.NewStrategy(nil),
}

// further strategies, by kind and command.
var further = map[string]rest.RESTUpdateStrategy{
	"Namespace status":                   namespace.StatusStrategy,
	"Node status":                        node.StatusStrategy,
	"Service status":                     service.StatusStrategy,
	"ResourceQuota status":               resourcequota.StatusStrategy,
	"PersistentVolume status":            persistentvolume.StatusStrategy,
	"PersistentVolumeClaim status":       persistentvolumeclaim.StatusStrategy,
	"ReplicationController status":       replicationcontroller.StatusStrategy,
	"Deployment status":                  deployment.StatusStrategy,
	"ReplicaSet status":                  replicaset.StatusStrategy,
	"StatefulSet status":                 statefulset.StatusStrategy,
	"DaemonSet status":                   daemonset.StatusStrategy,
	"Job status":                         job.StatusStrategy,
	"CronJob status":                     cronjob.StatusStrategy,
	"PodDisruptionBudget status":         poddisruptionbudget.StatusStrategy,
	"HorizontalPodAutoscaler status":     horizontalpodautoscaler.StatusStrategy,
	"Ingress status":                     ingress.StatusStrategy,
	"ServiceCIDR status":                 servicecidr.StatusStrategy,
	"VolumeAttachment status":            volumeattachment.StatusStrategy,
	"CertificateSigningRequest status":   certificates.StatusStrategy,
	"FlowSchema status":                  flowschema.StatusStrategy,
	"PriorityLevelConfiguration status":  prioritylevelconfiguration.StatusStrategy,
	"Namespace finalize":                 namespace.FinalizeStrategy,
	"CertificateSigningRequest approval": certificates.ApprovalStrategy,
	"ResourceClaim status":               resourceclaim.NewStatusStrategy(resourceclaim.NewStrategy(nil, nil)),
}
