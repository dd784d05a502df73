package h2_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tenet-run/tenet/apiserver/h2"
)

// serve starts a server over TLS on loopback.
func serve(t testing.TB, s *h2.Server, h http.Handler) (web *httptest.Server) {
	t.Helper()
	web = httptest.NewUnstartedServer(h)
	web.Listener = h2.Listener{Listener: web.Listener}
	web.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	web.Config.IdleTimeout = time.Minute
	s.Attach(web.Config)
	web.StartTLS()
	t.Cleanup(web.Close)
	return web
}

func client(t testing.TB) *http.Client {
	tr := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestAnswers(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %v %s", r.Method, r.Proto, r.TLS != nil, r.URL.RawQuery)
	})
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/declared", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("Too", "late")
		io.WriteString(w, "12345")
		if _, err := io.WriteString(w, "6"); !errors.Is(err, http.ErrContentLength) {
			panic(fmt.Sprint("a body that is too long: ", err))
		}
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			w.Write(bytes.Repeat([]byte("0123456789"), 5000))
		}
	})
	mux.HandleFunc("/header", func(w http.ResponseWriter, r *http.Request) {
		for i := range 40 {
			w.Header().Add("X", strings.Repeat("v", 1000)+fmt.Sprint(i))
		}
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, len(r.Header["X"]), r.Header.Get("Cookie"))
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "One")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, string(body), r.Trailer.Get("Sum"))
		w.Header().Set("One", "1")
		w.Header().Set(http.TrailerPrefix+"Two", "2")
	})
	web := serve(t, &h2.Server{}, mux)
	c := client(t)

	resp, body := get(t, c, web.URL+"/small?a=b")
	if body != "GET HTTP/2.0 true a=b" || resp.ContentLength != int64(len(body)) || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("Date") == "" {
		t.Errorf("small: %v %q", resp.Header, body)
	}
	if resp, body = get(t, c, web.URL+"/empty"); body != "" || resp.StatusCode != 200 || resp.ContentLength != 0 {
		t.Errorf("empty: %v %q", resp, body)
	}
	if resp, body = get(t, c, web.URL+"/none"); body != "" || resp.StatusCode != 204 || resp.Header["Content-Length"] != nil {
		t.Errorf("none: %v %q", resp, body)
	}
	if resp, body = get(t, c, web.URL+"/declared"); body != "12345" || resp.StatusCode != 418 || resp.ContentLength != 5 || resp.Header.Get("Too") != "" {
		t.Errorf("declared: %v %q", resp, body)
	}
	if resp, body = get(t, c, web.URL+"/large"); len(body) != 5_000_000 || body != strings.Repeat("0123456789", 500_000) || resp.ContentLength != -1 {
		t.Errorf("large: %v, %d bytes", resp.Header, len(body))
	}
	req, _ := http.NewRequest("GET", web.URL+"/header", nil)
	for range 30 {
		req.Header.Add("X", strings.Repeat("w", 1000))
	}
	req.Header.Add("Cookie", "a=1")
	req.Header.Add("Cookie", "b=2")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	if string(text) != "30a=1; b=2" || len(resp.Header["X"]) != 40 || resp.Header.Get("Connection") != "" {
		t.Errorf("header: %q", text)
	}
	if resp, err = c.Head(web.URL + "/small"); err != nil || resp.StatusCode != 200 || resp.ContentLength != -1 {
		t.Errorf("HEAD: %v, %v", resp, err)
	}
	req, _ = http.NewRequest("POST", web.URL+"/trailers", io.MultiReader(strings.NewReader("body ")))
	req.Trailer = http.Header{"Sum": {"7"}}
	if resp, err = c.Do(req); err != nil {
		t.Fatal(err)
	}
	text, _ = io.ReadAll(resp.Body)
	if string(text) != "body 7" || resp.Trailer.Get("One") != "1" || resp.Trailer.Get("Two") != "2" {
		t.Errorf("trailers: %q %v", text, resp.Trailer)
	}
}

