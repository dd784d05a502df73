package cri

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// BenchmarkStartPod measures the path from RunPodSandbox to a started container: medians, one pod after the other.
//
//	go test ./kubelet/cri -run xxx -bench StartPod -benchtime 15x
func BenchmarkStartPod(b *testing.B) {
	n := startNode(b)
	if _, err := n.runPod(b.Context(), nil, "warm", "sleep"); err != nil {
		b.Fatal(err)
	}
	n.removePods(b)
	var times timing
	i := 0
	for b.Loop() {
		i++
		if _, err := n.runPod(b.Context(), &times, fmt.Sprintf("p%d", i), "sleep"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		n.removePods(b)
		b.StartTimer()
	}
	times.report(b)
}

// BenchmarkStart20Pods starts 20 pods at once; the time is until the last one runs.
func BenchmarkStart20Pods(b *testing.B) {
	n := startNode(b)
	var times timing
	i := 0
	for b.Loop() {
		i++
		begin := time.Now()
		var wg sync.WaitGroup
		for p := range 20 {
			wg.Go(func() {
				if _, err := n.runPod(b.Context(), &times, fmt.Sprintf("p%d-%d", i, p), "sleep"); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "all-ms")
		b.StopTimer()
		n.removePods(b)
		b.StartTimer()
	}
	times.report(b)
}
