package images

import (
	"encoding/base64"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	secret := &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths": {
		"https://index.docker.io/v1/": {"auth": "` + auth + `"},
		"registry.example:5000": {"username": "host", "password": "p"},
		"registry.example:5000/team": {"username": "team", "password": "p"},
		"*.wild.example": {"username": "wild", "password": "p"}}}`)}}
	old := &corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"old.example": {"username": "old"}}`)}}
	broken := &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{`)}}
	for image, want := range map[string][]string{
		"nginx": {"me"}, "docker.io/library/nginx:1": {"me"}, "registry.example:5000/team/x": {"team", "host"}, "registry.example:5000/teamx/x": {"host"},
		"a.wild.example/x": {"wild"}, "a.b.wild.example/x": nil, "old.example/x@sha256:0000000000000000000000000000000000000000000000000000000000000000": {"old"}, "other.example/x": nil,
	} {
		var got []string
		for _, a := range Credentials([]*corev1.Secret{secret, broken, old}, image) {
			got = append(got, a.Username)
			if a.Username == "me" && a.Password != "pass:word" {
				t.Errorf("password %q", a.Password)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v, want %v", image, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: got %v, want %v", image, got, want)
			}
		}
	}
}

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{"nginx": "nginx:latest", "nginx:1": "nginx:1", "r:5000/a/b": "r:5000/a/b:latest", "r.io/UPPER/x": "", "a b": ""} {
		got, err := Normal(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q %v", in, got, err)
		}
	}
}