// Large bodies both ways at once, many at a time, over one connection and over windows that are used up again and again.
func TestEcho(t *testing.T) {
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	data := make([]byte, 3<<20)
	rand.Read(data)
	for _, known := range []bool{true, false} {
		c := client(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				req, _ := http.NewRequest("POST", web.URL, bytes.NewReader(data))
				if !known {
					req.ContentLength = -1
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes came back; %v", len(got), len(data), err)
				}
			})
		}
		wg.Wait()
	}
}

func TestExpectContinue(t *testing.T) {
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.Copy(w, r.Body)
	}))
	c := client(t)
	c.Transport.(*http2.Transport).AllowHTTP = false
	for path, want := range map[string]int{"/yes": 200, "/no": 403} {
		req, _ := http.NewRequest("PUT", web.URL+path, strings.NewReader("body"))
		req.Header.Set("Expect", "100-continue")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want || want == 200 && string(body) != "body" {
			t.Errorf("%s: %s %q", path, resp.Status, body)
		}
	}
}

// What a handler flushes arrives while it goes on; a client that goes away ends its context, and a write then fails.
func TestStreamingAndCancel(t *testing.T) {
	ended := make(chan error, 1)
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			fmt.Fprintln(w, i)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		_, err := w.Write(make([]byte, 1<<20))
		ended <- err
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", web.URL, nil)
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 6)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "0\n1\n2\n" {
		t.Fatalf("%q, %v", buf, err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a write to a stream that the client has reset succeeds")
	}
}

// A client that does not read one stream gets the others, of the same connection, all the same.
func TestStreamThatIsNotRead(t *testing.T) {
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			for {
				if _, err := w.Write(make([]byte, 100_000)); err != nil {
					return
				}
			}
		}
		w.Write(make([]byte, 1_000_000))
	}))
	c := client(t)
	for range 5 {
		resp, err := c.Get(web.URL + "/stuck")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	for range 20 {
		if _, body := get(t, c, web.URL+"/fine"); len(body) != 1_000_000 {
			t.Fatalf("%d bytes", len(body))
		}
	}
}

func TestPanicsResetTheirStream(t *testing.T) {
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/abort":
			w.Write(make([]byte, 100_000))
			panic(http.ErrAbortHandler)
		case "/panic":
			panic("on purpose")
		}
	}))
	c := client(t)
	for _, path := range []string{"/abort", "/panic"} {
		resp, err := c.Get(web.URL + path)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
		}
		var reset http2.StreamError
		if !errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal {
			t.Errorf("%s: %v", path, err)
		}
	}
	if resp, _ := get(t, c, web.URL+"/fine"); resp.StatusCode != 200 {
		t.Error("the connection is of no use any more")
	}
}

