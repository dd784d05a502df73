package request

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// block is a paragraph of a script: words, or a request.
type block struct {
	text    string // without the answer
	request *request
}

// request is "METHOD path", headers as "| Name: value", and a body. ${name} stands for what an earlier answer had (name, uid, resourceVersion, continue,
// token); <<N x text>> for text N times. A body "base64:..." is binary. Three headers are for the test: "As: anonymous" leaves the administrator's credentials
// out, as an Authorization header does; "Length: unknown" sends the body in chunks; "Show: field field" prints these fields of a good answer.
type request struct {
	method, path, body string
	header             http.Header
	show               []string
	plain, chunked     bool
}

var methods = regexp.MustCompile(`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /`)

func parse(script string) []block {
	var out []block
	for text := range strings.SplitSeq(strings.TrimRight(script, "\n"), "\n\n") {
		text, _, _ = strings.Cut(text, "\n----")
		b := block{text: text}
		for line := range strings.SplitSeq(text, "\n") {
			switch {
			case b.request == nil && methods.MatchString(line):
				b.request = &request{header: http.Header{"User-Agent": {"script/1.0"}}}
				b.request.method, b.request.path, _ = strings.Cut(line, " ")
			case b.request == nil:
			case strings.HasPrefix(line, "| "):
				b.request.set(strings.Cut(line[2:], ": "))
			default:
				b.request.body += line + "\n"
			}
		}
		out = append(out, b)
	}
	return out
}

func (r *request) set(name, value string, _ bool) {
	switch name {
	case "Show":
		r.show = strings.Fields(value)
	case "As":
		r.plain = true
	case "Length":
		r.chunked = true
	default:
		r.header.Set(name, value)
		r.plain = r.plain || name == "Authorization"
	}
}

