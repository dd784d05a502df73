package openapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
)

func unpacked(t testing.TB) string {
	r, err := gzip.NewReader(bytes.NewReader(file("types.bin.gz")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPackedSchemaRoundTrips(t *testing.T) {
	text := unpacked(t)
	types, byKind, err := unpack(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(types) < 100 || len(byKind) < 10 {
		t.Errorf("%d types and %d kinds", len(types), len(byKind))
	}
	if byKind[schema.GroupVersionKind{Version: "v1", Kind: "Pod"}] != "io.k8s.api.core.v1.Pod" {
		t.Error("v1 Pod is not there")
	}
	again, err := Pack(&smd.Schema{Types: types}, byKind)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != text {
		t.Error("packing what was unpacked gives something else")
	}
}

// TestDamagedSchemaIsAnError cuts the packed form everywhere: it must never panic.
func TestDamagedSchemaIsAnError(t *testing.T) {
	text := unpacked(t)
	for n := 0; n < len(text); n += 1 + len(text)/500 {
		if _, _, err := unpack(text[:n]); err == nil {
			t.Fatalf("%d of %d bytes unpack", n, len(text))
		}
	}
}

// BenchmarkFirstUse is what the first server-side apply pays.
func BenchmarkFirstUse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := unpack(unpacked(b)); err != nil {
			b.Fatal(err)
		}
	}
}
