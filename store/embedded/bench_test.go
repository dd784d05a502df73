package embedded

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/store"
)

// Benchmarks on disk use TENET_BENCH_DIR, or the directory for temporary files: see that it is a disk.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("TENET_BENCH_DIR"), "tenet-bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openBench(b *testing.B, dir string) *Store {
	s, err := Open(context.Background(), Options{Dir: dir, Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// fill makes n pods of 2 KB: 100 to a value of the label "group" and to a node.
func fill(b testing.TB, s *Store, n int) {
	for i := 0; i < n; i += 100 {
		var ws []store.Write
		for j := i; j < min(i+100, n); j++ {
			ws = append(ws, store.Write{Key: pod(j), Value: make([]byte, 2048), Header: store.Header{
				Labels: map[string]string{"app": "web", "group": fmt.Sprint(j % (max(n, 100) / 100))},
				Fields: map[string]string{"spec.nodeName": fmt.Sprint("node-", j%100)}}})
		}
		put(b, s, ws...)
	}
}

func BenchmarkCommitAlone(b *testing.B) {
	s := openBench(b, benchDir(b))
	defer s.Close()
	v := make([]byte, 1500)
	var lat []time.Duration
	b.ResetTimer()
	for i := range b.N {
		t := time.Now()
		put(b, s, store.Write{Key: pod(i % 1000), Value: v})
		lat = append(lat, time.Since(t))
	}
	b.StopTimer()
	slices.Sort(lat)
	b.ReportMetric(float64(lat[len(lat)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(lat[len(lat)*99/100].Microseconds()), "p99-us")
}

func BenchmarkCommit64Writers(b *testing.B) {
	s := openBench(b, benchDir(b))
	defer s.Close()
	v := make([]byte, 1500)
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range 64 {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				if _, err := s.Commit(context.Background(), store.Write{Key: pod(w*100 + int(i)%100), Value: v}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func BenchmarkCommitVolatile(b *testing.B) {
	s := openBench(b, benchDir(b))
	defer s.Close()
	put(b, s, store.Write{Key: pod(1)})
	b.ResetTimer()
	for range b.N {
		put(b, s, store.Write{Key: pod(1), Value: make([]byte, 300), Volatile: true})
	}
}

func BenchmarkOpen10k(b *testing.B) {
	dir := benchDir(b)
	s := openBench(b, dir)
	fill(b, s, 10_000)
	s.Close()
	b.ResetTimer()
	for range b.N {
		s := openBench(b, dir)
		b.StopTimer()
		if s.Count("pods") != 10_000 {
			b.Fatal(s.Count("pods"))
		}
		s.Close()
		b.StartTimer()
	}
}

func BenchmarkList(b *testing.B) {
	s := openMem(b, vfs.NewMem(), nil)
	defer s.Close()
	fill(b, s, 10_000)
	for name, q := range map[string]store.ListQuery{
		"All10k":      {},
		"Page500":     {Limit: 500, After: &store.Key{Namespace: "ns-1", Name: "pod-05000"}},
		"Namespace":   {Namespace: "ns-1"},
		"Label100":    {Selector: selectApp(b, "group=7")},
		"Label100+1":  {Selector: selectApp(b, "group=7,app=web")},
		"Field100":    {Selector: &store.Selector{Fields: map[string]string{"spec.nodeName": "node-7"}}},
		"LabelNobody": {Selector: selectApp(b, "group=none")},
	} {
		q.Prefix = "pods"
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := s.List(q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := openMem(b, vfs.NewMem(), nil)
	defer s.Close()
	fill(b, s, 10_000)
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.Get(pod(i % 10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFanOut counts events delivered to 200 watchers while 8 writers write.
func BenchmarkFanOut200(b *testing.B) {
	s := openMem(b, vfs.NewMem(), nil)
	defer s.Close()
	const watchers = 200
	var got atomic.Int64
	var wg, writers sync.WaitGroup
	for range watchers {
		w, err := s.Watch(store.WatchQuery{Prefix: "pods"})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer w.Close()
			for n := 0; n < b.N; {
				evs, err := w.Next(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				n += len(evs)
				got.Add(int64(len(evs)))
			}
		})
	}
	var n atomic.Int64
	b.ResetTimer()
	for range 8 {
		writers.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				put(b, s, store.Write{Key: pod(int(i % 1000)), Value: make([]byte, 1500)})
			}
		})
	}
	writers.Wait()
	wg.Wait()
	b.ReportMetric(float64(got.Load())/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkWake10k is a commit while ten thousand watch another object of the same prefix.
func BenchmarkWake10k(b *testing.B) {
	s := openMem(b, vfs.NewMem(), nil)
	defer s.Close()
	for i := range 10_000 {
		q := store.WatchQuery{Prefix: "pods", Namespace: "x", Selector: &store.Selector{Fields: map[string]string{"metadata.name": fmt.Sprint(i)}}}
		if _, err := s.Watch(q); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		put(b, s, store.Write{Key: store.Key{Prefix: "pods", Namespace: "x", Name: "1"}})
	}
}
