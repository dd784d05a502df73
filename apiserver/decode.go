package apiserver

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/apiserver/parse"
	"github.com/tenet-run/tenet/kinds"
)

const (
	mediaJSON     = "application/json"
	mediaYAML     = "application/yaml"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
	// CBOR is served (KEP-4222) but, as upstream does while it is not on by default, not named where media types are listed.
	mediaCBOR    = "application/cbor"
	mediaCBORSeq = "application/cbor-seq"
)

// inputMedia reads a Content-Type.
func inputMedia(contentType string) (encode.Media, error) {
	switch contentType {
	case "", mediaJSON:
		return encode.JSON, nil
	case mediaProtobuf:
		return encode.Protobuf, nil
	}
	t, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		switch t {
		case mediaJSON:
			return encode.JSON, nil
		case mediaYAML:
			return encode.YAML, nil
		case mediaProtobuf:
			return encode.Protobuf, nil
		case mediaCBOR:
			return encode.CBOR, nil
		}
	}
	return 0, unsupportedMedia(mediaJSON, mediaYAML, mediaProtobuf)
}

// payload is the body of a write as it came.
type payload struct {
	data  []byte
	media encode.Media
	// validation is Strict, Warn or Ignore; "" is Warn.
	validation string
	// parser reads what is ordinary; nil: no such reader.
	parser *parse.Parser
}

var protobufMagic = []byte("k8s\x00")

// unmarshal decodes into obj and returns the type header that the data carry, and what a strict reader finds fault with. header is nil when not even that could be read.
func (p *payload) unmarshal(obj runtime.Object) (header *schema.GroupVersionKind, strict []error, err error) {
	if p.media == encode.Protobuf {
		switch {
		case len(p.data) == 0:
			return nil, nil, errors.New("empty data")
		case !bytes.HasPrefix(p.data, protobufMagic):
			return nil, nil, fmt.Errorf("provided data does not appear to be a protobuf message, expected prefix %v", protobufMagic)
		case len(p.data) == len(protobufMagic):
			return nil, nil, errors.New("empty body")
		}
		var u runtime.Unknown
		if err := u.Unmarshal(p.data[len(protobufMagic):]); err != nil {
			return nil, nil, err
		}
		gvk := u.GroupVersionKind()
		m, ok := obj.(interface{ Unmarshal([]byte) error })
		if !ok {
			return &gvk, nil, fmt.Errorf("object %T does not implement the protobuf marshalling interface and cannot be decoded", obj)
		}
		return &gvk, nil, m.Unmarshal(u.Raw)
	}
	data := p.data
	if p.media == encode.CBOR {
		if data, err = encode.CBORToJSON(p.data); err != nil {
			return nil, nil, err
		}
	}
	wantStrict := p.validation != metav1.FieldValidationIgnore
	if p.media == encode.YAML {
		if data, err = yaml.YAMLToJSON(p.data); err != nil {
			return nil, nil, err
		}
		if wantStrict {
			if _, err := yaml.YAMLToJSONStrict(p.data); err != nil {
				strict = append(strict, err)
			}
		}
	}
	into := any(obj)
	loose, custom := obj.(*unstructured.Unstructured)
	if custom {
		loose.Object = map[string]any{} // what was sent says what it is
		into = &loose.Object
	}
	var more []error
	switch {
	case p.parser != nil && !custom && p.parser.Parse(data, obj):
		// Nothing to find fault with.
	case wantStrict:
		reset(obj, p.parser)
		more, err = kjson.UnmarshalStrict(data, into)
	default:
		reset(obj, p.parser)
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, into)
	}
	if err != nil {
		gvk, headerErr := jsonHeader(data)
		if headerErr != nil {
			return nil, nil, headerErr
		}
		return gvk, nil, err
	}
	apiVersion, kind := obj.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
	if t, ok := typeMeta(obj); ok {
		apiVersion, kind = t.APIVersion, t.Kind // as written: GroupVersionKind has nothing for what is no version
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, nil, err
	}
	gvk := gv.WithKind(kind)
	return &gvk, append(strict, more...), nil
}

// reset empties what a parser has left behind.
func reset(obj runtime.Object, tried *parse.Parser) {
	if _, custom := obj.(*unstructured.Unstructured); tried != nil && !custom {
		reflect.ValueOf(obj).Elem().SetZero()
	}
}

// typeMeta is the type header of an object as it was decoded.
func typeMeta(obj runtime.Object) (metav1.TypeMeta, bool) {
	switch t := obj.GetObjectKind().(type) {
	case *metav1.TypeMeta:
		return *t, true
	case *unstructured.Unstructured:
		return metav1.TypeMeta{APIVersion: t.GetAPIVersion(), Kind: t.GetKind()}, true
	}
	return metav1.TypeMeta{}, false
}