var (
	varPattern    = regexp.MustCompile(`\$\{([a-zA-Z]+)\}`)
	repeatPattern = regexp.MustCompile(`<<(\d+) x ([^>]*)>>`)
	uidPattern    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timePattern   = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`)
	numberPattern = regexp.MustCompile(`(resource version: |current: |resourceVersion(?:"|\\"):(?:"|\\")|in record \()\d+`)
	randomPattern = regexp.MustCompile(`(kube-api-access-|Bad_|"/|\\"/)[bcdfghjklmnpqrstvwxz2456789]{5}\b`)
)

func expand(text string, seen map[string]string) string {
	text = varPattern.ReplaceAllStringFunc(text, func(v string) string { return seen[v[2:len(v)-1]] })
	return repeatPattern.ReplaceAllStringFunc(text, func(m string) string {
		p := repeatPattern.FindStringSubmatch(m)
		n, _ := strconv.Atoi(p[1])
		return strings.Repeat(strings.NewReplacer("\\n", "\n").Replace(p[2]), n)
	})
}

// answerWithin is long enough for 10 MB on a busy machine.
const answerWithin = 20 * time.Second

// play sends one request and prints the answer.
func play(t *testing.T, s *server, q *request, seen map[string]string) string {
	t.Helper()
	body := []byte(expand(q.body, seen))
	if b, ok := bytes.CutPrefix(body, []byte("base64:")); ok {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		body = raw
	}
	var in io.Reader = bytes.NewReader(body)
	if q.chunked {
		in = struct{ io.Reader }{in}
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, q.method, s.url+expand(q.path, seen), in)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range q.header {
		for _, v := range values {
			r.Header.Add(name, expand(v, seen))
		}
	}
	who := s.plain
	if !q.plain {
		who = s.admin
		if s.token != "" {
			r.Header.Set("Authorization", "Bearer "+s.token)
		}
	}
	before := s.now()
	resp, err := who.Do(r)
	if err != nil {
		t.Errorf("%s %s: %v", q.method, q.path, err)
		return err.Error() + "\n"
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: after %d and %d bytes: %v", q.method, q.path, resp.StatusCode, len(data), err)
		return fmt.Sprintf("%d, without end\n", resp.StatusCode)
	}
	if after := s.now(); resp.StatusCode >= 400 && after != before {
		t.Errorf("%s %s was answered %d, but the store went from revision %d to %d", q.method, q.path, resp.StatusCode, before, after)
	}
	var out strings.Builder
	if resp.StatusCode >= 400 {
		refused(t, s, q, resp, data, &out)
	} else {
		granted(q, resp, data, seen, &out)
	}
	for _, w := range resp.Header.Values("Warning") {
		fmt.Fprintf(&out, "warning: %s\n", w)
	}
	text := regexp.MustCompile(`\n\n+`).ReplaceAllString(out.String(), "\n") // an empty line ends a paragraph of the script
	text = uidPattern.ReplaceAllString(text, "UID")
	text = timePattern.ReplaceAllString(text, "TIME")
	text = numberPattern.ReplaceAllString(text, "${1}N")
	text = randomPattern.ReplaceAllString(text, "${1}RANDOM")
	return text
}

func (s *server) now() any {
	if s.revision == nil {
		return nil
	}
	return s.revision()
}

// refused prints a Status.
func refused(t *testing.T, s *server, q *request, resp *http.Response, data []byte, out *strings.Builder) {
	var st metav1.Status
	var err error
	contentType := resp.Header.Get("Content-Type")
	if raw, ok := bytes.CutPrefix(data, []byte("k8s\x00")); ok {
		var u runtime.Unknown
		if err = u.Unmarshal(raw); err == nil {
			err = st.Unmarshal(u.Raw)
			st.Kind, st.APIVersion = u.Kind, u.APIVersion
		}
	} else if contentType == "application/json" {
		err = json.Unmarshal(data, &st)
	} else {
		fmt.Fprintf(out, "%d %s\n%s\n", resp.StatusCode, contentType, shorten(string(bytes.TrimSpace(data))))
		return
	}
	if s.revision != nil && (err != nil || st.Kind != "Status" || st.APIVersion != "v1" || st.Status != metav1.StatusFailure || int(st.Code) != resp.StatusCode || st.Message == "") {
		t.Errorf("%s %s was answered %d with a body that is no such Status (%v): %s", q.method, q.path, resp.StatusCode, err, data)
	}
	fmt.Fprintf(out, "%d %s\n%s\n", resp.StatusCode, st.Reason, shorten(st.Message))
	if d := st.Details; d != nil {
		for _, c := range d.Causes {
			fmt.Fprintf(out, "cause: %s %s: %s\n", c.Field, c.Type, shorten(c.Message))
		}
		d.Causes, d.UID = nil, ""
		if text, _ := json.Marshal(d); string(text) != "{}" {
			fmt.Fprintf(out, "details: %s\n", shorten(string(text)))
		}
	}
	if contentType != "application/json" {
		fmt.Fprintf(out, "type: %s\n", contentType)
	}
	for _, h := range []string{"Retry-After", "Allow", "Www-Authenticate"} {
		if v := resp.Header.Get(h); v != "" {
			fmt.Fprintf(out, "%s: %s\n", h, v)
		}
	}
}

// granted prints the fields that are asked for.
func granted(q *request, resp *http.Response, data []byte, seen map[string]string, out *strings.Builder) {
	fmt.Fprintf(out, "%d\n", resp.StatusCode)
	var v map[string]any
	if json.Unmarshal(data, &v) != nil {
		return
	}
	for _, path := range []string{"metadata.name", "metadata.uid", "metadata.resourceVersion", "metadata.continue", "status.token"} {
		if s, ok := dig(v, strings.Split(path, ".")).(string); ok {
			seen[path[strings.LastIndexByte(path, '.')+1:]] = s
		}
	}
	for _, path := range q.show {
		text, _ := json.Marshal(dig(v, strings.Split(path, ".")))
		fmt.Fprintf(out, "%s: %s\n", path, text)
	}
}

func dig(v any, path []string) any {
	for i, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			out := slices.Clone(x)
			for j := range out {
				out[j] = dig(x[j], path[i:])
			}
			return out
		default:
			return nil
		}
	}
	return v
}

// shorten keeps long texts readable in a script.
func shorten(text string) string {
	const most = 700
	if len(text) > most {
		text = uidPattern.ReplaceAllString(text, "UID")
		text = numberPattern.ReplaceAllString(text, "${1}N") // or the length would depend on how many objects there were before
		return fmt.Sprintf("%s ... (%d bytes)", text[:most], len(text))
	}
	return text
}
