package kubelet

import (
	"context"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/logs"
	"github.com/tenet-run/tenet/kubelet/nodestatus"
	"github.com/tenet-run/tenet/kubelet/plan"
	"github.com/tenet-run/tenet/kubelet/volumes"
)

const (
	gcPeriod     = time.Minute
	rotatePeriod = 15 * time.Second

	imageGCHigh = 85 // percent of the disk in use: unused images go ...
	imageGCLow  = 80 // ... until so much is in use
	imageMinAge = 2 * time.Minute
)

// adoptOrphans ends pods that the runtime has and the API no longer does, and removes directories of pods that are gone altogether. It is called once all
// pods of this node are known.
func (k *Kubelet) adoptOrphans(ctx context.Context) {
	boxes, err := k.cfg.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		k.log.Warn("Pods left behind could not be listed", "err", err)
		return
	}
	list, err := k.cfg.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		k.log.Warn("Containers left behind could not be listed", "err", err)
		return
	}
	grace := map[types.UID]int64{}
	specs := map[types.UID][]corev1.Container{}
	for _, c := range list.Containers {
		uid := types.UID(c.Labels[criconfig.PodUID])
		specs[uid] = append(specs[uid], corev1.Container{Name: c.Metadata.GetName()})
		if g, err := strconv.ParseInt(c.Annotations[criconfig.PodGrace], 10, 64); err == nil {
			grace[uid] = g
		}
	}
	for _, b := range boxes.Items {
		uid := types.UID(b.Metadata.GetUid())
		if uid == "" || b.Labels[criconfig.PodUID] == "" || k.worker(uid) != nil {
			continue
		}
		g, ok := grace[uid]
		if !ok {
			g = 1
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: b.Metadata.Name, Namespace: b.Metadata.Namespace, UID: uid}, Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &g, Containers: specs[uid], NodeName: k.cfg.NodeName}}
		k.log.Info("A pod that is no longer declared is ended", "pod", pod.Namespace+"/"+pod.Name, "uid", uid)
		w := k.newWorker(pod)
		w.gone, w.orphan = true, true
		k.begin(ctx, w)
	}
	if k.cfg.Hollow {
		return
	}
	entries, _ := os.ReadDir(filepath.Join(k.cfg.RootDir, "pods"))
	for _, e := range entries {
		uid := types.UID(e.Name())
		if k.worker(uid) != nil {
			continue
		}
		if err := volumes.RemoveDir(k.podDir(uid)); err != nil {
			k.log.Warn("The directory of a pod that is gone could not be removed", "uid", uid, "err", err)
		}
		if k.tree == nil {
			continue
		}
		for _, qos := range []string{"", "burstable/", "besteffort/"} {
			if err := k.tree.Remove("/kubepods/" + qos + "pod" + string(uid)); err != nil {
				k.log.Warn("The cgroup of a pod that is gone could not be removed", "uid", uid, "err", err)
			}
		}
	}
}

// collectGarbage removes dead containers beyond the last of each, sandboxes that no kept container needs, and unused images when the disk fills up.
func (k *Kubelet) collectGarbage(ctx context.Context) {
	tick := time.NewTicker(gcPeriod)
	defer tick.Stop()
	unused := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, w := range k.all() {
			w.collect(ctx)
		}
		if !k.cfg.Hollow {
			k.collectImages(ctx, unused)
		}
	}
}

func (w *worker) collect(ctx context.Context) {
	w.mu.Lock()
	pod := w.pod
	kept := map[string]int{}
	var drop []plan.Container
	boxes := map[string]bool{}
	for _, c := range w.containers { // newest of a name first
		if kept[c.Name]++; c.Phase == plan.Exited && kept[c.Name] > 2 {
			drop = append(drop, c)
		} else {
			boxes[c.SandboxID] = true
		}
	}
	var dropBoxes []string
	for i, b := range w.sandboxes {
		if i > 0 && !b.Ready && !boxes[b.ID] {
			dropBoxes = append(dropBoxes, b.ID)
		}
	}
	w.mu.Unlock()
	for _, c := range drop {
		if _, err := w.k.cfg.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: c.ID}); err != nil && !cri.IsNotFound(err) {
			w.log.Warn("A dead container could not be removed", "id", c.ID, "err", err)
			continue
		}
		if !w.k.cfg.Hollow {
			path := filepath.Join(w.k.podLogDir(pod), criconfig.LogPath(c.Name, c.Attempt))
			old, _ := filepath.Glob(path + ".*")
			for _, f := range append(old, path) {
				os.Remove(f)
			}
		}
	}
	for _, id := range dropBoxes {
		if _, err := w.k.cfg.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil && !cri.IsNotFound(err) {
			w.log.Warn("A dead sandbox could not be removed", "id", id, "err", err)
		}
	}
	if len(drop)+len(dropBoxes) > 0 {
		w.poke(true)
	}
}

// collectImages removes images that no container uses, those unused longest first, while the disk is too full. unused remembers since when.
func (k *Kubelet) collectImages(ctx context.Context, unused map[string]time.Time) {
	list, err := k.cfg.Runtime.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return
	}
	containers, err := k.cfg.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return
	}
	used := map[string]bool{}
	for _, c := range containers.Containers {
		used[c.ImageRef], used[c.ImageId] = true, true
		if c.Image != nil {
			used[c.Image.Image] = true
		}
	}
	now := time.Now()
	var free []*runtimeapi.Image
	for _, i := range list.Images {
		busy := i.Pinned || used[i.Id]
		for _, name := range append(append([]string(nil), i.RepoTags...), i.RepoDigests...) {
			busy = busy || used[name]
		}
		if busy {
			delete(unused, i.Id)
			continue
		}
		if _, seen := unused[i.Id]; !seen {
			unused[i.Id] = now
		}
		if now.Sub(unused[i.Id]) >= imageMinAge {
			free = append(free, i)
		}
	}
	p := nodestatus.Pressure(k.cfg.RootDir)
	if p.DiskTotal == 0 || (p.DiskTotal-p.DiskFree)*100 < p.DiskTotal*imageGCHigh {
		return
	}
	sort.Slice(free, func(i, j int) bool { return unused[free[i].Id].Before(unused[free[j].Id]) })
	need := (p.DiskTotal - p.DiskFree) - p.DiskTotal*imageGCLow/100
	for _, i := range free {
		if need <= 0 {
			return
		}
		if _, err := k.cfg.Runtime.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: i.Id}}); err != nil {
			k.log.Warn("An unused image could not be removed", "image", i.Id, "err", err)
			continue
		}
		k.log.Info("An unused image was removed: the disk is filling up", "image", i.Id, "bytes", i.Size)
		delete(unused, i.Id)
		need -= int64(i.Size)
	}
}

// rotateLogs looks at the sizes of logs now and then: their writers tell nobody.
func (k *Kubelet) rotateLogs(ctx context.Context) {
	tick := time.NewTicker(rotatePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, w := range k.all() {
			w.mu.Lock()
			pod := w.pod
			var running []plan.Container
			for _, c := range w.containers {
				if c.Phase == plan.Running {
					running = append(running, c)
				}
			}
			w.mu.Unlock()
			for _, c := range running {
				path := filepath.Join(k.podLogDir(pod), criconfig.LogPath(c.Name, c.Attempt))
				if _, err := logs.Rotate(path, k.cfg.LogMaxSize, k.cfg.LogMaxFiles, time.Now(), func() error {
					_, err := k.cfg.Runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: c.ID})
					return err
				}); err != nil && ctx.Err() == nil {
					w.log.Warn("A log could not be rotated", "container", c.Name, "err", err)
				}
			}
		}
	}
}
