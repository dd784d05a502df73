package podspec

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// SetPersistentVolumeDefaults sets the defaults of a volume's source and capacity.
func SetPersistentVolumeDefaults(s *corev1.PersistentVolumeSpec) {
	def(&s.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
	defPtr(&s.VolumeMode, corev1.PersistentVolumeFilesystem)
	SetPersistentVolumeSourceDefaults(s)
}

// SetPersistentVolumeSourceDefaults is the part that a volume described within another object (VolumeAttachment) gets too.
func SetPersistentVolumeSourceDefaults(s *corev1.PersistentVolumeSpec) {
	roundUp(s.Capacity)
	if s.HostPath != nil || s.AzureDisk != nil {
		setVolumeDefaults(&corev1.Volume{VolumeSource: corev1.VolumeSource{HostPath: s.HostPath, AzureDisk: s.AzureDisk}})
	}
	if s.ISCSI != nil {
		def(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		def(&s.RBD.RBDPool, "rbd")
		def(&s.RBD.RadosUser, "admin")
		def(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.ScaleIO != nil {
		def(&s.ScaleIO.StorageMode, "ThinProvisioned")
		def(&s.ScaleIO.FSType, "xfs")
	}
}

// ValidatePersistentVolume says what is wrong with a volume called name. What was wrong with the labels that old requires of nodes may stay; old may be nil.
func ValidatePersistentVolume(s, old *corev1.PersistentVolumeSpec, name string, fld *field.Path) field.ErrorList {
	var c checker
	c.accessModes(fld.Child("accessModes"), s.AccessModes, "")
	capacity := fld.Child("capacity")
	if len(s.Capacity) == 0 {
		c.required(capacity, "")
	}
	if !has(s.Capacity, corev1.ResourceStorage) || len(s.Capacity) > 1 {
		c.errs = append(c.errs, field.NotSupported(capacity, s.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for _, n := range sortedNames(s.Capacity) {
		q := s.Capacity[n]
		c.basicQuantity(capacity.Key(string(n)), q)
		c.positiveQuantity(capacity.Key(string(n)), q)
	}
	if s.PersistentVolumeReclaimPolicy != "" {
		oneOf(&c, fld.Child("persistentVolumeReclaimPolicy"), s.PersistentVolumeReclaimPolicy,
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)
	}
	if s.NodeAffinity != nil {
		at := fld.Child("nodeAffinity", "required")
		if s.NodeAffinity.Required == nil {
			c.required(at, "must specify required node constraints")
		} else {
			c.nodeSelector(at, s.NodeAffinity.Required, old != nil && old.NodeAffinity != nil && anyWrongValue(old.NodeAffinity.Required))
		}
	}
	c.persistentSources(fld, s, name)
	if s.HostPath != nil && path.Clean(s.HostPath.Path) == "/" && s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		c.forbidden(fld.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'")
	}
	c.optionalSubdomain(fld.Child("storageClassName"), s.StorageClassName)
	if s.VolumeMode != nil {
		oneOf(&c, fld.Child("volumeMode"), *s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
	}
	c.attributesClass(fld, s)
	return c.errs
}

// ValidateInlinePersistentVolume says what is wrong with a volume that is described within another object: only CSI drivers can have such.
func ValidateInlinePersistentVolume(s *corev1.PersistentVolumeSpec, fld *field.Path) field.ErrorList {
	const inline = " in the context of inline volumes"
	var c checker
	never := func(is bool, name string) {
		if is {
			c.forbidden(fld.Child(name), "may not be specified"+inline)
		}
	}
	never(s.ClaimRef != nil, "claimRef")
	never(len(s.Capacity) != 0, "capacity")
	if s.CSI == nil {
		c.required(fld.Child("csi"), "has to be specified"+inline)
	}
	c.accessModes(fld.Child("accessModes"), s.AccessModes, "")
	if p := s.PersistentVolumeReclaimPolicy; p != "" && p != corev1.PersistentVolumeReclaimRetain {
		c.forbidden(fld.Child("persistentVolumeReclaimPolicy"), "may only be "+string(corev1.PersistentVolumeReclaimRetain)+inline)
	}
	never(s.NodeAffinity != nil, "nodeAffinity")
	c.persistentSources(fld, s, "")
	never(s.StorageClassName != "", "storageClassName")
	if s.VolumeMode != nil && *s.VolumeMode != corev1.PersistentVolumeFilesystem {
		c.forbidden(fld.Child("volumeMode"), "may not specify volumeMode other than "+string(corev1.PersistentVolumeFilesystem)+inline)
	}
	c.attributesClass(fld, s)
	return c.errs
}

func (c *checker) attributesClass(fld *field.Path, s *corev1.PersistentVolumeSpec) {
	if s.VolumeAttributesClassName == nil {
		return
	}
	at := fld.Child("volumeAttributesClassName")
	if *s.VolumeAttributesClassName == "" {
		c.required(at, "an empty string is disallowed")
	} else {
		c.dnsSubdomain(at, *s.VolumeAttributesClassName)
	}
	if s.CSI == nil {
		c.required(fld.Child("csi"), "has to be specified when using volumeAttributesClassName")
	}
}

// accessModes: ReadWriteOncePod stands alone.
func (c *checker) accessModes(p *field.Path, modes []corev1.PersistentVolumeAccessMode, detail string) {
	if len(modes) == 0 {
		c.required(p, detail)
	}
	alone, others := false, false
	for _, mode := range modes {
		switch mode {
		case corev1.ReadWriteOncePod:
			alone = true
		case corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce:
			others = true
		default:
			oneOf(c, p, mode, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)
		}
	}
	if alone && others {
		c.forbidden(p, "may not use ReadWriteOncePod with other access modes")
	}
}

// persistentSources checks that there is exactly one source, and that one: as for a pod's volume where the source is the same.
func (c *checker) persistentSources(p *field.Path, s *corev1.PersistentVolumeSpec, name string) {
	n := 0
	only := func(set bool, name string) bool {
		if !set {
			return false
		}
		if n++; n > 1 {
			c.forbidden(p.Child(name), "may not specify more than 1 volume type")
		}
		return n == 1
	}
	as := func(v corev1.VolumeSource) { c.volumeSource(p, &corev1.Volume{VolumeSource: v}, nil) }
	if only(s.HostPath != nil, "hostPath") {
		as(corev1.VolumeSource{HostPath: s.HostPath})
	}
	if only(s.GCEPersistentDisk != nil, "gcePersistentDisk") {
		as(corev1.VolumeSource{GCEPersistentDisk: s.GCEPersistentDisk})
	}
	if only(s.AWSElasticBlockStore != nil, "awsElasticBlockStore") {
		as(corev1.VolumeSource{AWSElasticBlockStore: s.AWSElasticBlockStore})
	}
	if only(s.Glusterfs != nil, "glusterfs") {
		as(corev1.VolumeSource{Glusterfs: &corev1.GlusterfsVolumeSource{EndpointsName: s.Glusterfs.EndpointsName, Path: s.Glusterfs.Path}})
		if ns := s.Glusterfs.EndpointsNamespace; ns != nil {
			at := p.Child("glusterfs", "endpointsNamespace")
			if *ns == "" {
				c.invalid(at, *ns, "if the endpointnamespace is set, it must be a valid namespace name")
			} else {
				c.dnsLabel(at, *ns)
			}
		}
	}
	if only(s.Flocker != nil, "flocker") {
		as(corev1.VolumeSource{Flocker: s.Flocker})
	}
	if only(s.NFS != nil, "nfs") {
		as(corev1.VolumeSource{NFS: s.NFS})
	}
	if only(s.RBD != nil, "rbd") {
		as(corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{CephMonitors: s.RBD.CephMonitors, RBDImage: s.RBD.RBDImage}})
	}
	if only(s.Quobyte != nil, "quobyte") {
		as(corev1.VolumeSource{Quobyte: s.Quobyte})
	}
	if only(s.CephFS != nil, "cephFS") {
		as(corev1.VolumeSource{CephFS: &corev1.CephFSVolumeSource{Monitors: s.CephFS.Monitors}})
	}
	if only(s.ISCSI != nil, "iscsi") {
		c.persistentISCSI(p.Child("iscsi"), s.ISCSI, name)
	}
	if only(s.Cinder != nil, "cinder") {
		c.notEmpty(p.Child("cinder", "volumeID"), s.Cinder.VolumeID)
		c.fullSecretRef(p.Child("cinder", "secretRef"), s.Cinder.SecretRef)
	}
	if only(s.FC != nil, "fc") {
		as(corev1.VolumeSource{FC: s.FC})
	}
	if s.FlexVolume != nil { // never too many
		n++
		c.flexVolume(p.Child("flexVolume"), &corev1.FlexVolumeSource{Driver: s.FlexVolume.Driver, Options: s.FlexVolume.Options})
	}
	if only(s.AzureFile != nil, "azureFile") {
		as(corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{SecretName: s.AzureFile.SecretName, ShareName: s.AzureFile.ShareName}})
		if ns := s.AzureFile.SecretNamespace; ns != nil {
			c.notEmpty(p.Child("azureFile", "secretNamespace"), *ns)
		}
	}
	if only(s.VsphereVolume != nil, "vsphereVolume") {
		as(corev1.VolumeSource{VsphereVolume: s.VsphereVolume})
	}
	if only(s.PhotonPersistentDisk != nil, "photonPersistentDisk") {
		as(corev1.VolumeSource{PhotonPersistentDisk: s.PhotonPersistentDisk})
	}
	if only(s.PortworxVolume != nil, "portworxVolume") {
		as(corev1.VolumeSource{PortworxVolume: s.PortworxVolume})
	}
	if only(s.AzureDisk != nil, "azureDisk") {
		as(corev1.VolumeSource{AzureDisk: s.AzureDisk})
	}
	if only(s.ScaleIO != nil, "scaleIO") {
		as(corev1.VolumeSource{ScaleIO: &corev1.ScaleIOVolumeSource{Gateway: s.ScaleIO.Gateway, System: s.ScaleIO.System, VolumeName: s.ScaleIO.VolumeName}})
	}
	if only(s.Local != nil, "local") {
		if at := p.Child("local", "path"); s.Local.Path == "" {
			c.required(at, "")
		} else {
			c.noBacksteps(at, s.Local.Path)
		}
		if s.NodeAffinity == nil {
			c.required(p.Child("nodeAffinity"), "Local volume requires node affinity")
		}
	}
	if only(s.StorageOS != nil, "storageos") {
		as(corev1.VolumeSource{StorageOS: &corev1.StorageOSVolumeSource{VolumeName: s.StorageOS.VolumeName, VolumeNamespace: s.StorageOS.VolumeNamespace}})
		if ref := s.StorageOS.SecretRef; ref != nil {
			c.fullSecretRef(p.Child("storageos", "secretRef"), &corev1.SecretReference{Name: ref.Name, Namespace: ref.Namespace})
		}
	}
	if only(s.CSI != nil, "csi") {
		c.persistentCSI(p.Child("csi"), s.CSI)
	}
	if n == 0 {
		c.required(p, "must specify a volume type")
	}
}

// fullSecretRef is a reference to a secret of any namespace.
func (c *checker) fullSecretRef(p *field.Path, ref *corev1.SecretReference) {
	if ref != nil {
		c.notEmpty(p.Child("name"), ref.Name)
		c.notEmpty(p.Child("namespace"), ref.Namespace)
	}
}

func (c *checker) persistentISCSI(p *field.Path, s *corev1.ISCSIPersistentVolumeSource, name string) {
	c.notEmpty(p.Child("targetPortal"), s.TargetPortal)
	if s.InitiatorName != nil && len(name+":"+s.TargetPortal) > 64 {
		c.invalid(p.Child("targetportal"), s.TargetPortal, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.")
	}
	const badForm = "must be valid format"
	if s.IQN == "" {
		c.required(p.Child("iqn"), "")
	} else if !validISCSIName(s.IQN) {
		c.invalid(p.Child("iqn"), s.IQN, badForm)
	}
	if s.Lun < 0 || s.Lun > 255 {
		c.invalid(p.Child("lun"), s.Lun, validation.InclusiveRangeError(0, 255))
	}
	if (s.DiscoveryCHAPAuth || s.SessionCHAPAuth) && s.SecretRef == nil {
		c.required(p.Child("secretRef"), "")
	}
	if s.SecretRef != nil {
		c.notEmpty(p.Child("secretRef", "name"), s.SecretRef.Name)
	}
	if s.InitiatorName != nil && !validISCSIName(*s.InitiatorName) {
		c.invalid(p.Child("initiatorname"), *s.InitiatorName, badForm)
	}
}

func validISCSIName(name string) bool {
	switch {
	case strings.HasPrefix(name, "iqn"):
		return iqnName.MatchString(name)
	case strings.HasPrefix(name, "eui"):
		return euiName.MatchString(name)
	case strings.HasPrefix(name, "naa"):
		return naaName.MatchString(name)
	}
	return false
}

func (c *checker) persistentCSI(p *field.Path, s *corev1.CSIPersistentVolumeSource) {
	c.csiDriverName(p.Child("driver"), s.Driver)
	c.notEmpty(p.Child("volumeHandle"), s.VolumeHandle)
	for _, r := range []struct {
		name string
		ref  *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", s.ControllerPublishSecretRef}, {"controllerExpandSecretRef", s.ControllerExpandSecretRef},
		{"nodePublishSecretRef", s.NodePublishSecretRef}, {"nodeExpandSecretRef", s.NodeExpandSecretRef},
	} {
		if r.ref == nil {
			continue
		}
		at := p.Child(r.name)
		if r.ref.Name == "" {
			c.required(at.Child("name"), "")
		} else {
			c.dnsSubdomain(at.Child("name"), r.ref.Name)
		}
		c.requiredDNSLabel(at.Child("namespace"), r.ref.Namespace)
	}
}

// ValidateCSIDriverName says what is wrong with the name of a storage driver.
func ValidateCSIDriverName(name string, fld *field.Path) field.ErrorList {
	var c checker
	c.csiDriverName(fld, name)
	return c.errs
}

func (c *checker) csiDriverName(p *field.Path, name string) {
	if name == "" {
		c.required(p, "")
		return
	}
	if len(name) > 63 {
		c.tooLong(p, 63)
	}
	c.each(p, name, validation.IsDNS1123Subdomain(strings.ToLower(name)))
}
