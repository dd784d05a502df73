package job

import (
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/replicaset"
	"github.com/tenet-run/tenet/kinds/batch"
	"github.com/tenet-run/tenet/kinds/core"
)

// indexVariable tells a container its index.
const indexVariable = "JOB_COMPLETION_INDEX"

// manage brings the number of active pods to what is needed now. Deletion goes before creation.
func (w *work) manage(p *controllers.Plan) {
	active := len(w.active)
	want := w.wanted()
	doomed := w.surplus(max(active-want, 0))
	doomed = doomed[:min(len(doomed), burst)]
	if len(doomed) > 0 {
		for _, pod := range doomed { // without the finalizer, they are not counted as failed
			if tracked(pod) {
				p.Patches = append(p.Patches, untrack(pod))
			}
			p.Deletes = append(p.Deletes, w.remove(pod))
		}
		return
	}
	for _, pod := range w.active { // one that was to go, when something else came up
		if !tracked(pod) {
			p.Patches = append(p.Patches, trackPatch(pod, "finalizers"))
		}
	}
	missing := want - active
	if replacesOnlyEnded(w.job) {
		missing -= int(w.terminating)
	}
	if missing <= 0 || suspended(w.job) {
		return
	}
	if w.failedIndexes == nil {
		if left := w.backoff.left(w.now); left > 0 {
			w.wait(left)
			return
		}
	}
	missing = min(missing, burst)
	if !indexed(w.job) {
		for _, name := range w.names(controllers.NamePrefix(core.Pod, w.job.Name), missing) {
			p.Creates = append(p.Creates, w.create(name, controllers.NamePrefix(core.Pod, w.job.Name), -1))
		}
		return
	}
	indexes := w.pending(missing)
	if w.failedIndexes != nil {
		indexes = w.due(indexes)
	}
	for _, i := range indexes {
		prefix := indexPrefix(w.job.Name, i)
		p.Creates = append(p.Creates, w.create(w.names(prefix, 1)[0], prefix, i))
	}
}

// wanted is how many pods are to be active.
func (w *work) wanted() int {
	spec := &w.job.Spec
	switch {
	case suspended(w.job):
		return 0
	case spec.Completions != nil:
		return max(min(int(*spec.Completions-w.succeeded), int(*spec.Parallelism)), 0)
	case w.succeeded > 0:
		return len(w.active) // the work is done: what still runs may end
	}
	return int(*spec.Parallelism)
}

// surplus is at least n active pods to delete: those of an indexed Job without a place first, then the least far.
func (w *work) surplus(n int) []*corev1.Pod {
	rank := func(pods []*corev1.Pod, n int) []*corev1.Pod { return replicaset.Doomed(pods, nil, n, w.now) }
	if !indexed(w.job) {
		return rank(w.active, n)
	}
	var gone, left []*corev1.Pod
	byIndex := map[int][]*corev1.Pod{}
	for _, pod := range w.byIndex(w.active) {
		i, ok := w.index(pod)
		if !ok {
			gone = append(gone, pod)
			continue
		}
		byIndex[i] = append(byIndex[i], pod)
	}
	for _, pod := range w.byIndex(w.active) {
		i, ok := w.index(pod)
		if !ok {
			continue
		}
		if twins := rank(byIndex[i], len(byIndex[i])-1); slices.Contains(twins, pod) {
			gone = append(gone, pod)
		} else {
			left = append(left, pod)
		}
	}
	if len(gone) < n {
		gone = append(gone, rank(left, n-len(gone))...)
	}
	return gone
}

// names gives new pods names that follow from the pods there are and the Job's version, so that a plan carried out twice makes a pod once.
func (w *work) names(prefix string, n int) []string {
	state := []string{string(w.job.UID), w.job.ResourceVersion}
	for _, pod := range w.pods {
		state = append(state, string(pod.UID))
	}
	slices.Sort(state[2:])
	return controllers.Names(w.s, core.Pod, w.job.Namespace, prefix, n, state...)
}

// indexPrefix leaves room for the index in long names.
func indexPrefix(name string, i int) string {
	const most = 58
	at := "-" + strconv.Itoa(i) + "-"
	return name[:min(len(name), most-len(at))] + at
}

// create is a new pod; i is its index, or -1.
func (w *work) create(name, prefix string, i int) controllers.Create {
	job := w.job
	t := job.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, GenerateName: prefix, Namespace: job.Namespace, Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(job, batch.Job)},
		},
		Spec: t.Spec,
	}
	if !tracked(pod) {
		pod.Finalizers = append(pod.Finalizers, batchv1.JobTrackingFinalizer)
	}
	if i >= 0 {
		w.place(pod, i)
	}
	return controllers.Create{
		Kind: core.Pod, Object: pod,
		Done:   &controllers.Event{Kind: batch.Job, About: job, Type: corev1.EventTypeNormal, Reason: "SuccessfulCreate", Message: "Created pod: " + name},
		Failed: &controllers.Event{Kind: batch.Job, About: job, Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: "Error creating: "},
	}
}

// place tells a pod its index, and how often the index has failed.
func (w *work) place(pod *corev1.Pod, i int) {
	set := func(m *map[string]string, key, value string) {
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[key] = value
	}
	index := strconv.Itoa(i)
	set(&pod.Annotations, batchv1.JobCompletionIndexAnnotation, index)
	set(&pod.Labels, batchv1.JobCompletionIndexAnnotation, index)
	pod.Spec.Hostname = w.job.Name + "-" + index
	if w.failedIndexes != nil {
		counted, ignored := w.failuresAfter(w.kept[i])
		set(&pod.Annotations, batchv1.JobIndexFailureCountAnnotation, strconv.Itoa(counted))
		if ignored > 0 {
			set(&pod.Annotations, batchv1.JobIndexIgnoredFailureCountAnnotation, strconv.Itoa(ignored))
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for k := range list {
			if !slices.ContainsFunc(list[k].Env, func(e corev1.EnvVar) bool { return e.Name == indexVariable }) {
				list[k].Env = append(list[k].Env, corev1.EnvVar{Name: indexVariable, ValueFrom: &corev1.EnvVarSource{
					FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)},
				}})
			}
		}
	}
}

func (w *work) remove(pod *corev1.Pod) controllers.Delete {
	d := controllers.DeleteOf(core.Pod, pod)
	d.Done = &controllers.Event{Kind: batch.Job, About: w.job, Type: corev1.EventTypeNormal, Reason: "SuccessfulDelete", Message: "Deleted pod: " + pod.Name}
	d.Failed = &controllers.Event{Kind: batch.Job, About: w.job, Type: corev1.EventTypeWarning, Reason: "FailedDelete", Message: "Error deleting: "}
	return d
}
