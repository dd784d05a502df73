package podspec

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// volumes checks volumes and returns those without fault by name. meta is nil in templates: names of claims made for the pod are then unknown.
func (c *checker) volumes(p *field.Path, volumes []corev1.Volume, meta *metav1.ObjectMeta) map[string]*corev1.VolumeSource {
	valid := make(map[string]*corev1.VolumeSource, len(volumes))
	made := sets.Set[string]{} // claims made for ephemeral volumes
	if meta != nil && meta.Name != "" {
		for i := range volumes {
			if volumes[i].Ephemeral != nil {
				made.Insert(meta.Name + "-" + volumes[i].Name)
			}
		}
	}
	for i := range volumes {
		v, at, before := &volumes[i], p.Index(i), len(c.errs)
		c.volumeSource(at, v, meta)
		c.requiredDNSLabel(at.Child("name"), v.Name)
		if valid[v.Name] != nil {
			c.duplicate(at.Child("name"), v.Name)
		}
		if len(c.errs) == before {
			valid[v.Name] = &v.VolumeSource
		}
		if claim := v.PersistentVolumeClaim; claim != nil && made.Has(claim.ClaimName) {
			c.invalid(at.Child("persistentVolumeClaim", "claimName"), claim.ClaimName, "must not reference a PVC that gets created for an ephemeral volume")
		}
	}
	return valid
}

