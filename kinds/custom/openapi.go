package custom

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/openapi"
	"github.com/tenet-run/tenet/kinds/openapi/paths"
)

// Fingerprint sums up what the OpenAPI documents of custom kinds are made of, without making them: it is the same as long as the definitions are.
func Fingerprint(list []*kinds.Kind) string {
	lines := make([]string, 0, len(list))
	for _, k := range list {
		if d := Of(k); d != nil {
			lines = append(lines, fmt.Sprintln(d.Name, d.UID, d.Generation, d.names))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%X", sha256.Sum256([]byte(strings.Join(lines, ""))))
}

// fragment is the part of an OpenAPI document that custom kinds make: schemas by name, and paths.
type fragment struct {
	schemas map[string]any
	paths   map[string]any
}

// fragmentOf describes the custom kinds among list, in one group version, or in all when gv is empty.
func fragmentOf(gv schema.GroupVersion, list []*kinds.Kind, v2 bool) (*fragment, error) {
	f := &fragment{map[string]any{}, map[string]any{}}
	for _, k := range list {
		d := Of(k)
		if d == nil {
			continue
		}
		crd, err := d.full()
		if err != nil {
			return nil, err
		}
		crd.Spec.Names = d.names // as they were accepted
		for _, s := range k.Served {
			if !gv.Empty() && s.GroupVersion() != gv {
				continue
			}
			m, err := modelOf(crd, s.Version, v2)
			if err != nil {
				return nil, err
			}
			if !v2 {
				m = m.wrapped()
			}
			f.schemas[m.name], f.schemas[m.listName] = m.schema, m.list
			ops := paths.Operations(s.GroupVersion(), []*kinds.Kind{k})
			render := paths.V3
			if v2 {
				render = paths.V2
			}
			for path, item := range render(s.GroupVersion(), ops) {
				f.paths[path] = item
			}
		}
	}
	return f, nil
}

// DocumentV3 is the OpenAPI 3 document of a group version with custom kinds, as JSON. base is the document of the built-in kinds in the same group version, or nil.
func DocumentV3(gv schema.GroupVersion, list []*kinds.Kind, base []byte) ([]byte, error) {
	f, err := fragmentOf(gv, list, false)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
		Info    json.RawMessage            `json:"info"`
		OpenAPI string                     `json:"openapi"`
		Paths   map[string]json.RawMessage `json:"paths"`
	}
	own := base != nil
	if !own {
		if base, err = openapi.Sample(); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(base, &doc); err != nil {
		return nil, fmt.Errorf("custom: %w", err)
	}
	if !own {
		// Of the document of other kinds, what is shared by all is left.
		doc.Paths = map[string]json.RawMessage{}
		for name := range doc.Components.Schemas {
			if !strings.HasPrefix(name, apimachinery) && !strings.HasPrefix(name, "io.k8s.api.autoscaling.v1.Scale") {
				delete(doc.Components.Schemas, name)
			}
		}
		for _, kind := range []string{"DeleteOptions", "WatchEvent"} {
			name := apimachinery + "pkg.apis.meta.v1." + kind
			if doc.Components.Schemas[name], err = withKind(doc.Components.Schemas[name], gv.WithKind(kind)); err != nil {
				return nil, err
			}
		}
	}
	if err := merge(doc.Components.Schemas, f.schemas); err != nil {
		return nil, err
	}
	if err := merge(doc.Paths, f.paths); err != nil {
		return nil, err
	}
	return json.Marshal(doc)
}

// withKind replaces the kinds that a schema stands for.
func withKind(raw json.RawMessage, gvk schema.GroupVersionKind) (json.RawMessage, error) {
	var s map[string]json.RawMessage
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("custom: schema of %s: %w", gvk.Kind, err)
	}
	text, err := json.Marshal([]map[string]string{{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}})
	if err != nil {
		return nil, err
	}
	s["x-kubernetes-group-version-kind"] = text
	return json.Marshal(s)
}

func merge(into map[string]json.RawMessage, from map[string]any) error {
	for name, v := range from {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("custom: %s: %w", name, err)
		}
		into[name] = text
	}
	return nil
}

// PartV2 is what custom kinds add to the OpenAPI 2 document: its definitions and its paths, as members of JSON objects, without braces.
func PartV2(list []*kinds.Kind) (definitions, items []byte, err error) {
	f, err := fragmentOf(schema.GroupVersion{}, list, true)
	if err != nil {
		return nil, nil, err
	}
	if definitions, err = members(f.schemas); err != nil {
		return nil, nil, err
	}
	items, err = members(f.paths)
	return definitions, items, err
}

func members(m map[string]any) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return text[1 : len(text)-1], nil
}

// PartV2Protobuf is the same part in protobuf: appended to the document of the built-in kinds it makes one document, as messages do.
func PartV2Protobuf(list []*kinds.Kind) ([]byte, error) {
	f, err := fragmentOf(schema.GroupVersion{}, list, true)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{"swagger": "2.0", "info": map[string]string{"title": "Tenet", "version": ""}, "definitions": f.schemas, "paths": f.paths})
	if err != nil {
		return nil, err
	}
	doc, err := openapi_v2.ParseDocument(text)
	if err != nil {
		return nil, fmt.Errorf("custom: OpenAPI 2: %w", err)
	}
	doc.Swagger, doc.Info = "", nil // the other part says it
	return proto.MarshalOptions{Deterministic: true}.Marshal(doc)
}
