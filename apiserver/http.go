package apiserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/tenet-run/tenet/kinds"
)

// maxBody is the most that a request may carry.
const maxBody = 3 << 20

var anonymous = &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}

// recorder notes what was answered. It also collects warnings, which must be headers before the first byte.
type recorder struct {
	http.ResponseWriter
	code     int
	bytes    int64
	warnings []string
	warned   int // bytes of warnings
	hijacked bool
}

// Most bytes of warnings in one answer, and in one of them once that is exceeded.
const (
	maxWarnings       = 4 << 10
	shortenedWarnings = 256
)

func (w *recorder) warn(text string) {
	if w.code != 0 || text == "" {
		return
	}
	for _, had := range w.warnings {
		if had == text {
			return
		}
	}
	w.warnings = append(w.warnings, text)
	w.warned += len(text)
}

func (w *recorder) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
		left := maxWarnings
		for _, text := range w.warnings {
			if w.warned > maxWarnings && len(text) > shortenedWarnings {
				text = text[:shortenedWarnings]
			}
			if left -= len(text); left < 0 {
				break
			}
			if h, err := utilnet.NewWarningHeader(299, "-", text); err == nil {
				w.Header().Add("Warning", h)
			}
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher.
func (w *recorder) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Hijack implements http.Hijacker.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := w.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("apiserver: this connection cannot be taken over")
	}
	w.hijacked, w.code = true, http.StatusSwitchingProtocols
	return h.Hijack()
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// exchange is one HTTP request with what is noted about it.
type exchange struct {
	call
	w       *recorder
	r       *http.Request
	verb    string
	metered string // the verb as metrics name it
	begun   bool   // the start of a long-running request was reported
	count   int64
	dryRun  bool
	query   url.Values
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	x := &exchange{w: &recorder{ResponseWriter: w}, r: r}
	x.Server, x.user, x.agent, x.url, x.warn = s, anonymous, r.UserAgent(), r.URL.Path, x.w.warn
	h := w.Header()
	id := r.Header.Get("Audit-Id")
	if id == "" {
		id = string(newUID())
	}
	h.Set("Audit-Id", id)
	h.Set("Cache-Control", "no-cache, private")
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler {
			s.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if x.w.code == 0 {
				WriteError(x.w, r, apiError(http.StatusInternalServerError, metav1.StatusReasonInternalError,
					"This request caused apiserver to panic. Look in the logs for details."))
				p = nil
			} else {
				p = http.ErrAbortHandler // what was begun cannot be finished
			}
		}
		x.observe(s.now().Sub(began), false)
		if p != nil {
			panic(p)
		}
	}()
	x.serve()
}

func (x *exchange) observe(took time.Duration, began bool) {
	if x.cfg.Observe == nil {
		return
	}
	o := Observation{
		Verb: x.metered, Group: x.group, Version: x.version, Resource: x.plural, Subresource: x.subresource,
		Code: x.w.code, DryRun: x.dryRun, Duration: took, Bytes: x.w.bytes, Count: x.count, Began: began,
	}
	if o.Verb == "" {
		o.Verb = strings.ToLower(x.r.Method)
	}
	if x.isResource {
		switch {
		case x.name != "":
			o.Scope = "resource"
		case x.namespace != "":
			o.Scope = "namespace"
		default:
			o.Scope = "cluster"
		}
	}
	o.Ended = x.begun && !began
	x.begun = x.begun || began
	x.cfg.Observe(o)
}

func (x *exchange) fail(err error) { WriteError(x.w, x.r, err) }