// jsonHeader reads apiVersion and kind.
func jsonHeader(data []byte) (*schema.GroupVersionKind, error) {
	findKind := struct {
		// +optional
		APIVersion string `json:"apiVersion,omitempty"`
		// +optional
		Kind string `json:"kind,omitempty"`
	}{}
	if err := json.Unmarshal(data, &findKind); err != nil {
		return nil, fmt.Errorf("couldn't get version/kind; json parse error: %w", err)
	}
	gv, err := schema.ParseGroupVersion(findKind.APIVersion)
	if err != nil {
		return nil, err
	}
	gvk := gv.WithKind(findKind.Kind)
	return &gvk, nil
}

// decodeInto reads a payload into obj, an empty value of type want. A missing header is taken to be want; another one is refused.
func (c *call) decodeInto(p *payload, want schema.GroupVersionKind, obj runtime.Object) error {
	header, strict, err := p.unmarshal(obj)
	if err == nil && header != nil {
		if have, err := schema.ParseGroupVersion(header.GroupVersion().String()); err == nil {
			header.Group, header.Version = have.Group, have.Version
		}
	}
	var sent schema.GroupVersionKind
	if header != nil {
		sent = *header
		if header.Kind == "" {
			header.Kind = want.Kind
		}
		if header.Version == "" && header.Group == "" {
			header.Group, header.Version = want.Group, want.Version
		}
	}
	cannot := func(err error) error {
		if header != nil && header.Kind != "" {
			return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", header.Kind, header.Version, want.Kind, err))
		}
		return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", want.Kind, err, summary(p.data)))
	}
	u, loose := obj.(*unstructured.Unstructured)
	if loose && header != nil && err == nil && header.GroupVersion() == want.GroupVersion() {
		header.Kind = want.Kind // another kind is found out by validation
	}
	if header != nil && *header != want && loose && err == nil {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", header.GroupVersion(), want.GroupVersion()))
	}
	if header != nil && *header != want {
		if err := c.checkHeader(*header, want); err != nil {
			return cannot(err)
		}
		if err == nil {
			return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", header.GroupVersion(), want.GroupVersion()))
		}
	}
	if err == nil && loose && c.served.Coerce != nil {
		if header != nil && sent.Kind == "" && p.validation == metav1.FieldValidationIgnore {
			return cannot(runtime.NewMissingKindErr(string(p.data)))
		}
		var unknown []string
		if unknown, err = c.served.Coerce(u, p.validation != metav1.FieldValidationIgnore); err == nil {
			for _, path := range unknown {
				strict = append(strict, fmt.Errorf(`unknown field "%s"`, path))
			}
		}
	}
	if err != nil {
		return cannot(err)
	}
	if len(strict) > 0 {
		if p.validation == metav1.FieldValidationStrict {
			return cannot(runtime.NewStrictDecodingError(strict))
		}
		c.strictWarnings(strict)
	}
	if loose {
		return nil // a missing or wrong header is found by validation
	}
	obj.GetObjectKind().SetGroupVersionKind(want)
	return nil
}

// checkHeader says why something of one type cannot be taken for another; nil when only the version differs.
func (c *call) checkHeader(have, want schema.GroupVersionKind) error {
	res := c.live.Kind(have)
	if res.Kind == nil && (have.Kind != want.Kind || c.sub == nil) {
		return runtime.NewNotRegisteredErrForKind("pkg/api/legacyscheme/scheme.go:30", have)
	}
	if res.Kind != nil && res.Kind != c.kind {
		group := want.Group
		if group == "" {
			group = "core"
		}
		return fmt.Errorf("converting (%s.%s) to (%s.%s): unknown conversion", have.Version, have.Kind, group, want.Kind)
	}
	return nil
}

// decode reads a whole object, sets its defaults, and converts it to the hub version.
func (c *call) decode(p *payload) (kinds.Object, error) {
	obj := c.served.New()
	if err := c.decodeInto(p, c.gvk(), obj); err != nil {
		return nil, err
	}
	return c.toHub(obj)
}

// toHub sets the served version's defaults and converts. obj belongs to the caller, and so does the result.
func (c *call) toHub(obj kinds.Object) (kinds.Object, error) {
	if c.served.Default != nil {
		c.served.Default(obj)
	}
	if c.served.ToHub != nil {
		hub, err := c.served.ToHub(obj)
		if err != nil {
			return nil, err
		}
		obj = hub
	}
	if _, custom := obj.(runtime.Unstructured); !custom {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, nil
}

// strictWarnings turns what a strict reader minds into Warning headers.
func (c *call) strictWarnings(errs []error) {
	for _, err := range errs {
		text := err.Error()
		trimmed := strings.TrimPrefix(strings.TrimPrefix(text, "error converting YAML to JSON: "), "yaml: unmarshal errors:\n")
		if trimmed == text {
			c.warn(text)
			continue
		}
		for line := range strings.SplitSeq(trimmed, "\n") {
			c.warn(strings.TrimSpace(line))
		}
	}
}

// summary is the beginning of data that could not be read.
func summary(data []byte) string {
	const most = 30
	if len(data) == 0 {
		return "<empty>"
	}
	tail := ""
	if len(data) > most {
		data, tail = data[:most], " ..."
	}
	if data[0] == '{' {
		return string(data) + tail
	}
	return hex.EncodeToString(data) + tail
}