// Shutdown lets requests end and takes no new ones on the connections there are.
func TestShutdown(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-goOn
		io.WriteString(w, "done")
	}))
	answer := make(chan string, 1)
	c := client(t)
	go func() {
		_, body := get(t, c, web.URL)
		answer <- body
	}()
	<-inside
	began, stopped := make(chan struct{}), make(chan error, 1)
	web.Config.RegisterOnShutdown(func() { close(began) })
	go func() { stopped <- web.Config.Shutdown(context.Background()) }()
	<-began
	close(goOn)
	if body := <-answer; body != "done" {
		t.Errorf("answered %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// raw is a client that speaks frames.
type raw struct {
	*http2.Framer
	net.Conn
	t *testing.T
}

func dial(t *testing.T, web *httptest.Server) raw {
	t.Helper()
	conn, err := tls.Dial("tcp", web.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	f := http2.NewFramer(conn, conn)
	f.AllowIllegalWrites = true
	return raw{f, conn, t}
}

// request is the header block of GET / or POST /.
func request(method string, extra ...string) []byte {
	block := []byte{0x82} // :method GET
	if method == "POST" {
		block = []byte{0x83}
	}
	block = append(block, 0x87, 0x84, 0x01, 1, 'h') // https, /, :authority h
	for i := 0; i < len(extra); i += 2 {
		block = append(block, 0, byte(len(extra[i])))
		block = append(block, extra[i]...)
		block = append(block, byte(len(extra[i+1])))
		block = append(block, extra[i+1]...)
	}
	return block
}

func (r raw) headers(id uint32, end bool, block []byte) {
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: end, EndHeaders: true})
}

// What breaks the rules of HTTP/2 is answered as RFC 9113 says: by the end of the stream or of the connection.
func TestBrokenRules(t *testing.T) {
	web := serve(t, &h2.Server{MaxStreams: 2}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			if r.Header.Get("Hold") == "" {
				io.ReadAll(r.Body)
			}
			<-r.Context().Done()
		}
	}))
	const fine = http2.ErrCode(1000)
	for _, c := range []struct {
		name   string
		send   func(raw)
		stream http2.ErrCode
		conn   http2.ErrCode
	}{
		{"no preface", func(r raw) { r.Conn.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\nX: 12345\r\n\r\n")) }, fine, http2.ErrCodeProtocol},
		{"no settings", func(r raw) { io.WriteString(r.Conn, http2.ClientPreface); r.WritePing(false, [8]byte{}) }, fine, http2.ErrCodeProtocol},
		{"even stream", begun(func(r raw) { r.headers(2, true, request("GET")) }), fine, http2.ErrCodeProtocol},
		{"older stream", begun(func(r raw) { r.headers(5, true, request("GET")); r.headers(3, true, request("GET")) }), fine, http2.ErrCodeStreamClosed},
		{"data for nobody", begun(func(r raw) { r.WriteData(7, true, []byte("x")) }), fine, http2.ErrCodeProtocol},
		{"data after the end", begun(func(r raw) { r.headers(1, true, request("GET")); r.WriteData(1, true, []byte("x")) }), http2.ErrCodeStreamClosed, fine},
		{"window overflows", begun(func(r raw) { r.WriteWindowUpdate(0, 1<<31-1) }), fine, http2.ErrCodeFlowControl},
		{"window of a stream overflows", begun(func(r raw) { r.headers(1, false, request("POST")); r.WriteWindowUpdate(1, 1<<31-1) }), http2.ErrCodeFlowControl, fine},
		{"window of nobody", begun(func(r raw) { r.WriteWindowUpdate(9, 1) }), fine, http2.ErrCodeProtocol},
		{"reset of nobody", begun(func(r raw) { r.WriteRSTStream(9, http2.ErrCodeCancel) }), fine, http2.ErrCodeProtocol},
		{"too much body", begun(func(r raw) {
			r.headers(1, false, request("POST", "content-length", "3"))
			r.WriteData(1, false, []byte("1234"))
		}), http2.ErrCodeProtocol, fine},
		{"too little body", begun(func(r raw) {
			r.headers(1, false, request("POST", "content-length", "3"))
			r.WriteData(1, true, []byte("12"))
		}), http2.ErrCodeProtocol, fine},
		{"capital letters", begun(func(r raw) { r.headers(1, true, request("GET", "Upper", "x")) }), http2.ErrCodeProtocol, fine},
		{"no path", begun(func(r raw) { r.headers(1, true, []byte{0x82, 0x87}) }), http2.ErrCodeProtocol, fine},
		{"bad compression", begun(func(r raw) { r.headers(1, true, []byte{0xff, 0xff, 0xff, 0xff}) }), fine, http2.ErrCodeCompression},
		{"continuation of nothing", begun(func(r raw) { r.WriteContinuation(1, true, nil) }), fine, http2.ErrCodeProtocol},
		{"push", begun(func(r raw) { r.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}) }), fine, http2.ErrCodeProtocol},
		{"settings that cannot be", begun(func(r raw) { r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}) }), fine, http2.ErrCodeProtocol},
		{"window that cannot be", begun(func(r raw) { r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }), fine, http2.ErrCodeFlowControl},
		{"frame too large", begun(func(r raw) { r.Conn.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}) }), fine, http2.ErrCodeFrameSize},
		{"more than the window", begun(func(r raw) {
			r.headers(1, false, request("POST", "hold", "1"))
			for range 17 {
				r.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 64<<10))
			}
		}), fine, http2.ErrCodeFlowControl},
		{"too many streams", begun(func(r raw) {
			for id := uint32(1); id < 7; id += 2 {
				r.headers(id, false, request("POST"))
			}
		}), http2.ErrCodeRefusedStream, fine},
		{"stream depends on itself", begun(func(r raw) { r.WritePriority(1, http2.PriorityParam{StreamDep: 1}) }), http2.ErrCodeProtocol, fine},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dial(t, web)
			go c.send(r)
			for {
				f, err := r.ReadFrame()
				if err != nil {
					t.Fatalf("the connection ended without a word: %v", err)
				}
				switch f := f.(type) {
				case *http2.GoAwayFrame:
					if f.ErrCode != c.conn {
						t.Errorf("GOAWAY %s, want %s; stream %s", f.ErrCode, c.conn, c.stream)
					}
					return
				case *http2.RSTStreamFrame:
					if f.ErrCode == http2.ErrCodeNo {
						continue
					}
					if f.ErrCode != c.stream {
						t.Errorf("RST_STREAM %s, want %s; connection %s", f.ErrCode, c.stream, c.conn)
					}
					return
				}
			}
		})
	}
}

