package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// projection is one projected volume on its way through the checks: its paths must not meet.
type projection struct {
	*checker
	at    *field.Path
	paths sets.Set[string]
}

// claim takes a path for a source; value names the source, or the path, in the message.
func (j *projection) claim(path, value string) {
	if j.paths.Has(path) {
		j.invalid(j.at, value, "conflicting duplicate paths")
	}
	j.paths.Insert(path)
}

func (j *projection) keys(p *field.Path, name string, items []corev1.KeyToPath) {
	j.notEmpty(p.Child("name"), name)
	for i := range items {
		j.keyToPath(p.Child("items").Index(i), &items[i])
		if items[i].Path != "" {
			j.claim(items[i].Path, name)
		}
	}
}

func (c *checker) projected(p *field.Path, s *corev1.ProjectedVolumeSource) {
	c.fileMode(p.Child("defaultMode"), s.DefaultMode)
	j := &projection{checker: c, at: p, paths: sets.Set[string]{}}
	for i := range s.Sources {
		src, at, n := &s.Sources[i], p.Child("sources").Index(i), 0
		if src.Secret != nil {
			n++
			j.keys(at.Child("secret"), src.Secret.Name, src.Secret.Items)
		}
		if src.ConfigMap != nil {
			n++
			j.keys(at.Child("configMap"), src.ConfigMap.Name, src.ConfigMap.Items)
		}
		if src.DownwardAPI != nil {
			n++
			for k := range src.DownwardAPI.Items {
				file := &src.DownwardAPI.Items[k]
				c.downwardAPIFile(at.Child("downwardAPI"), file)
				if file.Path != "" {
					j.claim(file.Path, file.Path)
				}
			}
		}
		if src.ServiceAccountToken != nil {
			n++
			j.token(at.Child("serviceAccountToken"), src.ServiceAccountToken)
		}
		if src.ClusterTrustBundle != nil {
			n++
			j.trustBundle(at.Child("clusterTrustBundle"), src.ClusterTrustBundle)
		}
		if src.PodCertificate != nil {
			n++
			j.certificate(at.Child("podCertificate"), src.PodCertificate)
		}
		if n > 1 {
			c.forbidden(at, "may not specify more than 1 volume type per source")
		}
	}
}

