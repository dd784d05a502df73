package kubelet

import (
	"fmt"
	"io"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// maxEnvFile is how much of an env file is read.
const maxEnvFile = 1 << 20

// envFile reads a key of an env file in a volume of the pod. Links may not lead out of the volume.
func (w *worker) envFile(ref *corev1.FileKeySelector) (string, bool, error) {
	dir, ok := w.set.Path(ref.VolumeName)
	if !ok {
		return "", false, fmt.Errorf("cannot find the volume %q referenced by FileKeyRef", ref.VolumeName)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", false, err
	}
	defer root.Close()
	f, err := root.Open(ref.Path)
	if err != nil {
		if os.IsNotExist(err) && ref.Optional != nil && *ref.Optional {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't parse env file")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvFile))
	if err != nil {
		return "", false, fmt.Errorf("couldn't parse env file")
	}
	for _, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.TrimSpace(name) != ref.Key {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '\'' || value[0] == '"') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		return value, true, nil
	}
	return "", false, nil
}
