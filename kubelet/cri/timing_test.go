package cri

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// timing collects how long the steps of starting a pod took.
type timing struct {
	mu    sync.Mutex
	steps [4][]time.Duration // sandbox, create, start, all
}

func (t *timing) add(d ...time.Duration) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, v := range d {
		t.steps[i] = append(t.steps[i], v)
	}
}

func (t *timing) report(b *testing.B) {
	for i, name := range []string{"sandbox-ms", "create-ms", "start-ms", "pod-ms"} {
		d := t.steps[i]
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, name)
	}
}
