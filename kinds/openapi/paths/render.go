package paths

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

type object = map[string]any

var pathText = map[string]string{
	"name":       "name of the object",
	"namespace":  "object name and auth scope, such as for teams and projects",
	subPathParam: "path to the resource",
}

// pathParameters are the parameters in a path's braces, and pretty, which every path takes.
func pathParameters(path string) []string {
	var names []string
	for _, part := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

func gvkObject(gvk schema.GroupVersionKind) object {
	return object{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
}

// common is what an operation has in both forms.
func (o *Operation) common(gv schema.GroupVersion) object {
	out := object{"description": o.text, "operationId": o.id, "tags": []string{tag(gv)}}
	if o.action != "" {
		out["x-kubernetes-action"] = o.action
		out["x-kubernetes-group-version-kind"] = gvkObject(o.gvk)
	}
	return out
}

func codeText(code string) string {
	return map[string]string{"200": "OK", "201": "Created", "202": "Accepted"}[code]
}

// V3 renders operations as OpenAPI 3 paths.
func V3(gv schema.GroupVersion, ops []Operation) object {
	ref := func(model string) object {
		if model == "" {
			return object{"type": "string"}
		}
		return object{"$ref": "#/components/schemas/" + model}
	}
	content := func(model string, types []string) object {
		out := object{}
		for _, t := range types {
			out[t] = object{"schema": ref(model)}
		}
		return out
	}
	query := func(in string, p parameter) object {
		out := object{"name": p.name, "in": in, "description": p.text, "schema": object{"type": p.typ, "uniqueItems": true}}
		if in == "path" {
			out["required"] = true
		}
		return out
	}
	paths := object{}
	for _, o := range ops {
		item, ok := paths[o.path].(object)
		if !ok {
			item = object{}
			if o.action != "" {
				params := []object{}
				for _, name := range pathParameters(o.path) {
					params = append(params, query("path", parameter{name, "string", pathText[name]}))
				}
				item["parameters"] = append(params, query("query", parameter{"pretty", "string", prettyText}))
			}
			paths[o.path] = item
		}
		op := o.common(gv)
		if len(o.query) > 0 {
			var params []object
			for _, p := range o.query {
				params = append(params, query("query", p))
			}
			op["parameters"] = params
		}
		if o.body != "" {
			types := o.consumes
			if types == nil {
				types = anything
			}
			body := object{"content": content(o.body, types)}
			if !o.optionalBody {
				body["required"] = true
			}
			op["requestBody"] = body
		}
		responses := object{"401": object{"description": "Unauthorized"}}
		for _, code := range o.codes {
			responses[code] = object{"description": codeText(code), "content": content(o.result, o.produces)}
		}
		op["responses"] = responses
		item[o.method] = op
	}
	return paths
}

// V2 renders operations as OpenAPI 2 paths.
func V2(gv schema.GroupVersion, ops []Operation) object {
	ref := func(model string) object {
		if model == "" {
			return object{"type": "string"}
		}
		return object{"$ref": "#/definitions/" + model}
	}
	query := func(in string, p parameter) object {
		out := object{"name": p.name, "in": in, "description": p.text, "type": p.typ, "uniqueItems": true}
		if in == "path" {
			out["required"] = true
		}
		return out
	}
	paths := object{}
	for _, o := range ops {
		item, ok := paths[o.path].(object)
		if !ok {
			item = object{}
			if o.action != "" {
				params := []object{}
				for _, name := range pathParameters(o.path) {
					params = append(params, query("path", parameter{name, "string", pathText[name]}))
				}
				item["parameters"] = append(params, query("query", parameter{"pretty", "string", prettyText}))
			}
			paths[o.path] = item
		}
		op := o.common(gv)
		params := []object{}
		if o.body != "" {
			body := object{"name": "body", "in": "body", "schema": ref(o.body)}
			if !o.optionalBody {
				body["required"] = true
			}
			params = append(params, body)
		}
		for _, p := range o.query {
			params = append(params, query("query", p))
		}
		if len(params) > 0 {
			op["parameters"] = params
		}
		responses := object{"401": object{"description": "Unauthorized"}}
		for _, code := range o.codes {
			responses[code] = object{"description": codeText(code), "schema": ref(o.result)}
		}
		consumes := o.consumes
		if consumes == nil {
			consumes = anything
		}
		op["responses"], op["consumes"], op["produces"], op["schemes"] = responses, consumes, o.produces, []string{"https"}
		item[o.method] = op
	}
	return paths
}

// Models are the names of all schemas that operations speak of.
func Models(ops []Operation) []string {
	names := map[string]bool{statusModel: true, deleteModel: true, watchModel: true}
	for _, o := range ops {
		for _, m := range []string{o.body, o.result} {
			if m != "" {
				names[m] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
