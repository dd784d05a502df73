package custom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/jsonpath"

	"github.com/tenet-run/tenet/kinds"
)

// column is a printer column with its path parsed.
type column struct {
	typ  string
	path *jsonpath.JSONPath
}

// printerColumns of a version: those of the definition, or the age alone.
func printerColumns(v *apiextensionsv1.CustomResourceDefinitionVersion) []apiextensionsv1.CustomResourceColumnDefinition {
	if len(v.AdditionalPrinterColumns) > 0 {
		return v.AdditionalPrinterColumns
	}
	return []apiextensionsv1.CustomResourceColumnDefinition{{
		Name: "Age", Type: "date", Description: metadataDoc["creationTimestamp"], JSONPath: ".metadata.creationTimestamp",
	}}
}

// columns parses paths; those from the first that does not parse on are left out, as upstream does.
func columns(v *apiextensionsv1.CustomResourceDefinitionVersion) []column {
	var out []column
	for _, c := range printerColumns(v) {
		path := jsonpath.New(c.Name).AllowMissingKeys(true)
		if err := path.Parse("{" + c.JSONPath + "}"); err != nil {
			break
		}
		out = append(out, column{c.Type, path})
	}
	return out
}

func (w *work) table() *kinds.Table {
	var v *apiextensionsv1.CustomResourceDefinitionVersion
	for i := range w.d.versions {
		if w.d.versions[i].Name == w.name {
			v = &w.d.versions[i]
		}
	}
	t := &kinds.Table{Columns: []metav1.TableColumnDefinition{kinds.NameColumn()}}
	for _, c := range printerColumns(v) {
		text := c.Description
		if text == "" {
			text = "Custom resource definition column (in JSONPath format): " + c.JSONPath
		}
		t.Columns = append(t.Columns, metav1.TableColumnDefinition{Name: c.Name, Type: c.Type, Format: c.Format, Description: text, Priority: c.Priority})
	}
	t.Row = func(obj kinds.Object) []any {
		cells := make([]any, len(t.Columns))
		cells[0] = obj.GetName()
		u, c, errs := w.prepared(obj)
		if errs != nil {
			return cells
		}
		for i, col := range c.printed() {
			cells[i+1] = col.cell(u.Object)
		}
		return cells
	}
	return t
}

func (c column) cell(obj map[string]any) any {
	results, err := c.path.FindResults(obj)
	if err != nil || len(results) == 0 || len(results[0]) == 0 {
		return nil
	}
	value := results[0][0].Interface()
	if c.typ == "string" {
		var text bytes.Buffer
		if err := c.path.PrintResults(&text, []reflect.Value{reflect.ValueOf(value)}); err != nil {
			return nil
		}
		return text.String()
	}
	switch v := value.(type) {
	case int64:
		switch c.typ {
		case "integer":
			return v
		case "number":
			return float64(v)
		}
	case float64:
		switch c.typ {
		case "integer":
			return int64(v)
		case "number":
			return v
		}
	case json.Number:
		switch c.typ {
		case "integer":
			if n, err := v.Int64(); err == nil {
				return n
			}
		case "number":
			if n, err := v.Float64(); err == nil {
				return n
			}
		}
	case bool:
		if c.typ == "boolean" {
			return v
		}
	case string:
		if c.typ == "date" {
			var t metav1.Time
			if err := t.UnmarshalQueryParameter(v); err != nil {
				return "<invalid>"
			}
			return kinds.Age(t)
		}
	}
	return nil
}

// selectable is a selectable field with its path parsed.
type selectable struct{ path *jsonpath.JSONPath }

func selectables(v *apiextensionsv1.CustomResourceDefinitionVersion) map[string]selectable {
	out := map[string]selectable{}
	for _, f := range v.SelectableFields {
		path := jsonpath.New("selectableField").AllowMissingKeys(true)
		if err := path.Parse("{" + f.JSONPath + "}"); err == nil {
			out[trimDot(f.JSONPath)] = selectable{path}
		}
	}
	return out
}

// selected is the value of a selectable field of a hub object; "" when it has none.
func (w *work) selected(name string, obj kinds.Object) string {
	u, v, errs := w.prepared(obj)
	if errs != nil {
		return ""
	}
	f, ok := v.selected()[name]
	if !ok {
		return ""
	}
	results, err := f.path.FindResults(u.Object)
	if err != nil || len(results) == 0 || len(results[0]) == 0 {
		return ""
	}
	value := results[0][0].Interface()
	if value == nil {
		return ""
	}
	if t, ok := value.(time.Time); ok {
		return t.Format(time.RFC3339)
	}
	return fmt.Sprint(value)
}