// identify authenticates.
func (x *exchange) identify() bool {
	if x.cfg.Authenticator == nil {
		return true
	}
	resp, ok, err := x.cfg.Authenticator.AuthenticateRequest(x.r)
	if err != nil || !ok {
		if err != nil {
			x.log.Debug("authentication failed", "path", x.url, "error", err)
		}
		x.fail(apiError(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized"))
		return false
	}
	x.user = resp.User
	x.r.Header.Del("Authorization") // nobody further in has business with it
	if err := x.impersonate(); err != nil {
		x.fail(err)
		return false
	}
	return true
}

func (x *exchange) serve() {
	growStack()
	r := x.r
	if !x.identify() {
		return
	}
	x.target = x.find(r.URL.Path)
	watching := x.isResource && r.Method == http.MethodGet && wantsWatch(r.URL.RawQuery, x.values().Get)
	if !x.isResource {
		x.extra(&authorizer.AttributesRecord{User: x.user, Verb: strings.ToLower(r.Method), Path: r.URL.Path})
		return
	}
	x.verb = x.target.verb(r.Method, watching)
	x.metered = x.verb
	x.ctx = r.Context()
	var err error
	if r.URL.RawQuery != "" && (x.verb == "list" || x.verb == "watch" || x.verb == "deletecollection") {
		err = x.authorizeList(x.verb, x.values().Get("fieldSelector"), x.values().Get("labelSelector"))
	} else {
		err = x.authorize(x.verb)
	}
	if err != nil {
		x.fail(err)
		return
	}
	if x.resource == nil {
		if !x.elsewhere() {
			x.unknown()
		}
		return
	}
	if !x.offers(x.verb) {
		x.fail(&apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusMethodNotAllowed, Reason: metav1.StatusReasonMethodNotAllowed,
			Message: "the server does not allow this method on the requested resource", Details: &metav1.StatusDetails{},
		}})
		return
	}
	if x.served.Deprecated != "" {
		x.warn(x.served.Deprecated)
	}
	if x.sub != nil && x.handled() {
		x.connect()
		return
	}
	accept, err := negotiate(r, x.kind.Custom())
	if err != nil {
		x.fail(err)
		return
	}
	if accept.as.Kind == "Table" && !x.kind.Stored() {
		x.fail(notAcceptable(mediaJSON, mediaYAML, mediaProtobuf)) // an answer has no rows
		return
	}
	if watching && x.subresource == "" {
		opts, err := x.listOptions()
		if err != nil {
			x.fail(err)
			return
		}
		x.w.code = 0
		x.observe(0, true)
		x.count = x.serveWatch(x.w, r, accept, opts)
		return
	}
	limit := x.cfg.RequestTimeout
	if v := x.values().Get("timeout"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			x.fail(apierrors.NewBadRequest(fmt.Sprintf("invalid timeout specified in the request URL - %v", err)))
			return
		}
		if d > 0 && d < limit {
			limit = d
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	x.ctx = ctx
	code, out, err := x.dispatch(accept)
	switch {
	case err != nil:
		x.fail(err)
	case code == 0: // answered
	default:
		if err := x.sendResult(x.w, r, accept, code, out); err != nil {
			x.fail(err)
		}
	}
}

// values are the query parameters, parsed once.
func (x *exchange) values() url.Values {
	if x.query == nil {
		if x.r.URL.RawQuery == "" {
			x.query = url.Values{}
		} else {
			x.query = x.r.URL.Query()
		}
	}
	return x.query
}

// extra hands a request that is about no object on, when the user may make it.
func (x *exchange) extra(a *authorizer.AttributesRecord) {
	if err := x.Server.authorize(x.r.Context(), a); err != nil {
		x.fail(err)
		return
	}
	if x.elsewhere() {
		return
	}
	if x.cfg.Extra == nil {
		http.NotFound(x.w, x.r)
		return
	}
	ctx := request.WithUser(x.r.Context(), x.user)
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{Path: x.r.URL.Path, Verb: a.Verb})
	x.cfg.Extra.ServeHTTP(x.w, x.r.WithContext(ctx))
}

// elsewhere has another server answer, if one does for the path.
func (x *exchange) elsewhere() bool {
	if x.cfg.Remote == nil {
		return false
	}
	h := x.cfg.Remote(x.url)
	if h == nil {
		return false
	}
	if x.r.Header.Get("Upgrade") != "" || x.verb == "watch" {
		x.w.code = 0
		x.observe(0, true)
	}
	h.ServeHTTP(x.w, x.r.WithContext(request.WithUser(x.r.Context(), x.user)))
	return true
}

