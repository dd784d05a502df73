package apiserver

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/encode"
)

// accepted is how an answer is to be written.
type accepted struct {
	media encode.Media
	// as is the type the answer is turned into: Table, PartialObjectMetadata or PartialObjectMetadataList of meta.k8s.io; zero: none.
	as     schema.GroupVersionKind
	pretty bool
}

func (a accepted) contentType() string {
	switch a.media {
	case encode.YAML:
		return mediaYAML
	case encode.Protobuf:
		return mediaProtobuf
	case encode.CBOR:
		return mediaCBOR
	}
	return mediaJSON
}

type clause struct {
	typ, sub string
	q        float64
	params   [][2]string
}

// parseAccept takes an Accept header apart, most wanted first.
func parseAccept(header string) []clause {
	var out []clause
	for part := range strings.SplitSeq(header, ",") {
		c := clause{q: 1}
		first := true
		for p := range strings.SplitSeq(part, ";") {
			p = strings.TrimSpace(p)
			if first {
				first = false
				c.typ, c.sub, _ = strings.Cut(p, "/")
				if c.typ == "*" && c.sub == "" {
					c.sub = "*"
				}
				continue
			}
			k, v, _ := strings.Cut(p, "=")
			if k == "q" {
				if f, err := strconv.ParseFloat(v, 32); err == nil {
					c.q = f
				}
				continue
			}
			c.params = append(c.params, [2]string{k, v})
		}
		if c.typ != "" {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b clause) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		case a.typ != b.typ && (a.typ == "*" || b.typ == "*"):
			return strings.Compare(b.typ, a.typ)
		case a.sub != b.sub && (a.sub == "*" || b.sub == "*"):
			return strings.Compare(b.sub, a.sub)
		}
		return 0
	})
	return out
}

// negotiate picks the form of the answer. custom: the objects have no protobuf form.
func negotiate(r *http.Request, custom bool) (accepted, error) {
	header := r.Header.Get("Accept")
	out := accepted{pretty: isPretty(r)}
	if header == "" || header == "*/*" || header == mediaJSON {
		return out, nil
	}
	if header == mediaProtobuf && !custom {
		out.media = encode.Protobuf
		return out, nil
	}
	for _, c := range parseAccept(header) {
		a := out
		ok := true
		switch {
		case c.typ == "*" && c.sub == "*" || c.typ == "application" && (c.sub == "*" || c.sub == "json"):
		case c.typ == "application" && c.sub == "yaml":
			a.media = encode.YAML
		case c.typ == "application" && c.sub == "vnd.kubernetes.protobuf":
			a.media = encode.Protobuf
		case c.typ == "application" && (c.sub == "cbor" || c.sub == "cbor-seq"):
			a.media = encode.CBOR
		default:
			ok = false
		}
		for _, p := range c.params {
			switch p[0] {
			case "as":
				a.as.Kind = p[1]
			case "g":
				a.as.Group = p[1]
			case "v":
				a.as.Version = p[1]
			case "stream":
				ok = ok && p[1] == "watch"
			case "pretty":
				a.pretty = p[1] == "1"
			}
		}
		if a.as.Kind != "" {
			ok = ok && a.as.Group == "meta.k8s.io" && (a.as.Version == "v1" || a.as.Version == "v1beta1")
			switch a.as.Kind {
			case "Table":
				ok = ok && a.media != encode.Protobuf
			case "PartialObjectMetadata", "PartialObjectMetadataList":
			default:
				ok = false
			}
		} else if a.as != (schema.GroupVersionKind{}) {
			a.as = schema.GroupVersionKind{}
		} else if custom && a.media == encode.Protobuf {
			ok = false
		}
		if ok {
			return a, nil
		}
	}
	if custom {
		return out, notAcceptable(mediaJSON, mediaYAML)
	}
	return out, notAcceptable(mediaJSON, mediaYAML, mediaProtobuf)
}

// isPretty: asked for, or a human with a terminal or a browser.
func isPretty(r *http.Request) bool {
	if strings.Contains(r.URL.RawQuery, "pretty") {
		v := r.URL.Query().Get("pretty")
		if v != "" {
			b, _ := strconv.ParseBool(v)
			return b
		}
	}
	agent := r.UserAgent()
	return strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
}