// token: the path is reported at the volume, not at the source, as upstream does.
func (j *projection) token(p *field.Path, t *corev1.ServiceAccountTokenProjection) {
	var seconds int64
	if t.ExpirationSeconds != nil {
		seconds = *t.ExpirationSeconds
	}
	if seconds < 10*60 {
		j.invalid(p.Child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes")
	}
	if seconds > 1<<32 {
		j.invalid(p.Child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds")
	}
	if t.Path == "" {
		j.required(j.at.Child("path"), "")
	} else if !j.nonLocalTokenPath {
		j.keyPath(j.at.Child("path"), t.Path)
	}
}

func (j *projection) trustBundle(p *field.Path, b *corev1.ClusterTrustBundleProjection) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		j.invalid(p, b, "only one of name and signerName may be used")
	case b.Name != nil:
		if *b.Name == "" {
			j.required(p.Child("name"), "must be a valid object name")
		}
		for _, msg := range trustBundleName(*b.Name) {
			j.invalid(p.Child("name"), *b.Name, "not a valid clustertrustbundlename: "+msg)
		}
		if b.LabelSelector != nil {
			j.invalid(p.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified")
		}
	case b.SignerName != nil:
		if *b.SignerName == "" {
			j.required(p.Child("signerName"), "must be a valid signer name")
		}
		j.signerName(p.Child("signerName"), *b.SignerName)
		j.labelSelector(p.Child("labelSelector"), b.LabelSelector, false)
	default:
		j.required(p, "either name or signerName must be specified")
	}
	j.notEmpty(p.Child("path"), b.Path)
	j.keyPath(p.Child("path"), b.Path)
	j.claim(b.Path, b.Path)
}

// trustBundleName: the name of a signer's bundle begins with the signer's, ":" in place of "/".
func trustBundleName(name string) []string {
	if i := strings.LastIndex(name, ":"); i >= 0 {
		if strings.Contains(name[:i], "/") {
			signer := strings.ReplaceAll(name[:i], ":", "/")
			return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s:", signer, strings.ReplaceAll(signer, "/", ":"))}
		}
		return apivalidation.NameIsDNSSubdomain(name[i+1:], false)
	}
	return apivalidation.NameIsDNSSubdomain(name, false)
}

func (j *projection) certificate(p *field.Path, s *corev1.PodCertificateProjection) {
	j.signerName(p.Child("signerName"), s.SignerName)
	if s.UserAnnotations != nil {
		for k := range s.UserAnnotations {
			j.add(validation.IsDomainPrefixedKey(p.Child("userAnnotations"), strings.ToLower(k)))
		}
		if apivalidation.ValidateAnnotationsSize(s.UserAnnotations) != nil {
			j.tooLong(p.Child("userAnnotations"), apivalidation.TotalAnnotationSizeLimitB)
		}
	}
	if types := []string{"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"}; !slices.Contains(types, s.KeyType) {
		j.errs = append(j.errs, field.NotSupported(p.Child("keyType"), s.KeyType, types))
	}
	if s.MaxExpirationSeconds != nil {
		const day = 24 * 60 * 60
		seconds, at := *s.MaxExpirationSeconds, p.Child("maxExpirationSeconds")
		if seconds < 3600 {
			j.invalid(at, seconds, "if provided, maxExpirationSeconds must be >= 3600")
		}
		limit := int32(91 * day)
		if host, _, _ := strings.Cut(s.SignerName, "/"); host == "kubernetes.io" || strings.HasSuffix(host, ".kubernetes.io") {
			limit = day
		}
		if seconds > limit {
			j.invalid(at, seconds, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", limit))
		}
	}
	paths := 0
	for _, f := range []struct{ name, path string }{
		{"credentialBundlePath", s.CredentialBundlePath}, {"keyPath", s.KeyPath}, {"certificateChainPath", s.CertificateChainPath},
	} {
		if f.path != "" {
			paths++
			j.keyPath(p.Child(f.name), f.path)
			j.claim(f.path, f.path)
		}
	}
	if paths == 0 {
		j.required(p, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
	}
}

// ValidateSignerName says what is wrong with the name of a signer of certificates.
func ValidateSignerName(name string, fld *field.Path) field.ErrorList {
	var c checker
	c.signerName(fld, name)
	return c.errs
}

// signerName is a domain of at least two labels, "/", and a path of DNS subdomains.
func (c *checker) signerName(p *field.Path, name string) {
	if name == "" {
		c.required(p, "")
		return
	}
	parts := strings.Split(name, "/")
	if len(parts) != 2 {
		c.invalid(p, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
		return
	}
	labels := func(part string, valid func(string) []string) int {
		list := strings.Split(part, ".")
		for _, label := range list {
			if details := valid(label); len(details) > 0 {
				for _, d := range details {
					c.invalid(p, part, fmt.Sprintf("validating label %q: %s", label, d))
				}
				break
			}
		}
		return len(list)
	}
	if len(parts[0]) > validation.DNS1123SubdomainMaxLength {
		c.tooLong(p, validation.DNS1123SubdomainMaxLength)
	}
	if labels(parts[0], validation.IsDNS1123Label) < 2 {
		c.invalid(p, parts[0], "should be a domain with at least two segments separated by dots")
	}
	labels(parts[1], validation.IsDNS1123Subdomain)
	// a domain, "/", a namespace, ".", a name
	if limit := 2*validation.DNS1123SubdomainMaxLength + validation.DNS1123LabelMaxLength + 2; len(name) > limit {
		c.tooLong(p, limit)
	}
}