// unknown answers for a resource that is not served.
func (x *exchange) unknown() {
	x.fail(&apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
	}})
}

func (x *exchange) body() ([]byte, error) {
	defer x.r.Body.Close()
	var data []byte
	var err error
	if n := x.r.ContentLength; n > maxBody {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	} else if n > 0 {
		data = make([]byte, n)
		_, err = io.ReadFull(x.r.Body, data)
	} else {
		data, err = io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body of the request could not be read: %v", err))
	}
	if len(data) > maxBody {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	return data, nil
}

func (x *exchange) payload(validation string) (*payload, error) {
	media, err := inputMedia(x.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	data, err := x.body()
	if err != nil {
		return nil, err
	}
	return &payload{data: data, media: media, validation: validation, parser: &x.parser}, nil
}

func (x *exchange) listOptions() (*metav1.ListOptions, error) {
	opts := &metav1.ListOptions{}
	if x.r.URL.RawQuery == "" {
		return opts, nil
	}
	q := x.values()
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&q, opts, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return opts, nil
}

// parameters decodes the query into options of one type.
func parameters[T any](x *exchange, convert func(*url.Values, *T) error) (*T, error) {
	opts := new(T)
	if x.r.URL.RawQuery == "" {
		return opts, nil
	}
	q := x.values()
	if err := convert(&q, opts); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return opts, nil
}

// dispatch runs a verb. Code 0: it has answered itself.
func (x *exchange) dispatch(accept accepted) (int, result, error) {
	switch x.verb {
	case "get":
		opts, err := parameters(x, func(q *url.Values, o *metav1.GetOptions) error {
			return metav1.Convert_url_Values_To_v1_GetOptions(q, o, nil)
		})
		if err != nil {
			return 0, result{}, err
		}
		out, err := x.get(opts)
		return http.StatusOK, out, err
	case "list":
		return x.list(accept)
	case "create":
		return x.httpCreate()
	case "update":
		return x.httpUpdate()
	case "patch":
		return x.httpPatch()
	case "delete":
		return x.httpDelete()
	case "deletecollection":
		return x.httpDeleteCollection(accept)
	}
	return 0, result{}, apierrors.NewMethodNotSupported(x.groupResource(), x.verb)
}

func (x *exchange) list(accept accepted) (int, result, error) {
	opts, err := x.listOptions()
	if err != nil {
		return 0, result{}, err
	}
	q, err := x.listQuery(opts, false)
	if err != nil {
		return 0, result{}, err
	}
	records, meta, err := x.page(q)
	if err != nil {
		return 0, result{}, err
	}
	x.count = int64(len(records))
	_, err = x.sendList(x.w, x.r, accept, meta, records)
	return 0, result{}, err
}

func (x *exchange) httpCreate() (int, result, error) {
	opts, err := parameters(x, func(q *url.Values, o *metav1.CreateOptions) error {
		return metav1.Convert_url_Values_To_v1_CreateOptions(q, o, nil)
	})
	if err != nil {
		return 0, result{}, err
	}
	opts.TypeMeta = metav1.TypeMeta{Kind: "CreateOptions", APIVersion: "meta.k8s.io/v1"}
	x.dryRun = isDryRun(opts.DryRun)
	p, err := x.payload(opts.FieldValidation)
	if err != nil {
		return 0, result{}, err
	}
	if x.sub != nil {
		in, err := x.decodeSub(p)
		if err != nil {
			return 0, result{}, err
		}
		out, err := x.post(in, opts)
		return http.StatusCreated, out, err
	}
	obj, err := x.decode(p)
	if err != nil {
		return 0, result{}, err
	}
	out, err := x.create(obj, opts)
	return http.StatusCreated, out, err
}

func written(out result) int {
	if out.created {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (x *exchange) httpUpdate() (int, result, error) {
	opts, err := parameters(x, func(q *url.Values, o *metav1.UpdateOptions) error {
		return metav1.Convert_url_Values_To_v1_UpdateOptions(q, o, nil)
	})
	if err != nil {
		return 0, result{}, err
	}
	opts.TypeMeta = metav1.TypeMeta{Kind: "UpdateOptions", APIVersion: "meta.k8s.io/v1"}
	x.dryRun = isDryRun(opts.DryRun)
	p, err := x.payload(opts.FieldValidation)
	if err != nil {
		return 0, result{}, err
	}
	if x.sub != nil && x.sub.New != nil {
		in, err := x.decodeSub(p)
		if err != nil {
			return 0, result{}, err
		}
		out, err := x.updateView(in, opts)
		return written(out), out, err
	}
	out, err := x.update(func() (kinds.Object, error) { return x.decode(p) }, opts)
	return written(out), out, err
}

func (x *exchange) httpPatch() (int, result, error) {
	opts, err := parameters(x, func(q *url.Values, o *metav1.PatchOptions) error {
		return metav1.Convert_url_Values_To_v1_PatchOptions(q, o, nil)
	})
	if err != nil {
		return 0, result{}, err
	}
	opts.TypeMeta = metav1.TypeMeta{Kind: "PatchOptions", APIVersion: "meta.k8s.io/v1"}
	x.dryRun = isDryRun(opts.DryRun)
	contentType, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	pt := types.PatchType(contentType)
	known := x.patchTypes()
	ok := pt == applyCBOR
	for _, k := range known {
		ok = ok || k == contentType
	}
	if !ok {
		return 0, result{}, unsupportedMedia(known...)
	}
	if pt == apply || pt == applyCBOR {
		x.metered = "apply"
	}
	data, err := x.body()
	if err != nil {
		return 0, result{}, err
	}
	out, err := x.patch(pt, data, opts)
	return written(out), out, err
}

// deleteOptions reads the body, or the query when there is none.
func (x *exchange) deleteOptions() (*metav1.DeleteOptions, error) {
	data, err := x.body()
	if err != nil {
		return nil, err
	}
	opts := &metav1.DeleteOptions{}
	if len(data) == 0 {
		if x.r.URL.RawQuery != "" {
			q := x.values()
			if err := metav1.Convert_url_Values_To_v1_DeleteOptions(&q, opts, nil); err != nil {
				return nil, apierrors.NewBadRequest(err.Error())
			}
		}
	} else {
		media, err := inputMedia(x.r.Header.Get("Content-Type"))
		if err != nil {
			return nil, err
		}
		p := payload{data: data, media: media, validation: metav1.FieldValidationIgnore}
		header, _, err := p.unmarshal(opts)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if header != nil && header.Kind != "" && header.Kind != "DeleteOptions" {
			return nil, apierrors.NewBadRequest("decoded object cannot be converted to DeleteOptions")
		}
	}
	opts.TypeMeta = metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "meta.k8s.io/v1"}
	x.dryRun = isDryRun(opts.DryRun)
	return opts, nil
}

func (x *exchange) httpDelete() (int, result, error) {
	opts, err := x.deleteOptions()
	if err != nil {
		return 0, result{}, err
	}
	out, err := x.delete(opts)
	return deleteCode(out, opts), out, err
}

func (x *exchange) httpDeleteCollection(accept accepted) (int, result, error) {
	list, err := x.listOptions()
	if err != nil {
		return 0, result{}, err
	}
	q, err := x.listQuery(list, false)
	if err != nil {
		return 0, result{}, err
	}
	opts, err := x.deleteOptions()
	if err != nil {
		return 0, result{}, err
	}
	records, meta, err := x.deleteCollection(opts, q)
	if err != nil {
		return 0, result{}, err
	}
	x.count = int64(len(records))
	_, err = x.sendList(x.w, x.r, accept, meta, records)
	return 0, result{}, err
}