// begun is send after a proper beginning.
func begun(send func(raw)) func(raw) {
	return func(r raw) {
		io.WriteString(r.Conn, http2.ClientPreface)
		r.WriteSettings()
		send(r)
	}
}

// A request with fields of the connection, or a header that is too long, is answered by a status.
func TestRefusedHeaders(t *testing.T) {
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	web.Config.MaxHeaderBytes = 1000
	r := dial(t, web)
	go begun(func(r raw) {
		r.headers(1, true, request("GET", "connection", "close"))
		r.headers(3, true, request("GET", "te", "gzip"))
		var many []string
		for range 10 {
			many = append(many, "x", strings.Repeat("y", 90))
		}
		r.headers(5, true, request("GET", many...))
	})(r)
	want := map[uint32]byte{1: 0x8c, 3: 0x8c, 5: 0} // 400 is in the static table
	for len(want) > 0 {
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			b := h.HeaderBlockFragment()
			if first := want[h.StreamID]; first != 0 && b[0] != first || first == 0 && !bytes.Contains(b[:8], []byte{0x69, 0xf1}) && !bytes.Contains(b[:8], []byte("431")) {
				t.Errorf("stream %d: % x", h.StreamID, b[:8])
			}
			delete(want, h.StreamID)
		}
	}
}

// A client that asks for answers and reads none is cut off.
func TestPingsWithoutReading(t *testing.T) {
	web := serve(t, &h2.Server{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := dial(t, web)
	io.WriteString(r.Conn, http2.ClientPreface)
	r.WriteSettings()
	for range 2_000_000 {
		if err := r.WritePing(false, [8]byte{}); err != nil {
			if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "timeout") {
				t.Fatalf("the server waits instead: %v", err)
			}
			return
		}
	}
	t.Error("two million answers are kept")
}

// Whatever comes, the server neither panics nor keeps the connection once the client has gone.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	w := http2.NewFramer(&b, nil)
	w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request("POST", "content-length", "3"), EndHeaders: true})
	w.WriteData(1, true, []byte("123"))
	w.WriteWindowUpdate(1, 100)
	w.WriteRSTStream(1, http2.ErrCodeCancel)
	w.WritePing(false, [8]byte{1})
	f.Add(b.Bytes())
	web := serve(f, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body); io.WriteString(w, "enough") }))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := tls.Dial("tcp", web.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		go func() {
			io.WriteString(conn, http2.ClientPreface)
			conn.Write(data)
			conn.CloseWrite()
		}()
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("the connection was kept")
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	for _, size := range []int{2 << 10, 300 << 10, 30 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			data := make([]byte, 64<<10)
			web := serve(b, &h2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for left := size; left > 0; left -= len(data) {
					w.Write(data[:min(left, len(data))])
				}
			}))
			c := client(b)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Get(web.URL)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
