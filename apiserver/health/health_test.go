package health

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/version"
)

func TestAnswers(t *testing.T) {
	var logs bytes.Buffer
	broken := errors.New("disk is full")
	var state error
	h := New("/readyz", slog.New(slog.NewTextHandler(&logs, nil)), Check{"store", func(context.Context) error { return state }}, Check{"poststarthook/start", func(context.Context) error { return nil }})
	for _, tc := range []struct {
		method, url string
		state       error
		code        int
		want        string
	}{
		{"GET", "/readyz", nil, 200, "ok"},
		{"GET", "/readyz?verbose", nil, 200, "[+]ping ok\n[+]store ok\n[+]poststarthook/start ok\nreadyz check passed\n"},
		{"GET", "/readyz", broken, 500, "[+]ping ok\n[-]store failed: reason withheld\n[+]poststarthook/start ok\nreadyz check failed\n"},
		{"GET", "/readyz?exclude=store", broken, 200, "ok"},
		{"GET", "/readyz?verbose=true&exclude=store&exclude=x", broken, 200, "[+]ping ok\n[+]store excluded: ok\n[+]poststarthook/start ok\nwarn: some health checks cannot be excluded: no matches for \"x\"\nreadyz check passed\n"},
		{"GET", "/readyz/store", nil, 200, "ok"},
		{"GET", "/readyz/store", broken, 500, "internal server error: disk is full\n"},
		{"GET", "/readyz/poststarthook/start", nil, 200, "ok"},
		{"GET", "/readyz/none", nil, 404, "404 page not found\n"},
		{"POST", "/readyz", nil, 405, "405 method not allowed\n"},
	} {
		state = tc.state
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(tc.method, tc.url, nil))
		if rec.Code != tc.code || rec.Body.String() != tc.want {
			t.Errorf("%s %s:\n got %d %q\nwant %d %q", tc.method, tc.url, rec.Code, rec.Body, tc.code, tc.want)
		}
	}
	if !strings.Contains(logs.String(), "disk is full") {
		t.Errorf("the reason is not in the log: %s", &logs)
	}
	h.Add(Check{"late", func(context.Context) error { return broken }})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	if rec.Code != 500 {
		t.Errorf("after Add: got %d", rec.Code)
	}
}

func TestVersion(t *testing.T) {
	h, err := Version(version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2+tenet"})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/version", nil))
	if rec.Header().Get("Content-Type") != "application/json" || !strings.Contains(rec.Body.String(), `"gitVersion": "v1.37.2+tenet"`) {
		t.Errorf("got %s %s", rec.Header(), rec.Body)
	}
}
