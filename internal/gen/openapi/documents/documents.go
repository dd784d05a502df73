// Package documents makes the OpenAPI documents of a list of kinds from the schemas that kube-openapi's openapi-gen writes: OpenAPI 3, one document
// a group version, OpenAPI 2, all in one, and the schema that server-side apply needs in the compact form of kinds/openapi. openapi-gen knows
// types only; the paths, and which type is which kind, come from the list of kinds. It is part of the generator and never linked into Tenet.
package documents

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/openapi"
	"github.com/tenet-run/tenet/kinds/openapi/paths"
)

type object = map[string]any

// File is a generated file, by its name in the data folder of kinds/openapi.
type File struct {
	Name string
	Data []byte
}

// Build makes all documents. definitions is what openapi-gen wrote; version is that of the API, fingerprint sums up what the documents are made of.
func Build(definitions common.GetOpenAPIDefinitions, all []*kinds.Kind, version, fingerprint string) ([]File, error) {
	gvks := kindsOfModels(all)
	// only, when set, is the group version whose kinds count: a document of OpenAPI 3 does not speak of other groups' DeleteOptions.
	var only schema.GroupVersion
	nameAndKind := func(name string) (string, spec.Extensions) {
		list := gvks[name]
		if len(list) == 0 {
			return name, nil
		}
		own := slices.DeleteFunc(slices.Clone(list), func(gvk schema.GroupVersionKind) bool { return gvk.GroupVersion() != only })
		if len(own) > 0 {
			list = own
		}
		ext := make([]any, len(list))
		for i, gvk := range list {
			ext[i] = object{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
		}
		return name, spec.Extensions{"x-kubernetes-group-version-kind": ext}
	}
	info := &spec.Info{InfoProps: spec.InfoProps{Title: "Tenet", Version: version}}
	v3 := &common.OpenAPIV3Config{Info: info, GetDefinitions: definitions, GetDefinitionName: nameAndKind}
	v2 := &common.Config{Info: info, GetDefinitions: definitions, GetDefinitionName: nameAndKind}

	var files []File
	all3, pathsAll := map[string]*spec.Schema{}, object{}
	var modelsAll []string
	index := map[string]string{}
	for _, gv := range openapi.GroupVersions(all) {
		ops := paths.Operations(gv, all)
		only = gv
		schemas, err := builder3.BuildOpenAPIDefinitionsForResources(v3, paths.Models(ops)...)
		if err != nil {
			return nil, fmt.Errorf("schemas of %s: %w", gv, err)
		}
		for name, s := range schemas {
			all3[name] = s
		}
		doc, err := document(&spec3.OpenAPI{Version: "3.0.0", Info: info, Components: &spec3.Components{Schemas: schemas}}, paths.V3(gv, ops))
		if err != nil {
			return nil, fmt.Errorf("document of %s: %w", gv, err)
		}
		path := "apis/" + gv.String()
		if gv.Group == "" {
			path = "api/" + gv.Version
		}
		index[path] = hash(doc)
		files = append(files, File{openapi.FileOf(path), compress(doc)})
		for p, item := range paths.V2(gv, ops) {
			pathsAll[p] = item
		}
		modelsAll = append(modelsAll, paths.Models(ops)...)
	}
	only = schema.GroupVersion{}
	slices.Sort(modelsAll)
	swagger, err := builder.BuildOpenAPIDefinitionsForResources(v2, slices.Compact(modelsAll)...)
	if err != nil {
		return nil, fmt.Errorf("schemas of OpenAPI 2: %w", err)
	}
	swagger.Info = info
	doc, err := document(swagger, pathsAll)
	if err != nil {
		return nil, err
	}
	parsed, err := openapi_v2.ParseDocument(doc)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI 2 does not parse: %w", err)
	}
	binary, err := proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
	if err != nil {
		return nil, err
	}
	types, err := schemaconv.ToSchemaFromOpenAPI(all3, false)
	if err != nil {
		return nil, fmt.Errorf("schema for apply: %w", err)
	}
	byKind := map[schema.GroupVersionKind]string{}
	for name := range all3 {
		for _, gvk := range gvks[name] {
			byKind[gvk] = name
		}
	}
	index["v2"] = hash(doc)
	index["fingerprint"] = fingerprint
	indexJSON, err := json.MarshalIndent(index, "", "\t")
	if err != nil {
		return nil, err
	}
	packed, err := openapi.Pack(types, byKind)
	if err != nil {
		return nil, err
	}
	return append(files,
		File{"v2.json.gz", compress(doc)},
		File{"v2.pb.gz", compress(binary)},
		File{"types.bin.gz", compress(packed)},
		File{"index.json", append(indexJSON, '\n')},
	), nil
}

// document adds paths to a document that was built without.
func document(doc any, all object) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var out object
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	out["paths"] = all
	if _, ok := out["swagger"]; ok {
		out["securityDefinitions"] = object{"BearerToken": object{
			"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
		}}
		out["security"] = []object{{"BearerToken": []string{}}}
	}
	return json.Marshal(out)
}

// kindsOfModels says for each schema which kinds it stands for. Options and events of a watch belong to every group version.
func kindsOfModels(all []*kinds.Kind) map[string][]schema.GroupVersionKind {
	out := map[string][]schema.GroupVersionKind{}
	add := func(v runtime.Object, gvk schema.GroupVersionKind) {
		name := paths.ModelName(v)
		if !slices.Contains(out[name], gvk) {
			out[name] = append(out[name], gvk)
		}
	}
	for _, gv := range openapi.GroupVersions(all) {
		for _, k := range all {
			served := k.Serves(gv)
			if served == nil {
				continue
			}
			add(served.New(), gv.WithKind(k.Kind))
			if served.NewList != nil {
				add(served.NewList(), gv.WithKind(k.Kind+"List"))
			}
			for _, sub := range k.Subresources {
				if sub.New != nil && !strings.HasSuffix(sub.GVK.Kind, "Options") {
					add(sub.New(), sub.GVK)
				}
			}
		}
		add(&metav1.DeleteOptions{}, gv.WithKind("DeleteOptions"))
		add(&metav1.WatchEvent{}, gv.WithKind("WatchEvent"))
	}
	v1 := schema.GroupVersion{Version: "v1"}
	add(&metav1.Status{}, v1.WithKind("Status"))
	add(&metav1.APIResourceList{}, v1.WithKind("APIResourceList"))
	add(&metav1.APIGroup{}, v1.WithKind("APIGroup"))
	add(&metav1.APIGroupList{}, v1.WithKind("APIGroupList"))
	add(&metav1.APIVersions{}, v1.WithKind("APIVersions"))
	return out
}

func compress(data []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	if _, err := w.Write(data); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func hash(data []byte) string { return fmt.Sprintf("%X", sha256.Sum256(data)) }
