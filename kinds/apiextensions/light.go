package apiextensions

import (
	"encoding/binary"
	"errors"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// skipped are the fields, by their path of numbers in the protobuf form, that [WithoutSchemas] leaves out: the schema of each version, annotations (which
// hold all of it once more when kubectl applied it) and managedFields. They are nearly all of a definition.
var skipped = map[uint64]map[uint64]map[uint64]bool{
	1: {12: nil, 17: nil}, // metadata.annotations, metadata.managedFields
	2: {7: {4: true}},     // spec.versions[].schema
}

// WithoutSchemas reads a definition at rest, its schemas, annotations and managedFields left out. It costs a twentieth of reading all of one.
func WithoutSchemas(rest []byte) (*apiextensionsv1.CustomResourceDefinition, error) {
	const magic = "k8s\x00"
	if len(rest) < len(magic) || string(rest[:len(magic)]) != magic {
		return nil, errors.New("apiextensions: stored definition does not begin with the protobuf prefix")
	}
	var u runtime.Unknown
	if err := u.Unmarshal(rest[len(magic):]); err != nil {
		return nil, fmt.Errorf("apiextensions: stored definition: %w", err)
	}
	out := make([]byte, 0, 1024)
	out, err := fields(out, u.Raw, func(dst []byte, number uint64, value []byte) ([]byte, bool, error) {
		inner, ok := skipped[number]
		if !ok {
			return dst, false, nil
		}
		return nested(dst, number, value, func(dst []byte, number uint64, value []byte) ([]byte, bool, error) {
			innermost, ok := inner[number]
			if !ok {
				return dst, false, nil
			}
			if innermost == nil {
				return dst, true, nil
			}
			return nested(dst, number, value, func(dst []byte, number uint64, _ []byte) ([]byte, bool, error) { return dst, innermost[number], nil })
		})
	})
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := crd.Unmarshal(out); err != nil {
		return nil, fmt.Errorf("apiextensions: stored definition: %w", err)
	}
	return crd, nil
}

var errCutOff = errors.New("apiextensions: stored definition is cut off")

// rule decides about a field of a message: done means that it has appended what there is to append.
type rule func(dst []byte, number uint64, value []byte) (out []byte, done bool, err error)

// fields copies the fields of a message that f does not deal with. f sees those of bytes only.
func fields(dst, msg []byte, f rule) ([]byte, error) {
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		if n <= 0 {
			return nil, errCutOff
		}
		size := n
		switch tag & 7 {
		case 0:
			_, m := binary.Uvarint(msg[n:])
			if m <= 0 {
				return nil, errCutOff
			}
			size += m
		case 1:
			size += 8
		case 5:
			size += 4
		case 2:
			l, m := binary.Uvarint(msg[n:])
			if m <= 0 || l > uint64(len(msg)-n-m) {
				return nil, errCutOff
			}
			size += m + int(l)
			out, done, err := f(dst, tag>>3, msg[n+m:size])
			if err != nil {
				return nil, err
			}
			if dst = out; done {
				msg = msg[size:]
				continue
			}
		default:
			return nil, errCutOff
		}
		if size > len(msg) {
			return nil, errCutOff
		}
		dst, msg = append(dst, msg[:size]...), msg[size:]
	}
	return dst, nil
}

// nested copies a message inside a message.
func nested(dst []byte, number uint64, msg []byte, f rule) ([]byte, bool, error) {
	inner, err := fields(nil, msg, f)
	if err != nil {
		return nil, false, err
	}
	dst = binary.AppendUvarint(dst, number<<3|2)
	dst = binary.AppendUvarint(dst, uint64(len(inner)))
	return append(dst, inner...), true, nil
}
