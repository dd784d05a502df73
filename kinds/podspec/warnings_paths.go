package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// sourcePath is a path in a volume, and which source puts a file there.
type sourcePath struct{ path, source string }

func (s sourcePath) String() string {
	if s.source != "" {
		return fmt.Sprintf("%q (%s)", s.path, s.source)
	}
	return fmt.Sprintf("%q", s.path)
}

// meets reports whether two files are the same or one lies below the other.
func (s sourcePath) meets(other sourcePath) bool {
	if s.path == "" || other.path == "" {
		return false
	}
	return strings.HasPrefix(s.path+"/", other.path+"/") || strings.HasPrefix(other.path+"/", s.path+"/")
}

// overlappingPaths warns of files of one volume that get in each other's way: the last one written wins, or writing fails.
func (w *warner) overlappingPaths(volumes []corev1.Volume) {
	for i := range volumes {
		v := &volumes[i]
		var seen []sourcePath
		add := func(what string, paths ...sourcePath) {
			for _, p := range paths {
				p.path = strings.TrimRight(p.path, "/")
				for _, other := range seen {
					if p.meets(other) {
						w.out = append(w.out, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", v.Name, what, p, other))
					}
				}
				seen = append(seen, p)
			}
		}
		if s := v.ConfigMap; s != nil {
			add(fmt.Sprintf("ConfigMap %q", s.Name), keyPaths(s.Items, "")...)
		}
		if s := v.Secret; s != nil {
			seen = nil
			add(fmt.Sprintf("Secret %q", s.SecretName), keyPaths(s.Items, "")...)
		}
		if s := v.DownwardAPI; s != nil {
			seen = nil
			add("DownwardAPI", filePaths(s.Items, "")...)
		}
		if v.Projected == nil {
			continue
		}
		seen = nil
		for _, s := range v.Projected.Sources {
			if s == (corev1.VolumeProjection{}) {
				w.out = append(w.out, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
				continue
			}
			add("Projected", projectedPaths(&s)...)
		}
	}
}

func projectedPaths(s *corev1.VolumeProjection) []sourcePath {
	switch {
	case s.ConfigMap != nil && s.ConfigMap.Items != nil:
		return keyPaths(s.ConfigMap.Items, fmt.Sprintf("ConfigMap %q", s.ConfigMap.Name))
	case s.Secret != nil && s.Secret.Items != nil:
		return keyPaths(s.Secret.Items, fmt.Sprintf("Secret %q", s.Secret.Name))
	case s.DownwardAPI != nil && s.DownwardAPI.Items != nil:
		return filePaths(s.DownwardAPI.Items, "DownwardAPI")
	case s.ServiceAccountToken != nil:
		return []sourcePath{{s.ServiceAccountToken.Path, "ServiceAccountToken"}}
	case s.ClusterTrustBundle != nil:
		name := ""
		if s.ClusterTrustBundle.Name != nil {
			name = *s.ClusterTrustBundle.Name
		} else if s.ClusterTrustBundle.SignerName != nil {
			name = *s.ClusterTrustBundle.SignerName
		}
		return []sourcePath{{s.ClusterTrustBundle.Path, fmt.Sprintf("ClusterTrustBundle %q", name)}}
	case s.PodCertificate != nil:
		var paths []sourcePath
		for _, p := range []sourcePath{
			{s.PodCertificate.CertificateChainPath, "PodCertificate chain"},
			{s.PodCertificate.KeyPath, "PodCertificate key"},
			{s.PodCertificate.CredentialBundlePath, "PodCertificate credential bundle"},
		} {
			if p.path != "" {
				paths = append(paths, p)
			}
		}
		return paths
	}
	return nil
}

func keyPaths(items []corev1.KeyToPath, source string) []sourcePath {
	paths := make([]sourcePath, 0, len(items))
	for _, item := range items {
		paths = append(paths, sourcePath{item.Path, source})
	}
	return paths
}

func filePaths(items []corev1.DownwardAPIVolumeFile, source string) []sourcePath {
	paths := make([]sourcePath, 0, len(items))
	for _, item := range items {
		paths = append(paths, sourcePath{item.Path, source})
	}
	return paths
}
