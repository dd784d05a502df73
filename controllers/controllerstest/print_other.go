package controllerstest

import (
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tenet-run/tenet/kinds"
)

// printOther is the part of Print for kinds that need more than a line of it.
func printOther(b *strings.Builder, obj kinds.Object) {
	switch o := obj.(type) {
	case *corev1.ReplicationController:
		st := o.Status
		fmt.Fprintf(b, " replicas=%d/%d ready=%d available=%d", st.Replicas, *o.Spec.Replicas, st.ReadyReplicas, st.AvailableReplicas)
		for _, c := range st.Conditions {
			fmt.Fprintf(b, " %s=%s(%s: %s)", c.Type, c.Status, c.Reason, c.Message)
		}
	case *batchv1.Job:
		printJob(b, o)
	case *batchv1.CronJob:
		for _, ref := range o.Status.Active {
			fmt.Fprintf(b, " active=%s", ref.Name)
		}
		if t := o.Status.LastScheduleTime; t != nil {
			fmt.Fprintf(b, " last=%s", t.UTC().Format(time.RFC3339))
		}
		if t := o.Status.LastSuccessfulTime; t != nil {
			fmt.Fprintf(b, " succeeded=%s", t.UTC().Format("2006-01-02T15:04Z"))
		}
	case *discoveryv1.EndpointSlice, *corev1.Endpoints:
		printEndpoints(b, o)
	}
}

func printJob(b *strings.Builder, o *batchv1.Job) {
	st := o.Status
	count := func(name string, n int32) {
		if n != 0 {
			fmt.Fprintf(b, " %s=%d", name, n)
		}
	}
	optional := func(n *int32) int32 {
		if n == nil {
			return 0
		}
		return *n
	}
	count("active", st.Active)
	count("ready", optional(st.Ready))
	count("terminating", optional(st.Terminating))
	count("succeeded", st.Succeeded)
	count("failed", st.Failed)
	if u := st.UncountedTerminatedPods; u != nil {
		count("uncounted", int32(len(u.Succeeded)+len(u.Failed)))
	}
	if st.CompletedIndexes != "" {
		fmt.Fprintf(b, " completed=%s", st.CompletedIndexes)
	}
	if st.FailedIndexes != nil {
		fmt.Fprintf(b, " failed-indexes=%q", *st.FailedIndexes)
	}
	if st.StartTime != nil {
		b.WriteString(" started")
	}
	for _, c := range st.Conditions {
		fmt.Fprintf(b, " %s=%s(%s)", c.Type, c.Status, c.Reason)
	}
}
