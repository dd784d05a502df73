package custom

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"github.com/tenet-run/tenet/kinds"
)

// codec is JSON, as upstream keeps custom objects in etcd. Objects may rest in any version that the definition has or had; they come out in the hub version,
// as the schemas of now allow, with the defaults of now.
type codec struct{ d *Definition }

// Encode writes a hub object. It does not change obj, but for the moment in which its resourceVersion is taken out.
func (c codec) Encode(obj kinds.Object) ([]byte, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("custom: %T is not unstructured", obj)
	}
	if rv := u.GetResourceVersion(); rv != "" {
		u.SetResourceVersion("")
		defer u.SetResourceVersion(rv)
	}
	return json.Marshal(u.Object)
}

func (c codec) Decode(data []byte) (kinds.Object, error) {
	u := &unstructured.Unstructured{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &u.Object); err != nil {
		return nil, fmt.Errorf("custom: stored %s: %w", c.d.names.Kind, err)
	}
	stored, kind := u.GroupVersionKind(), c.d.names.Kind
	if stored.Group != c.d.group || stored.Kind != kind {
		return nil, fmt.Errorf("custom: stored %s says that it is %s", kind, stored)
	}
	if _, ok := u.Object["metadata"].(map[string]any); !ok {
		return nil, fmt.Errorf("custom: stored %s has no metadata", kind)
	}
	if u.GetGeneration() == 0 {
		u.SetGeneration(1) // of objects from before there were generations
	}
	if c.d.has(stored.Version) {
		if err := c.d.fit(stored.Version, u); err != nil {
			return nil, err
		}
		c.d.setDefaults(stored.Version, u)
	}
	return c.d.to(u, c.d.storage)
}
