// Package paths describes what can be done with kinds in the form of OpenAPI: the paths of a group version, each with its operations. The generator of the built-in
// documents uses it, and kinds/custom at run time.
package paths

import (
	"reflect"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
)

// Operation is one method on one path, before it takes the form of OpenAPI 2 or 3.
type Operation struct {
	path, method string
	id, text     string
	action       string // x-kubernetes-action
	gvk          schema.GroupVersionKind
	query        []parameter
	body         string // model name; "" for none
	optionalBody bool
	result       string // model name; "" for a plain string
	codes        []string
	produces     []string
	consumes     []string
}

// parameter is a query or path parameter.
type parameter struct{ name, typ, text string }

var (
	jsonYAMLProto = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"}
	withWatch     = append(slices.Clone(jsonYAMLProto), "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch", "application/cbor-seq")
	patches       = []string{
		"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
		"application/apply-patch+yaml", "application/apply-patch+cbor",
	}
	customPatches = slices.DeleteFunc(slices.Clone(patches), func(t string) bool { return strings.Contains(t, "strategic") })
	anything      = []string{"*/*"}
)

const (
	statusModel  = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
	deleteModel  = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
	patchModel   = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
	listModel    = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList"
	watchModel   = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"
	prettyText   = "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget)."
	subPathParam = "path"
)

// options turns a struct of query options into parameters, with the descriptions that the type carries.
func options(types ...any) []parameter {
	var out []parameter
	seen := map[string]bool{"kind": true, "apiVersion": true}
	for _, t := range types {
		text := map[string]string{}
		if d, ok := t.(interface{ SwaggerDoc() map[string]string }); ok {
			text = d.SwaggerDoc()
		}
		rt := reflect.Indirect(reflect.ValueOf(t)).Type()
		for i := range rt.NumField() {
			f := rt.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			typ := parameterType(f.Type)
			if name == "" || name == "-" || typ == "" || seen[name] {
				continue
			}
			seen[name] = true
			out = append(out, parameter{name, typ, text[name]})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}

func withoutProtobuf(types []string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(t string) bool { return strings.Contains(t, "protobuf") })
}

func without(params []parameter, names ...string) []parameter {
	return slices.DeleteFunc(params, func(p parameter) bool { return slices.Contains(names, p.name) })
}

func parameterType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int32, reflect.Int64:
		return "integer"
	}
	if t == reflect.TypeFor[metav1.Time]() {
		return "string"
	}
	return ""
}

// Operations lists everything that a group version offers, over all kinds served in it.
func Operations(gv schema.GroupVersion, all []*kinds.Kind) []Operation {
	root := "/apis/" + gv.String()
	if gv.Group == "" {
		root = "/api/" + gv.Version
	}
	ops := []Operation{{
		path: root + "/", method: "get", id: "get" + camel(gv) + "APIResources", text: "get available resources",
		result: listModel, codes: []string{"200"}, produces: jsonYAMLProto[:3],
	}}
	for _, k := range all {
		if served := k.Serves(gv); served != nil {
			ops = append(ops, kindOperations(gv, root, k, served)...)
		}
	}
	return ops
}

func kindOperations(gv schema.GroupVersion, root string, k *kinds.Kind, served *kinds.Served) []Operation {
	model, list := ModelName(served.New()), ""
	if served.NewList != nil {
		list = ModelName(served.NewList())
	}
	gvk := gv.WithKind(k.Kind)
	scope, collection := "", root+"/"+k.Plural
	if k.Namespaced {
		scope, collection = "Namespaced", root+"/namespaces/{namespace}/"+k.Plural
	}
	item := collection + "/{name}"
	id := func(verb, suffix string) string { return verb + camel(gv) + scope + k.Kind + suffix }
	offers := func(verb string) bool { return !slices.Contains(k.WithoutVerbs, verb) }
	lists := options(metav1.ListOptions{})
	var ops []Operation
	add := func(verb string, o Operation) {
		if offers(verb) {
			o.gvk = gvk
			ops = append(ops, o)
		}
	}
	kind := "a " + k.Kind
	if strings.ContainsRune("AEIOU", rune(k.Kind[0])) {
		kind = "an " + k.Kind
	}
	add("list", Operation{
		path: collection, method: "get", id: id("list", ""), action: "list", text: "list or watch objects of kind " + k.Kind,
		query: lists, result: list, codes: []string{"200"}, produces: withWatch,
	})
	add("create", Operation{
		path: collection, method: "post", id: id("create", ""), action: "post", text: "create " + kind,
		query: options(metav1.CreateOptions{}), body: model, result: model, codes: []string{"200", "201", "202"}, produces: jsonYAMLProto,
	})
	add("deletecollection", Operation{
		path: collection, method: "delete", id: strings.Replace(id("delete", ""), camel(gv)+scope, camel(gv)+"Collection"+scope, 1), action: "deletecollection",
		text: "delete collection of " + k.Kind, query: without(options(metav1.ListOptions{}, metav1.DeleteOptions{}), "watch", "allowWatchBookmarks"), body: deleteModel, optionalBody: true,
		result: statusModel, codes: []string{"200"}, produces: jsonYAMLProto,
	})
	add("get", Operation{
		path: item, method: "get", id: id("read", ""), action: "get", text: "read the specified " + k.Kind,
		result: model, codes: []string{"200"}, produces: jsonYAMLProto,
	})
	add("update", Operation{
		path: item, method: "put", id: id("replace", ""), action: "put", text: "replace the specified " + k.Kind,
		query: options(metav1.UpdateOptions{}), body: model, result: model, codes: []string{"200", "201"}, produces: jsonYAMLProto,
	})
	add("patch", Operation{
		path: item, method: "patch", id: id("patch", ""), action: "patch", text: "partially update the specified " + k.Kind,
		query: options(metav1.PatchOptions{}), body: patchModel, result: model, codes: []string{"200", "201"}, produces: jsonYAMLProto, consumes: patches,
	})
	add("delete", Operation{
		path: item, method: "delete", id: id("delete", ""), action: "delete", text: "delete " + kind,
		query: options(metav1.DeleteOptions{}), body: deleteModel, optionalBody: true, result: statusModel, codes: []string{"200", "202"}, produces: jsonYAMLProto,
	})
	if k.Namespaced {
		add("list", Operation{
			path: root + "/" + k.Plural, method: "get", id: "list" + camel(gv) + k.Kind + "ForAllNamespaces", action: "list",
			text: "list or watch objects of kind " + k.Kind, query: lists, result: list, codes: []string{"200"}, produces: withWatch,
		})
	}
	if served == k.Served[0] || served.Own { // otherwise subresources belong to the first version
		for _, sub := range k.SubresourcesOf(served) {
			ops = append(ops, subresourceOperations(gvk, item, model, id, sub)...)
		}
	}
	if k.Custom() {
		for i := range ops {
			ops[i].produces = withoutProtobuf(ops[i].produces)
			if ops[i].consumes != nil {
				ops[i].consumes = customPatches
			}
		}
	}
	return ops
}

