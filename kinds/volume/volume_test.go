package volume_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds/volume"
)

func read[T any](t *testing.T, text string) *T {
	t.Helper()
	obj := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), obj); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return obj
}

func TestBest(t *testing.T) {
	volumes := func(t *testing.T) []*corev1.PersistentVolume {
		var list []*corev1.PersistentVolume
		for _, text := range []string{
			`{metadata: {name: large}, spec: {capacity: {storage: 5Gi}, accessModes: [ReadWriteOnce]}, status: {phase: Available}}`,
			`{metadata: {name: small}, spec: {capacity: {storage: 2Gi}, accessModes: [ReadWriteOnce]}, status: {phase: Available}}`,
			`{metadata: {name: versatile}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce, ReadWriteMany]}, status: {phase: Available}}`,
			`{metadata: {name: pending}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}, status: {phase: Pending}}`,
			`{metadata: {name: taken}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], claimRef: {namespace: ns, name: other}}, status: {phase: Available}}`,
			`{metadata: {name: block}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], volumeMode: Block}, status: {phase: Available}}`,
			`{metadata: {name: fast, labels: {disk: ssd}}, spec: {capacity: {storage: 9Gi}, accessModes: [ReadWriteOnce], storageClassName: fast}, status: {phase: Available}}`,
			`{metadata: {name: kept}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: slow, claimRef: {namespace: ns, name: mine}}, status: {phase: Available}}`,
			`{metadata: {name: earlier}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], claimRef: {namespace: ns, name: again, uid: before}}, status: {phase: Released}}`,
			`{metadata: {name: gold}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], volumeAttributesClassName: gold}, status: {phase: Available}}`,
		} {
			list = append(list, read[corev1.PersistentVolume](t, text))
		}
		return list
	}
	claim := func(name, rest string) string {
		return `{metadata: {namespace: ns, name: ` + name + `, uid: now}, spec: {` + rest + `}}`
	}
	once := "accessModes: [ReadWriteOnce], "
	for _, c := range []struct {
		claim    string
		reserved bool
		want     string
	}{
		{claim("a", once+"resources: {requests: {storage: 1Gi}}"), false, "small"}, // rather more space than more ways to use it
		{claim("a", once+"resources: {requests: {storage: 3Gi}}"), false, "large"},
		{claim("a", once+"resources: {requests: {storage: 6Gi}}"), false, ""},
		{claim("a", "accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}"), false, "versatile"},
		{claim("a", once+"volumeMode: Block, resources: {requests: {storage: 1Gi}}"), false, "block"},
		{claim("a", once+"storageClassName: fast, resources: {requests: {storage: 1Gi}}"), false, "fast"},
		{claim("a", once+"storageClassName: fast, selector: {matchLabels: {disk: hdd}}, resources: {requests: {storage: 1Gi}}"), false, ""},
		{claim("a", once+"storageClassName: fast, resources: {requests: {storage: 1Gi}}"), true, ""},
		{claim("a", once+"volumeAttributesClassName: gold, resources: {requests: {storage: 1Gi}}"), false, "gold"},
		{claim("mine", once+"resources: {requests: {storage: 1Gi}}"), true, "kept"}, // reserved: whatever its class
		{claim("mine", once+"resources: {requests: {storage: 2Gi}}"), false, "small"},
		{claim("again", once+"resources: {requests: {storage: 5Gi}}"), false, "large"}, // a claim of the same name had the other one
	} {
		got := ""
		if v := volume.Best(read[corev1.PersistentVolumeClaim](t, c.claim), volumes(t), c.reserved, nil); v != nil {
			got = v.Name
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.claim, got, c.want)
		}
	}
	none := func(*corev1.PersistentVolume) bool { return false }
	if v := volume.Best(read[corev1.PersistentVolumeClaim](t, claim("mine", once+"resources: {requests: {storage: 1Gi}}")), volumes(t), false, none); v != nil {
		t.Errorf("got %s, which is not allowed", v.Name)
	}
}

func TestDefaultClassIsTheNewest(t *testing.T) {
	classes := []*storagev1.StorageClass{
		read[storagev1.StorageClass](t, `{metadata: {name: old, creationTimestamp: "2030-01-01T00:00:00Z", annotations: {storageclass.beta.kubernetes.io/is-default-class: "true"}}}`),
		read[storagev1.StorageClass](t, `{metadata: {name: b, creationTimestamp: "2030-01-02T00:00:00Z", annotations: {storageclass.kubernetes.io/is-default-class: "true"}}}`),
		read[storagev1.StorageClass](t, `{metadata: {name: a, creationTimestamp: "2030-01-02T00:00:00Z", annotations: {storageclass.kubernetes.io/is-default-class: "true"}}}`),
		read[storagev1.StorageClass](t, `{metadata: {name: no, creationTimestamp: "2030-01-03T00:00:00Z"}}`),
	}
	if d := volume.Default(classes); d == nil || d.Name != "a" {
		t.Errorf("got %v, want a", d)
	}
	if d := volume.Default(classes[3:]); d != nil {
		t.Errorf("got %s, which is no default", d.Name)
	}
}
