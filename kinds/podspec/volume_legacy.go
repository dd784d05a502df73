package podspec

import (
	"net"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Sources that name one vendor's storage. Most drivers are gone or moved to CSI, but pods that name them are still checked as ever.

func (c *checker) partition(p *field.Path, n int32) {
	if n < 0 || n > 255 {
		c.invalid(p, n, validation.InclusiveRangeError(1, 255))
	}
}

var (
	iqnName = regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`)
	euiName = regexp.MustCompile(`^eui.[[:alnum:]]{16}$`)
	naaName = regexp.MustCompile(`^naa.[[:alnum:]]{32}$`)
)

func (c *checker) iscsi(p *field.Path, s *corev1.ISCSIVolumeSource) {
	c.notEmpty(p.Child("targetPortal"), s.TargetPortal)
	if s.IQN == "" {
		c.required(p.Child("iqn"), "")
	} else {
		c.iscsiName(p.Child("iqn"), s.IQN)
	}
	if s.Lun < 0 || s.Lun > 255 {
		c.invalid(p.Child("lun"), s.Lun, validation.InclusiveRangeError(0, 255))
	}
	if (s.DiscoveryCHAPAuth || s.SessionCHAPAuth) && s.SecretRef == nil {
		c.required(p.Child("secretRef"), "")
	}
	if s.InitiatorName != nil {
		c.iscsiName(p.Child("initiatorname"), *s.InitiatorName)
	}
}

func (c *checker) iscsiName(p *field.Path, name string) {
	form := iqnName
	switch {
	case strings.HasPrefix(name, "iqn"):
	case strings.HasPrefix(name, "eui"):
		form = euiName
	case strings.HasPrefix(name, "naa"):
		form = naaName
	default:
		c.invalid(p, name, "must be valid format starting with iqn, eui, or naa")
		return
	}
	if !form.MatchString(name) {
		c.invalid(p, name, "must be valid format")
	}
}

func (c *checker) flocker(p *field.Path, s *corev1.FlockerVolumeSource) {
	if s.DatasetName == "" && s.DatasetUUID == "" {
		c.required(p, "one of datasetName and datasetUUID is required")
	}
	if s.DatasetName != "" && s.DatasetUUID != "" {
		c.invalid(p, "resource", "datasetName and datasetUUID can not be specified simultaneously")
	}
	if strings.Contains(s.DatasetName, "/") {
		c.invalid(p.Child("datasetName"), s.DatasetName, "must not contain '/'")
	}
}

func (c *checker) quobyte(p *field.Path, s *corev1.QuobyteVolumeSource) {
	const pairs = "must be a host:port pair or multiple pairs separated by commas"
	switch {
	case s.Registry == "":
		c.required(p.Child("registry"), pairs)
	case len(s.Tenant) >= 65:
		c.required(p.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters")
	default:
		for _, pair := range strings.Split(s.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				c.invalid(p.Child("registry"), s.Registry, pairs)
			}
		}
	}
	c.notEmpty(p.Child("volume"), s.Volume)
}

func (c *checker) fibreChannel(p *field.Path, s *corev1.FCVolumeSource) {
	if len(s.TargetWWNs) == 0 && len(s.WWIDs) == 0 {
		c.required(p.Child("targetWWNs"), "must specify either targetWWNs or wwids, but not both")
	}
	if len(s.TargetWWNs) != 0 && len(s.WWIDs) != 0 {
		c.invalid(p.Child("targetWWNs"), s.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously")
	}
	if len(s.TargetWWNs) == 0 {
		return
	}
	if s.Lun == nil {
		c.required(p.Child("lun"), "lun is required if targetWWNs is specified")
	} else if *s.Lun < 0 || *s.Lun > 255 {
		c.invalid(p.Child("lun"), s.Lun, validation.InclusiveRangeError(0, 255))
	}
}

func (c *checker) flexVolume(p *field.Path, s *corev1.FlexVolumeSource) {
	c.notEmpty(p.Child("driver"), s.Driver)
	for k := range s.Options {
		domain, _, _ := strings.Cut(k, "/")
		domain = "." + strings.ToLower(domain)
		if strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			c.invalid(p.Child("options").Key(k), k, "kubernetes.io and k8s.io namespaces are reserved")
		}
	}
}

func (c *checker) azureDisk(p *field.Path, s *corev1.AzureDiskVolumeSource) {
	c.notEmpty(p.Child("diskName"), s.DiskName)
	c.notEmpty(p.Child("diskURI"), s.DataDiskURI)
	if s.CachingMode != nil {
		oneOf(c, p.Child("cachingMode"), *s.CachingMode, corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)
	}
	if s.Kind == nil {
		return
	}
	oneOf(c, p.Child("kind"), *s.Kind, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)
	prefix, example := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *s.Kind == corev1.AzureManagedDisk {
		prefix, example = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(s.DataDiskURI, prefix) {
		c.errs = append(c.errs, field.NotSupported(p.Child("diskURI"), s.DataDiskURI, []string{example}))
	}
}
