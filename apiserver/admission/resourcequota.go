package admission

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/quota"
)

type resourceQuota struct {
	reader Reader
	now    func() time.Time
}

// ResourceQuota refuses what would use more than a quota of its namespace allows. What an object uses is written into the quotas in the object's own commit, each
// with the state that was looked at as precondition, so that no number of clients can use more together. It stands last: what it lets through is written.
func ResourceQuota(reader Reader, now func() time.Time) Plugin { return resourceQuota{reader, now} }

func (resourceQuota) Name() string { return "ResourceQuota" }

func (p resourceQuota) Validate(ctx context.Context, r *Request) error {
	if r.Namespace == "" || r.Object == nil || !quota.Counted(r.Kind) || !charged(r) {
		return nil
	}
	if len(p.reader.PeekList(core.ResourceQuota, r.Namespace, nil)) == 0 {
		return nil
	}
	r.InCommit(func(context.Context) ([]Change, error) { return p.charge(r) })
	return nil
}

// charged reports whether a request can use more: a new object, or one whose use its spec changes.
func charged(r *Request) bool {
	switch {
	case r.Operation == Create:
		return r.Subresource == ""
	case r.Operation != Update:
		return false
	}
	return r.Subresource == "" && (r.Kind == core.Service || r.Kind == core.PersistentVolumeClaim) || r.Subresource == "resize" && r.Kind == core.Pod
}

func (p resourceQuota) charge(r *Request) ([]Change, error) {
	uses := quota.Usage(r.Kind, r.Object, p.now())
	if r.Old != nil {
		for name, had := range quota.Usage(r.Kind, r.Old, p.now()) {
			q := uses[name]
			q.Sub(had)
			uses[name] = q
		}
	}
	var out []Change
	for _, obj := range p.reader.PeekList(core.ResourceQuota, r.Namespace, nil) {
		q := obj.(*corev1.ResourceQuota)
		if !quota.TracksAny(r.Kind, q.Status.Hard) || !quota.InScope(q, r.Object) {
			continue
		}
		asked := corev1.ResourceList{}
		for name := range q.Status.Hard {
			if !quota.Tracks(r.Kind, name) {
				continue
			}
			if _, known := q.Status.Used[name]; !known {
				return nil, Forbidden(r, "status unknown for quota: %s, resources: %s", q.Name, name)
			}
			if use := uses[name]; use.Sign() > 0 {
				asked[name] = use
			}
		}
		if pod, ok := r.Object.(*corev1.Pod); ok && r.Operation == Create {
			if missing := unspecified(pod, q.Status.Hard); missing != "" {
				return nil, Forbidden(r, "failed quota: %s: must specify %s", q.Name, missing)
			}
		}
		if len(asked) == 0 {
			continue
		}
		next := q.DeepCopy()
		quota.Add(next.Status.Used, asked)
		var over []corev1.ResourceName
		for name := range asked {
			used, hard := next.Status.Used[name], q.Status.Hard[name]
			if used.Cmp(hard) > 0 {
				over = append(over, name)
			}
		}
		if len(over) > 0 {
			slices.Sort(over)
			return nil, Forbidden(r, "exceeded quota: %s, requested: %s, used: %s, limited: %s", q.Name, listed(asked, over), listed(q.Status.Used, over), listed(q.Status.Hard, over))
		}
		out = append(out, Change{Kind: core.ResourceQuota, Object: next, Old: q})
	}
	return out, nil
}

func listed(list corev1.ResourceList, names []corev1.ResourceName) string {
	parts := make([]string, 0, len(names))
	for _, n := range names {
		q := list[n]
		parts = append(parts, string(n)+"="+q.String())
	}
	return strings.Join(parts, ",")
}

// unspecified names what a quota bounds and a container does not say: "limits.cpu for: web; memory for: web,db".
func unspecified(pod *corev1.Pod, hard corev1.ResourceList) string {
	missing := map[string][]string{}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			c := &list[i]
			for _, want := range []struct {
				name corev1.ResourceName
				in   corev1.ResourceList
				of   corev1.ResourceName
			}{
				{corev1.ResourceCPU, c.Resources.Requests, corev1.ResourceCPU}, {corev1.ResourceMemory, c.Resources.Requests, corev1.ResourceMemory},
				{corev1.ResourceRequestsCPU, c.Resources.Requests, corev1.ResourceCPU}, {corev1.ResourceRequestsMemory, c.Resources.Requests, corev1.ResourceMemory},
				{corev1.ResourceLimitsCPU, c.Resources.Limits, corev1.ResourceCPU}, {corev1.ResourceLimitsMemory, c.Resources.Limits, corev1.ResourceMemory},
			} {
				if _, bounded := hard[want.name]; !bounded {
					continue
				}
				if _, said := want.in[want.of]; !said {
					missing[string(want.name)] = append(missing[string(want.name)], c.Name)
				}
			}
		}
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[name])
		parts = append(parts, fmt.Sprintf("%s for: %s", name, strings.Join(missing[name], ",")))
	}
	return strings.Join(parts, "; ")
}
