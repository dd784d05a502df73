package discovery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/munnerz/goautoneg"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const (
	mediaJSON     = "application/json"
	mediaYAML     = "application/yaml"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
)

// document is one answer, encoded at most once in each media type.
type document struct {
	object     runtime.Object
	aggregated bool

	mu     sync.Mutex
	bodies map[string]body
}

type body struct {
	data []byte
	etag string
}

func (d *document) contentType(mt string) string {
	if d.aggregated {
		return mt + ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	}
	return mt
}

func (d *document) encode(mt string) (data []byte, etag string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.bodies[mt]
	if !ok {
		if b.data, err = encode(d.object, mt); err != nil {
			return nil, "", err
		}
		sum := sha256.Sum256(b.data)
		b.etag = `"` + strings.ToUpper(hex.EncodeToString(sum[:])) + `"`
		if d.bodies == nil {
			d.bodies = map[string]body{}
		}
		d.bodies[mt] = b
	}
	return b.data, b.etag, nil
}

func encode(obj runtime.Object, mt string) ([]byte, error) {
	if mt == mediaProtobuf {
		gvk := obj.GetObjectKind().GroupVersionKind()
		m, ok := obj.(interface{ Marshal() ([]byte, error) })
		if !ok {
			return nil, fmt.Errorf("discovery: %T has no protobuf encoding", obj)
		}
		raw, err := m.Marshal()
		if err != nil {
			return nil, fmt.Errorf("discovery: encode %s: %w", gvk.Kind, err)
		}
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind}, Raw: raw}
		data, err := u.Marshal()
		return append([]byte("k8s\x00"), data...), err
	}
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("discovery: encode %T: %w", obj, err)
	}
	if mt == mediaYAML {
		return yaml.JSONToYAML(data)
	}
	return append(data, '\n'), nil
}

// negotiate picks the first thing that the client likes and that there is; aggregated may be nil.
func negotiate(accept []string, plain, aggregated *document) (*document, string, bool) {
	header := strings.Join(accept, ",")
	if strings.TrimSpace(header) == "" {
		return plain, mediaJSON, true
	}
	for _, a := range goautoneg.ParseAccept(header) {
		mt := ""
		switch {
		case a.Type == "*" && a.SubType == "*", a.Type == "application" && (a.SubType == "*" || a.SubType == "json"):
			mt = mediaJSON
		case a.Type == "application" && a.SubType == "yaml":
			mt = mediaYAML
		case a.Type == "application" && a.SubType == "vnd.kubernetes.protobuf":
			mt = mediaProtobuf
		default:
			continue
		}
		as := a.Params["as"]
		if as == "" {
			return plain, mt, true
		}
		if aggregated != nil && as == "APIGroupDiscoveryList" && a.Params["g"] == "apidiscovery.k8s.io" && a.Params["v"] == "v2" {
			return aggregated, mt, true
		}
	}
	return nil, "", false
}
