package images

import (
	"encoding/base64"
	"encoding/json"
	"path"
	"sort"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// Credentials lists what the pull secrets offer for an image, most specific registry first. Secrets of other types or that cannot be read are left out.
func Credentials(secrets []*corev1.Secret, image string) []*runtimeapi.AuthConfig {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil
	}
	repo := named.Name()
	type match struct {
		key string
		e   entry
	}
	var found []match
	for _, s := range secrets {
		auths := map[string]entry{}
		switch s.Type {
		case corev1.SecretTypeDockerConfigJson:
			var f struct {
				Auths map[string]entry `json:"auths"`
			}
			if json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &f) != nil {
				continue
			}
			auths = f.Auths
		case corev1.SecretTypeDockercfg:
			if json.Unmarshal(s.Data[corev1.DockerConfigKey], &auths) != nil {
				continue
			}
		}
		for key, e := range auths {
			if key := registry(key); matches(key, repo) {
				found = append(found, match{key, e})
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].key > found[j].key })
	var out []*runtimeapi.AuthConfig
	for _, m := range found {
		a := &runtimeapi.AuthConfig{Username: m.e.Username, Password: m.e.Password, IdentityToken: m.e.IdentityToken, RegistryToken: m.e.RegistryToken}
		if a.Username == "" && m.e.Auth != "" {
			if b, err := base64.StdEncoding.DecodeString(m.e.Auth); err == nil {
				a.Username, a.Password, _ = strings.Cut(strings.TrimRight(string(b), "\x00"), ":")
			}
		}
		a.ServerAddress = m.key
		out = append(out, a)
	}
	return out
}

// registry takes scheme and API version off the key of a credential.
func registry(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	for _, v := range []string{"/v1", "/v2"} {
		key = strings.TrimSuffix(key, v)
	}
	host, rest, has := strings.Cut(key, "/")
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if has {
		return host + "/" + rest
	}
	return host
}

// matches compares a credential's key, whose host may hold globs, with a repository.
func matches(key, repo string) bool {
	kh, kp, _ := strings.Cut(key, "/")
	rh, rp, _ := strings.Cut(repo, "/")
	a, b := strings.Split(kh, "."), strings.Split(rh, ".")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if ok, err := path.Match(a[i], b[i]); err != nil || !ok {
			return false
		}
	}
	return kp == "" || rp == kp || strings.HasPrefix(rp, strings.TrimSuffix(kp, "/")+"/")
}