// volumeSource checks that there is exactly one source, and that one. Some paths are not the names of fields: they are what clients of Kubernetes see.
func (c *checker) volumeSource(p *field.Path, v *corev1.Volume, meta *metav1.ObjectMeta) {
	n := 0
	only := func(name string) bool {
		if n++; n > 1 {
			c.forbidden(p.Child(name), "may not specify more than 1 volume type")
		}
		return n == 1
	}
	if s := v.EmptyDir; s != nil {
		n++
		if s.SizeLimit != nil && s.SizeLimit.Sign() < 0 {
			c.forbidden(p.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity")
		}
	}
	if s := v.HostPath; s != nil && only("hostPath") {
		c.hostPath(p.Child("hostPath"), s)
	}
	if s := v.GitRepo; s != nil && only("gitRepo") {
		c.notEmpty(p.Child("gitRepo", "repository"), s.Repository)
		c.descendingPath(p.Child("gitRepo", "directory"), s.Directory)
	}
	if s := v.GCEPersistentDisk; s != nil && only("gcePersistentDisk") {
		c.notEmpty(p.Child("persistentDisk", "pdName"), s.PDName)
		c.partition(p.Child("persistentDisk", "partition"), s.Partition)
	}
	if s := v.AWSElasticBlockStore; s != nil && only("awsElasticBlockStore") {
		c.notEmpty(p.Child("awsElasticBlockStore", "volumeID"), s.VolumeID)
		c.partition(p.Child("awsElasticBlockStore", "partition"), s.Partition)
	}
	if s := v.Secret; s != nil && only("secret") {
		at := p.Child("secret")
		c.notEmpty(at.Child("secretName"), s.SecretName)
		c.fileMode(at.Child("defaultMode"), s.DefaultMode)
		c.keysToPaths(at.Child("items"), s.Items)
	}
	if s := v.NFS; s != nil && only("nfs") {
		at := p.Child("nfs")
		c.notEmpty(at.Child("server"), s.Server)
		c.notEmpty(at.Child("path"), s.Path)
		if !path.IsAbs(s.Path) {
			c.invalid(at.Child("path"), s.Path, "must be an absolute path")
		}
	}
	if s := v.ISCSI; s != nil {
		if only("iscsi") {
			c.iscsi(p.Child("iscsi"), s)
		}
		if s.InitiatorName != nil && len(v.Name+":"+s.TargetPortal) > 64 {
			c.invalid(p.Child("name"), v.Name, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.")
		}
	}
	if s := v.Glusterfs; s != nil && only("glusterfs") {
		c.notEmpty(p.Child("glusterfs", "endpoints"), s.EndpointsName)
		c.notEmpty(p.Child("glusterfs", "path"), s.Path)
	}
	if s := v.Flocker; s != nil && only("flocker") {
		c.flocker(p.Child("flocker"), s)
	}
	if s := v.PersistentVolumeClaim; s != nil && only("persistentVolumeClaim") {
		c.notEmpty(p.Child("persistentVolumeClaim", "claimName"), s.ClaimName)
	}
	if s := v.RBD; s != nil && only("rbd") {
		if len(s.CephMonitors) == 0 {
			c.required(p.Child("rbd", "monitors"), "")
		}
		c.notEmpty(p.Child("rbd", "image"), s.RBDImage)
	}
	if s := v.Cinder; s != nil && only("cinder") {
		c.notEmpty(p.Child("cinder", "volumeID"), s.VolumeID)
		c.requiredSecretRef(p.Child("cinder"), s.SecretRef)
	}
	if s := v.CephFS; s != nil && only("cephFS") && len(s.Monitors) == 0 {
		c.required(p.Child("cephfs", "monitors"), "")
	}
	if s := v.Quobyte; s != nil && only("quobyte") {
		c.quobyte(p.Child("quobyte"), s)
	}
	if s := v.DownwardAPI; s != nil && only("downwarAPI") {
		at := p.Child("downwardAPI")
		c.fileMode(at.Child("defaultMode"), s.DefaultMode)
		for i := range s.Items {
			c.downwardAPIFile(at, &s.Items[i])
		}
	}
	if s := v.FC; s != nil && only("fc") {
		c.fibreChannel(p.Child("fc"), s)
	}
	if s := v.FlexVolume; s != nil && only("flexVolume") {
		c.flexVolume(p.Child("flexVolume"), s)
	}
	if s := v.ConfigMap; s != nil && only("configMap") {
		at := p.Child("configMap")
		c.notEmpty(at.Child("name"), s.Name)
		c.fileMode(at.Child("defaultMode"), s.DefaultMode)
		c.keysToPaths(at.Child("items"), s.Items)
	}
	if s := v.AzureFile; s != nil && only("azureFile") {
		c.notEmpty(p.Child("azureFile", "secretName"), s.SecretName)
		c.notEmpty(p.Child("azureFile", "shareName"), s.ShareName)
	}
	if s := v.VsphereVolume; s != nil && only("vsphereVolume") {
		c.notEmpty(p.Child("vsphereVolume", "volumePath"), s.VolumePath)
	}
	if s := v.PhotonPersistentDisk; s != nil && only("photonPersistentDisk") {
		c.notEmpty(p.Child("photonPersistentDisk", "pdID"), s.PdID)
	}
	if s := v.PortworxVolume; s != nil && only("portworxVolume") {
		c.notEmpty(p.Child("portworxVolume", "volumeID"), s.VolumeID)
	}
	if s := v.AzureDisk; s != nil && only("azureDisk") {
		c.azureDisk(p.Child("azureDisk"), s)
	}
	if s := v.StorageOS; s != nil && only("storageos") {
		c.requiredDNSLabel(p.Child("storageos", "volumeName"), s.VolumeName)
		if s.VolumeNamespace != "" {
			c.dnsLabel(p.Child("storageos", "volumeNamespace"), s.VolumeNamespace)
		}
		c.requiredSecretRef(p.Child("storageos"), s.SecretRef)
	}
	if s := v.Projected; s != nil && only("projected") {
		c.projected(p.Child("projected"), s)
	}
	if s := v.ScaleIO; s != nil && only("scaleIO") {
		c.notEmpty(p.Child("scaleIO", "gateway"), s.Gateway)
		c.notEmpty(p.Child("scaleIO", "system"), s.System)
		c.notEmpty(p.Child("scaleIO", "volumeName"), s.VolumeName)
	}
	if s := v.CSI; s != nil && only("csi") {
		c.csi(p.Child("csi"), s)
	}
	if s := v.Ephemeral; s != nil && only("ephemeral") {
		if s.VolumeClaimTemplate == nil {
			c.required(p.Child("ephemeral", "volumeClaimTemplate"), "")
		} else {
			c.claimTemplate(p.Child("ephemeral", "volumeClaimTemplate"), s.VolumeClaimTemplate)
		}
		if meta != nil && meta.Name != "" && v.Name != "" {
			name := meta.Name + "-" + v.Name
			for _, msg := range validation.IsDNS1123Subdomain(name) {
				c.invalid(p.Child("name"), v.Name, fmt.Sprintf("PVC name %q: %v", name, msg))
			}
		}
	}
	if s := v.Image; s != nil && only("image") {
		if c.isPod && s.Reference == "" {
			c.required(p.Child("image", "reference"), "")
		}
		c.pullPolicy(p.Child("image", "pullPolicy"), s.PullPolicy)
	}
	if n == 0 {
		c.required(p, "must specify a volume type")
	}
}

func (c *checker) hostPath(p *field.Path, s *corev1.HostPathVolumeSource) {
	if s.Path == "" {
		c.required(p.Child("path"), "")
		return
	}
	c.noBacksteps(p.Child("path"), s.Path)
	if s.Type != nil {
		oneOf(c, p.Child("type"), *s.Type, corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory,
			corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)
	}
}

func (c *checker) keysToPaths(p *field.Path, items []corev1.KeyToPath) {
	for i := range items {
		c.keyToPath(p.Index(i), &items[i])
	}
}

func (c *checker) keyToPath(p *field.Path, item *corev1.KeyToPath) {
	c.notEmpty(p.Child("key"), item.Key)
	c.notEmpty(p.Child("path"), item.Path)
	c.keyPath(p.Child("path"), item.Path)
	c.fileMode(p.Child("mode"), item.Mode)
}

func (c *checker) downwardAPIFile(p *field.Path, file *corev1.DownwardAPIVolumeFile) {
	c.notEmpty(p.Child("path"), file.Path)
	c.keyPath(p.Child("path"), file.Path)
	switch {
	case file.FieldRef != nil:
		c.fieldRef(p.Child("fieldRef"), file.FieldRef, volumeFields)
		if file.ResourceFieldRef != nil {
			c.invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
		}
	case file.ResourceFieldRef != nil:
		c.resourceFieldRef(p.Child("resourceFieldRef"), file.ResourceFieldRef, true)
	default:
		c.required(p, "one of fieldRef and resourceFieldRef is required")
	}
	c.fileMode(p.Child("mode"), file.Mode)
}

func (c *checker) csi(p *field.Path, s *corev1.CSIVolumeSource) {
	c.csiDriverName(p.Child("driver"), s.Driver)
	if ref := s.NodePublishSecretRef; ref != nil {
		if ref.Name == "" {
			c.required(p.Child("nodePublishSecretRef", "name"), "")
		} else {
			c.each(p.Child("name"), ref.Name, apivalidation.NameIsDNSSubdomain(ref.Name, false))
		}
	}
}
