package h2

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// names are header fields as clients send them, in Go's spelling.
type names map[string]string

// maxNames bounds what a client can make a connection remember.
const maxNames = 64

func (n names) canonical(name string) string {
	if c, ok := n[name]; ok {
		return c
	}
	c := http.CanonicalHeaderKey(name)
	if len(n) < maxNames && len(name) < 64 {
		n[name] = c
	}
	return c
}

// request makes the request of a new stream, and says who answers it.
func (c *conn) request(st *stream, f *http2.MetaHeadersFrame) (*http.Request, http.Handler, error) {
	malformed := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	var method, scheme, authority, path string
	for _, hf := range f.PseudoFields() {
		switch hf.Name {
		case ":method":
			method = hf.Value
		case ":scheme":
			scheme = hf.Value
		case ":authority":
			authority = hf.Value
		case ":path":
			path = hf.Value
		default:
			return nil, nil, malformed
		}
	}
	connect := method == http.MethodConnect
	if connect && (path != "" || scheme != "" || authority == "") || !connect && (method == "" || path == "" || scheme != "https" && scheme != "http") {
		return nil, nil, malformed
	}
	regular := f.RegularFields()
	header := make(http.Header, len(regular))
	values := make([]string, 0, len(regular)) // one array for the values of all
	for _, hf := range regular {
		key := c.names.canonical(hf.Name)
		if had, ok := header[key]; ok {
			if key == "Cookie" {
				had[0] += "; " + hf.Value
				continue
			}
			header[key] = append(had, hf.Value)
			continue
		}
		values = append(values, hf.Value)
		header[key] = values[len(values)-1 : len(values) : len(values)]
	}
	handler := c.handler
	switch {
	case f.Truncated:
		handler = refusal(http.StatusRequestHeaderFieldsTooLarge)
	case !allowed(header):
		handler = refusal(http.StatusBadRequest)
	}
	if authority == "" {
		authority = header.Get("Host")
	}
	delete(header, "Host")

	r := &http.Request{
		Method: method, Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, Host: authority, RemoteAddr: c.remote, RequestURI: path, TLS: &c.state,
	}
	if connect {
		r.URL, r.RequestURI = &url.URL{Host: authority}, authority
	} else {
		var err error
		if r.URL, err = url.ParseRequestURI(path); err != nil {
			return nil, nil, malformed
		}
	}
	b := &st.body
	b.st, b.declared = st, -1
	b.arrived.L, st.wake.L = &c.mu, &c.mu
	if f.StreamEnded() {
		st.remoteDone = true
		b.declared = 0
		r.Body = http.NoBody
	} else {
		r.Body = b
		if text, ok := header["Content-Length"]; ok {
			n, err := strconv.ParseUint(text[0], 10, 63)
			if err != nil || len(text) > 1 {
				return nil, nil, malformed
			}
			b.declared = int64(n)
		}
		r.ContentLength = b.declared
		b.expects = httpguts.HeaderValuesContainsToken(header["Expect"], "100-continue")
		b.announce(header, r)
	}
	if b.expects {
		delete(header, "Expect")
	}
	ctx, cancel := context.WithCancel(c.base)
	st.cancel = cancel
	r = r.WithContext(ctx)
	st.response = response{st: st, head: method == http.MethodHead, length: -1}
	return r, handler, nil
}

// announce reads which trailers are to come.
func (b *body) announce(header http.Header, r *http.Request) {
	listed, ok := header["Trailer"]
	if !ok {
		return
	}
	b.announced, b.trailer = http.Header{}, http.Header{}
	for _, line := range listed {
		for name := range strings.SplitSeq(line, ",") {
			switch key := http.CanonicalHeaderKey(strings.TrimSpace(name)); key {
			case "Transfer-Encoding", "Trailer", "Content-Length", "":
			default:
				b.announced[key] = nil
			}
		}
	}
	delete(header, "Trailer")
	r.Trailer = b.announced
}

// allowed: no field that is about the connection, which HTTP/2 has none of.
func allowed(h http.Header) bool {
	for _, key := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade"} {
		if _, ok := h[key]; ok {
			return false
		}
	}
	te := h["Te"]
	return len(te) == 0 || len(te) == 1 && (te[0] == "trailers" || te[0] == "")
}

func refusal(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, http.StatusText(code), code) })
}
