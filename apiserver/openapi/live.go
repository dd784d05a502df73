package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/custom"
	builtin "github.com/tenet-run/tenet/kinds/openapi"
)

// Live is the Source of what is served now: the documents of the built-in kinds as they are, and those of custom kinds, which are made when they are asked for.
// A hash is told by what a document would be made of, so that the index costs no document.
func Live(set *kinds.Set) Source {
	l := &live{set: set, made: map[string]made{}}
	return Source{V3Index: l.index, V3: l.v3, V2: l.v2, V2Protobuf: l.v2Protobuf}
}

// mostMade bounds the documents that are kept for the next reader.
const mostMade = 16

type live struct {
	set *kinds.Set

	mu   sync.Mutex
	made map[string]made // by path, "v2" and "v2.pb"
}

type made struct {
	hash string
	gz   []byte
}

// custom are the kinds in a group version that came with definitions.
func (l *live) custom(gv schema.GroupVersion) []*kinds.Kind {
	g := l.set.Group(gv.Group)
	if g == nil {
		return nil
	}
	var out []*kinds.Kind
	for _, k := range g.Kinds {
		if k.Custom() && k.Serves(gv) != nil {
			out = append(out, k)
		}
	}
	return out
}

func (l *live) allCustom() []*kinds.Kind {
	var out []*kinds.Kind
	for _, k := range l.set.List() {
		if k.Custom() {
			out = append(out, k)
		}
	}
	return out
}

func combined(base string, list []*kinds.Kind) string {
	return fmt.Sprintf("%X", sha256.Sum256([]byte(base+custom.Fingerprint(list))))
}

func (l *live) index() map[string]string {
	out := builtin.V3Index()
	byVersion := map[schema.GroupVersion][]*kinds.Kind{}
	for _, k := range l.allCustom() {
		for _, s := range k.Served {
			byVersion[s.GroupVersion()] = append(byVersion[s.GroupVersion()], k)
		}
	}
	for gv, list := range byVersion {
		path := builtin.Path(gv)
		out[path] = combined(out[path], list)
	}
	return out
}

func (l *live) v3(path string) ([]byte, string, bool) {
	gv, ok := groupVersion(path)
	if !ok {
		return nil, "", false
	}
	gz, hash, has := builtin.V3(gv)
	list := l.custom(gv)
	if len(list) == 0 {
		return gz, hash, has
	}
	hash = combined(hash, list)
	out, err := l.make(path, hash, func() ([]byte, error) {
		var base []byte
		if has {
			var err error
			if base, err = unzip(gz); err != nil {
				return nil, err
			}
		}
		doc, err := custom.DocumentV3(gv, list, base)
		if err != nil {
			return nil, err
		}
		return zip(doc)
	})
	return out, hash, err == nil
}

func (l *live) v2() ([]byte, string) {
	gz, hash := builtin.V2()
	list := l.allCustom()
	if len(list) == 0 {
		return gz, hash
	}
	sum := combined(hash, list)
	out, err := l.make("v2", sum, func() ([]byte, error) {
		base, err := unzip(gz)
		if err != nil {
			return nil, err
		}
		definitions, paths, err := custom.PartV2(list)
		if err != nil {
			return nil, err
		}
		return zip(splice(splice(base, "definitions", definitions), "paths", paths))
	})
	if err != nil {
		return gz, hash
	}
	return out, sum
}

func (l *live) v2Protobuf() []byte {
	gz := builtin.V2Protobuf()
	list := l.allCustom()
	if len(list) == 0 {
		return gz
	}
	_, hash := builtin.V2()
	out, err := l.make("v2.pb", combined(hash, list), func() ([]byte, error) {
		part, err := custom.PartV2Protobuf(list)
		if err != nil {
			return nil, err
		}
		more, err := zip(part)
		if err != nil {
			return nil, err
		}
		return append(bytes.Clone(gz), more...), nil // one stream behind the other is one stream, and one message behind the other one message
	})
	if err != nil {
		return gz
	}
	return out
}

// make gives a document by its path and hash, and keeps it.
func (l *live) make(path, hash string, build func() ([]byte, error)) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.made[path]; m.hash == hash {
		return m.gz, nil
	}
	gz, err := build()
	if err != nil {
		return nil, err
	}
	if len(l.made) >= mostMade {
		clear(l.made)
	}
	l.made[path] = made{hash, gz}
	return gz, nil
}

// splice adds members to an object that is a member of the document. The document is what encoding/json wrote.
func splice(doc []byte, name string, members []byte) []byte {
	open := []byte(`"` + name + `":{`)
	at := topLevel(doc, open)
	if at < 0 || len(members) == 0 {
		return doc
	}
	out := make([]byte, 0, len(doc)+len(members)+1)
	out = append(append(out, doc[:at]...), members...)
	if doc[at] != '}' {
		out = append(out, ',')
	}
	return append(out, doc[at:]...)
}

// topLevel finds where the content of an object begins that is a member of the outermost one.
func topLevel(doc, open []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			if !inString && depth == 1 && bytes.HasPrefix(doc[i:], open) {
				return i + len(open)
			}
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

func zip(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unzip(gz []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
