package authz

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/storage"
)

type object = kinds.Object

// reaches reports whether a pod on the node refers to an object, or what the object stands for does.
func (n *node) reaches(node, resource, namespace, name string) bool {
	switch resource {
	case "pods":
		obj, ok := n.read.Peek(core.Pod, namespace, name)
		return ok && obj.(*corev1.Pod).Spec.NodeName == node
	case "secrets":
		return n.pods(node, namespace, func(p *corev1.Pod) bool { return refersTo(p, namedSecret, name) })
	case "configmaps":
		if n.configuredBy(node, namespace, name) {
			return true
		}
		return n.pods(node, namespace, func(p *corev1.Pod) bool { return refersTo(p, namedConfigMap, name) })
	case "persistentvolumeclaims":
		return n.pods(node, namespace, func(p *corev1.Pod) bool { return refersTo(p, namedClaim, name) })
	case "persistentvolumes":
		return n.pods(node, "", func(p *corev1.Pod) bool { return n.mounts(p, name) })
	case "volumeattachments":
		obj, ok := n.read.Peek(storage.VolumeAttachment, "", name)
		return ok && obj.(*storagev1.VolumeAttachment).Spec.NodeName == node
	case "serviceaccounts":
		return n.pods(node, namespace, func(p *corev1.Pod) bool { return p.Spec.ServiceAccountName == name && !isMirror(p) })
	}
	return false
}

// mounts reports whether a claim that the pod names is bound to a volume.
func (n *node) mounts(p *corev1.Pod, volume string) bool {
	return !isMirror(p) && references(p, func(what named, name string) bool {
		if what != namedClaim {
			return false
		}
		obj, ok := n.read.Peek(core.PersistentVolumeClaim, p.Namespace, name)
		return ok && obj.(*corev1.PersistentVolumeClaim).Spec.VolumeName == volume
	})
}

func (n *node) configuredBy(node, namespace, name string) bool {
	obj, ok := n.read.Peek(core.Node, "", node)
	if !ok {
		return false
	}
	s := obj.(*corev1.Node).Spec.ConfigSource
	return s != nil && s.ConfigMap != nil && s.ConfigMap.Namespace == namespace && s.ConfigMap.Name == name
}

type named int

const (
	namedSecret named = iota
	namedConfigMap
	namedClaim
)

func isMirror(p *corev1.Pod) bool { return p.Annotations[corev1.MirrorPodAnnotationKey] != "" }

// refersTo reports whether a pod names a secret, a config map or a claim. A mirror pod gives its node nothing.
func refersTo(p *corev1.Pod, what named, name string) bool {
	return !isMirror(p) && references(p, func(w named, n string) bool { return w == what && n == name })
}

// references calls f with every secret, config map and claim that a pod names, until it returns true.
func references(p *corev1.Pod, f func(what named, name string) bool) bool {
	for _, s := range p.Spec.ImagePullSecrets {
		if f(namedSecret, s.Name) {
			return true
		}
	}
	for i := range p.Spec.Volumes {
		if volumeReferences(&p.Spec.Volumes[i], p.Name, f) {
			return true
		}
	}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; envReferences(c.EnvFrom, c.Env, f) {
			return true
		}
	}
	for i := range p.Spec.Containers {
		if c := &p.Spec.Containers[i]; envReferences(c.EnvFrom, c.Env, f) {
			return true
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if c := &p.Spec.EphemeralContainers[i]; envReferences(c.EnvFrom, c.Env, f) {
			return true
		}
	}
	return false
}

func envReferences(from []corev1.EnvFromSource, vars []corev1.EnvVar, f func(named, string) bool) bool {
	for _, e := range from {
		if e.SecretRef != nil && f(namedSecret, e.SecretRef.Name) || e.ConfigMapRef != nil && f(namedConfigMap, e.ConfigMapRef.Name) {
			return true
		}
	}
	for _, v := range vars {
		s := v.ValueFrom
		if s != nil && (s.SecretKeyRef != nil && f(namedSecret, s.SecretKeyRef.Name) || s.ConfigMapKeyRef != nil && f(namedConfigMap, s.ConfigMapKeyRef.Name)) {
			return true
		}
	}
	return false
}

func volumeReferences(v *corev1.Volume, pod string, f func(named, string) bool) bool {
	switch {
	case v.PersistentVolumeClaim != nil:
		return f(namedClaim, v.PersistentVolumeClaim.ClaimName)
	case v.Ephemeral != nil:
		return f(namedClaim, pod+"-"+v.Name)
	case v.ConfigMap != nil:
		return f(namedConfigMap, v.ConfigMap.Name)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if s.Secret != nil && f(namedSecret, s.Secret.Name) || s.ConfigMap != nil && f(namedConfigMap, s.ConfigMap.Name) {
				return true
			}
		}
		return false
	}
	secret := volumeSecret(v)
	return secret != "" && f(namedSecret, secret)
}

// volumeSecret is the secret that a volume of the old kind, or a CSI driver, is given.
func volumeSecret(v *corev1.Volume) string {
	local := func(r *corev1.LocalObjectReference) string {
		if r == nil {
			return ""
		}
		return r.Name
	}
	switch s := &v.VolumeSource; {
	case s.Secret != nil:
		return s.Secret.SecretName
	case s.AzureFile != nil:
		return s.AzureFile.SecretName
	case s.CephFS != nil:
		return local(s.CephFS.SecretRef)
	case s.Cinder != nil:
		return local(s.Cinder.SecretRef)
	case s.FlexVolume != nil:
		return local(s.FlexVolume.SecretRef)
	case s.RBD != nil:
		return local(s.RBD.SecretRef)
	case s.ScaleIO != nil:
		return local(s.ScaleIO.SecretRef)
	case s.ISCSI != nil:
		return local(s.ISCSI.SecretRef)
	case s.StorageOS != nil:
		return local(s.StorageOS.SecretRef)
	case s.CSI != nil:
		return local(s.CSI.NodePublishSecretRef)
	}
	return ""
}
