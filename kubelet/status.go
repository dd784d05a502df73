package kubelet

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/core"
)

// manager is the field manager of what the kubelet writes.
const manager = "kubelet"

// wantStatus has a status written, if the API does not have it. One write is under way at a time, and it is followed by one of the newest status, so none
// is lost and none overtakes another. w.mu is held.
func (w *worker) wantStatus(ctx context.Context, st *corev1.PodStatus) {
	w.want = st
	if w.writing || !w.dirty() || time.Now().Before(w.retryWrite) {
		return
	}
	w.retryWrite = time.Time{}
	w.writing = true
	go w.writeStatus(ctx)
}

func (w *worker) writeStatus(ctx context.Context) {
	for {
		w.mu.Lock()
		if !w.dirty() || w.gone || ctx.Err() != nil {
			w.writing = false
			w.mu.Unlock()
			w.poke(false)
			return
		}
		pod := w.pod.DeepCopy()
		pod.Status = *w.want.DeepCopy()
		w.mu.Unlock()
		// The resourceVersion makes sure that this is the pod that the status was made from: conditions that others own are carried over from it.
		got, err := client.As[*corev1.Pod](w.k.cfg.Client.Update(ctx, core.Pod, pod, "status", metav1.UpdateOptions{FieldManager: manager}))
		w.mu.Lock()
		switch {
		case err == nil:
			w.writeFails = 0
			w.wrote, w.wroteAs = &pod.Status, &got.Status
			if got.UID == w.uid && w.pod.ResourceVersion == pod.ResourceVersion {
				w.pod = got
				w.snapshot.Store(got) // the cache of a remote client would tell later
			}
			w.mu.Unlock()
			continue
		case apierrors.IsConflict(err):
			w.mu.Unlock()
			if fresh, ferr := client.As[*corev1.Pod](w.k.cfg.Client.Get(ctx, core.Pod, pod.Namespace, pod.Name)); ferr == nil {
				w.mu.Lock()
				if fresh.UID != w.uid {
					w.gone = true
				} else {
					w.pod = fresh
					w.snapshot.Store(fresh)
				}
				w.writing = false
				w.mu.Unlock()
				w.poke(false) // a status is made from the newer pod
				return
			}
			w.mu.Lock()
		case apierrors.IsNotFound(err):
			w.gone = true
			w.writing = false
			w.mu.Unlock()
			w.poke(false)
			return
		}
		w.writeFails++
		w.retryWrite = time.Now().Add(min(time.Second<<min(w.writeFails, 5), 30*time.Second))
		w.writing = false
		w.mu.Unlock()
		if ctx.Err() == nil {
			w.log.Warn("A pod's status could not be written", "err", err)
		}
		w.poke(false)
		return
	}
}