func subresourceOperations(owner schema.GroupVersionKind, item, model string, id func(verb, suffix string) string, sub *kinds.Subresource) []Operation {
	gvk, sent := owner, model
	var connect []parameter
	isConnection := false
	if sub.Name == "log" { // a connection that discovery shows as a Pod
		isConnection, connect = true, options(corev1.PodLogOptions{})
	} else if sub.New != nil {
		view := sub.New()
		gvk = sub.GVK
		if isConnection = sub.Connect && strings.HasSuffix(sub.GVK.Kind, "Options"); isConnection {
			connect = options(view)
		} else {
			sent = ModelName(view)
		}
	}
	suffix := camelWord(sub.Name)
	path := item + "/" + sub.Name
	var ops []Operation
	for _, verb := range sub.Verbs {
		o := Operation{path: path, gvk: gvk, result: sent, produces: jsonYAMLProto, codes: []string{"200", "201"}}
		if isConnection {
			o.method = map[string]string{"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}[verb]
			prefix := "connect" + camel(owner.GroupVersion())
			o.id, o.action = prefix+camelWord(o.method)+strings.TrimPrefix(id("connect", suffix), prefix), "connect"
			o.text, o.query, o.result, o.codes, o.produces = "connect "+strings.ToUpper(o.method)+" requests to "+sub.Name+" of "+owner.Kind, connect, "", []string{"200"}, anything
			if sub.Name == "log" {
				o.id, o.action, o.text = id("read", suffix), "get", "read log of the specified Pod"
				o.gvk, o.produces = owner, []string{"text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"}
			}
			ops = append(ops, o)
			if sub.Name == "proxy" {
				o.path, o.id = path+"/{"+subPathParam+"}", o.id+"WithPath"
				ops = append(ops, o)
			}
			continue
		}
		switch verb {
		case "get":
			o.method, o.action, o.id, o.codes = "get", "get", id("read", suffix), []string{"200"}
			o.text = "read " + sub.Name + " of the specified " + owner.Kind
		case "update":
			o.method, o.action, o.id, o.body = "put", "put", id("replace", suffix), sent
			o.text, o.query = "replace "+sub.Name+" of the specified "+owner.Kind, options(metav1.UpdateOptions{})
		case "patch":
			o.method, o.action, o.id, o.body, o.consumes = "patch", "patch", id("patch", suffix), patchModel, patches
			o.text, o.query = "partially update "+sub.Name+" of the specified "+owner.Kind, options(metav1.PatchOptions{})
		case "create":
			o.method, o.action, o.id, o.body, o.codes = "post", "post", id("create", suffix), sent, []string{"200", "201", "202"}
			o.text, o.query = "create "+sub.Name+" of a "+owner.Kind, options(metav1.CreateOptions{})
		}
		ops = append(ops, o)
	}
	return ops
}

// ModelName is the name of a type's schema: io.k8s.api.core.v1.Pod; for what is no Go type com.example.v1.Widget.
func ModelName(v runtime.Object) string {
	if named, ok := v.(interface{ OpenAPIModelName() string }); ok {
		return named.OpenAPIModelName()
	}
	return CustomName(v.GetObjectKind().GroupVersionKind())
}

// CustomName is the name of the schema of a custom kind.
func CustomName(gvk schema.GroupVersionKind) string {
	parts := strings.Split(gvk.Group, ".")
	slices.Reverse(parts)
	return strings.Join(append(parts, gvk.Version, gvk.Kind), ".")
}

// camel names a group version as operation ids do: CoreV1, EventsV1.
func camel(gv schema.GroupVersion) string {
	group, _, _ := strings.Cut(gv.Group, ".")
	if group == "" {
		group = "core"
	}
	return camelWord(group) + camelWord(gv.Version)
}

func camelWord(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func tag(gv schema.GroupVersion) string {
	group, _, _ := strings.Cut(gv.Group, ".")
	if group == "" {
		group = "core"
	}
	return group + "_" + gv.Version
}
