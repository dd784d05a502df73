package documents

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/kube-openapi/pkg/common"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/openapi"
)

// Write makes all documents and replaces what is in the folder out.
func Write(out, gomod string, definitions common.GetOpenAPIDefinitions, all []*kinds.Kind) error {
	mod, err := os.ReadFile(gomod)
	if err != nil {
		return err
	}
	modules := openapi.Modules(string(mod))
	files, err := Build(definitions, all, apiVersion(modules), openapi.Fingerprint(all, modules))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(out, f.Name), f.Data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
	}
	return nil
}

// apiVersion is the version of Kubernetes whose types k8s.io/api has: v1.37.2 for v0.37.2.
func apiVersion(modules []string) string {
	for _, m := range modules {
		if v, ok := strings.CutPrefix(m, "k8s.io/api v0."); ok {
			return "v1." + v
		}
	}
	return "unversioned"
}
