package kinds

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// protobufMagic opens every protobuf value of Kubernetes, at rest and on the wire (KEP-2155's "k8s\0").
var protobufMagic = []byte{'k', '8', 's', 0}

type protobufMessage interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
	Unmarshal([]byte) error
}

type protobufCodec struct {
	gvk  schema.GroupVersionKind
	make func() Object
}

// Protobuf is the codec of built-in kinds: the envelope and the encoding that Kubernetes keeps in etcd, without resourceVersion.
func Protobuf(gvk schema.GroupVersionKind, make func() Object) Codec {
	return protobufCodec{gvk, make}
}

// Encode returns a slice of exactly the encoded size. It does not change obj, but for the moment in which its resourceVersion is taken out:
// obj must be private to the caller.
func (c protobufCodec) Encode(obj Object) ([]byte, error) {
	m, ok := obj.(protobufMessage)
	if !ok {
		return nil, fmt.Errorf("kinds: %T has no protobuf encoding", obj)
	}
	rv := obj.GetResourceVersion()
	if rv != "" {
		obj.SetResourceVersion("")
		defer obj.SetResourceVersion(rv)
	}
	raw := make([]byte, m.Size())
	if _, err := m.MarshalToSizedBuffer(raw); err != nil {
		return nil, fmt.Errorf("kinds: encode %s: %w", c.gvk.Kind, err)
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: c.gvk.GroupVersion().String(), Kind: c.gvk.Kind}, Raw: raw}
	out := make([]byte, len(protobufMagic)+u.Size())
	copy(out, protobufMagic)
	if _, err := u.MarshalToSizedBuffer(out[len(protobufMagic):]); err != nil {
		return nil, fmt.Errorf("kinds: encode %s: %w", c.gvk.Kind, err)
	}
	return out, nil
}

func (c protobufCodec) Decode(data []byte) (Object, error) {
	if !bytes.HasPrefix(data, protobufMagic) {
		return nil, fmt.Errorf("kinds: stored %s does not begin with the protobuf prefix", c.gvk.Kind)
	}
	var u runtime.Unknown
	if err := u.Unmarshal(data[len(protobufMagic):]); err != nil {
		return nil, fmt.Errorf("kinds: stored %s: %w", c.gvk.Kind, err)
	}
	obj := c.make()
	if err := obj.(protobufMessage).Unmarshal(u.Raw); err != nil {
		return nil, fmt.Errorf("kinds: stored %s: %w", c.gvk.Kind, err)
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return obj, nil
}

// restoring is a codec with something to do after reading.
type restoring struct {
	Codec
	restore func(obj Object)
}

func (c restoring) Decode(data []byte) (Object, error) {
	obj, err := c.Codec.Decode(data)
	if err == nil {
		c.restore(obj)
	}
	return obj, err
}
