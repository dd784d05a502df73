package encode

import (
	"bytes"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	kjson "sigs.k8s.io/json"
)

// selfDescribed begins what Kubernetes writes in CBOR: the tag of RFC 8949, section 3.4.6.
var selfDescribed = []byte{0xd9, 0xd9, 0xf7}

// MarshalCBOR is CBOR as Kubernetes writes it (KEP-4222). The object carries its type header. Few clients ask for it, so nothing of it is kept.
func MarshalCBOR(obj runtime.Object) ([]byte, error) {
	var b bytes.Buffer
	err := cbor.NewSerializer(nil, nil).Encode(obj, &b)
	if err == nil {
		return b.Bytes(), nil
	}
	// Raw JSON inside that is no object of its own (the data of a ControllerRevision) goes by way of JSON.
	data, jsonErr := Marshal(obj)
	if jsonErr != nil {
		return nil, err
	}
	return JSONToCBOR(data)
}

// JSONToCBOR turns one JSON value into CBOR.
func JSONToCBOR(data []byte) ([]byte, error) {
	var v any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &v); err != nil {
		return nil, err
	}
	out, err := direct.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(selfDescribed[:len(selfDescribed):len(selfDescribed)], out...), nil
}

// CBORToJSON turns a CBOR map into JSON. Keys that come twice are an error in CBOR.
func CBORToJSON(data []byte) ([]byte, error) {
	var v any
	if err := direct.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, fmt.Errorf("the CBOR data item is no map but %T", v)
	}
	return json.Marshal(v)
}

// CBORFrame appends a watch event in CBOR. Events follow one another without anything between them (RFC 8742).
func CBORFrame(dst []byte, event string, obj runtime.Object) ([]byte, error) {
	raw, err := MarshalCBOR(obj)
	if err != nil {
		return dst, err
	}
	data, err := direct.Marshal(&metav1.WatchEvent{Type: event, Object: runtime.RawExtension{Raw: raw}})
	if err != nil {
		return dst, err
	}
	return append(append(dst, selfDescribed...), data...), nil
}
