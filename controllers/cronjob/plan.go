package cronjob

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/batch"
)

// lookAgain is the longest time without a look at the clock, which may have been set.
const lookAgain = time.Minute

// memory is what a plan for a CronJob remembers.
type memory struct {
	uid      types.UID
	schedule string
	since    time.Time // when the schedule was changed: what it would have meant before is not made up for
	told     string    // what was last said in warnings
}

// Plan makes the Job of the time that has come, notes what came of earlier ones, and cleans up.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	was, ok := controllers.As[*batchv1.CronJob](s, batch.CronJob, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	w := &work{s: s, now: now, was: was, cj: was.DeepCopy()}
	w.memory, _ = s.Memory.(memory)
	if w.memory.uid != was.UID {
		w.memory = memory{uid: was.UID, schedule: schedule(was)}
	} else if text := schedule(was); text != w.memory.schedule {
		w.memory.schedule, w.memory.since = text, now
	}
	for _, job := range client.All[*batchv1.Job](s.Owned(batch.Job, was.Namespace, was.UID)) {
		if metav1.IsControlledBy(job, was) {
			w.jobs = append(w.jobs, job)
		}
	}
	w.look()
	w.tidy()
	if was.DeletionTimestamp == nil {
		w.start()
	}
	told := strings.Join(w.trouble, "\n")
	if told != w.memory.told {
		w.events = append(w.events, w.warnings...)
	}
	w.memory.told = told
	return controllers.Plan{
		Deletes: w.deletes, RequeueAfter: w.again,
		Then: func(out controllers.Outcome) controllers.Plan { return w.afterDeletes(out) },
	}
}

// work is one look at a CronJob.
type work struct {
	s        controllers.Snapshot
	now      time.Time
	was, cj  *batchv1.CronJob // cj is a private copy, whose status is brought to what is seen
	jobs     []*batchv1.Job
	memory   memory
	deletes  []controllers.Delete
	create   *batchv1.Job
	at       time.Time // what create is for
	events   []controllers.Event
	warnings []controllers.Event // said once, as long as they are true
	trouble  []string
	again    time.Duration
}

func (w *work) event(eventType, reason, format string, args ...any) controllers.Event {
	return controllers.Event{Kind: batch.CronJob, About: w.was, Type: eventType, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (w *work) say(reason, format string, args ...any) {
	w.events = append(w.events, w.event(corev1.EventTypeNormal, reason, format, args...))
}

// tell says once what stays true for a while. about tells apart times at which the same is true.
func (w *work) tell(eventType, reason, about, format string, args ...any) {
	e := w.event(eventType, reason, format, args...)
	w.warnings, w.trouble = append(w.warnings, e), append(w.trouble, reason+about+e.Message)
}

func (w *work) active(uid types.UID) bool {
	return slices.ContainsFunc(w.cj.Status.Active, func(r corev1.ObjectReference) bool { return r.UID == uid })
}

func (w *work) inactive(uid types.UID) {
	w.cj.Status.Active = slices.DeleteFunc(w.cj.Status.Active, func(r corev1.ObjectReference) bool { return r.UID == uid })
}

// look notes Jobs that finished, that are not there any more, and that were made without status saying so.
func (w *work) look() {
	st := &w.cj.Status
	for _, job := range w.jobs {
		if at, ok := w.timeOf(job); ok && (st.LastScheduleTime == nil || at.After(st.LastScheduleTime.Time)) {
			st.LastScheduleTime = &metav1.Time{Time: at} // whoever made it died before that was written
			if ended(job) == "" && !w.active(job.UID) {
				st.Active = append(st.Active, reference(job))
			}
		}
	}
	for _, job := range w.jobs {
		condition := ended(job)
		switch {
		case condition == "" && !w.active(job.UID):
			w.tell(corev1.EventTypeWarning, "UnexpectedJob", "", "Saw a job that the controller did not create or forgot: %s", job.Name)
		case condition != "" && w.active(job.UID):
			w.inactive(job.UID)
			w.say("SawCompletedJob", "Saw completed job: %s, condition: %v", job.Name, condition)
		}
		if done := job.Status.CompletionTime; condition == batchv1.JobComplete && done != nil && (st.LastSuccessfulTime == nil || done.After(st.LastSuccessfulTime.Time)) {
			st.LastSuccessfulTime = done
		}
	}
	for _, ref := range slices.Clone(st.Active) {
		if !slices.ContainsFunc(w.jobs, func(job *batchv1.Job) bool { return job.UID == ref.UID }) {
			w.inactive(ref.UID)
			w.say("MissingJob", "Active job went missing: %v", ref.Name)
		}
	}
}

// timeOf is the time that a Job was made for, if it is one of the schedule's.
func (w *work) timeOf(job *batchv1.Job) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, job.Annotations[batchv1.CronJobScheduledTimestampAnnotation])
	return at, err == nil && job.Name == jobName(w.cj, at)
}

// tidy deletes the oldest finished Jobs beyond the limits. One whose time is not in status yet is kept until it is: it could be run again.
func (w *work) tidy() {
	keep := func(limit *int32, condition batchv1.JobConditionType) {
		if limit == nil {
			return
		}
		list := slices.DeleteFunc(slices.Clone(w.jobs), func(job *batchv1.Job) bool { return ended(job) != condition })
		slices.SortFunc(list, byStart)
		for _, job := range list[:max(len(list)-int(*limit), 0)] {
			at, ok := w.timeOf(job)
			noted := !ok || w.was.Status.LastScheduleTime != nil && !at.After(w.was.Status.LastScheduleTime.Time)
			if noted && job.DeletionTimestamp == nil {
				w.remove(job)
			}
		}
	}
	keep(w.cj.Spec.SuccessfulJobsHistoryLimit, batchv1.JobComplete)
	keep(w.cj.Spec.FailedJobsHistoryLimit, batchv1.JobFailed)
}

func byStart(a, b *batchv1.Job) int {
	x, y := a.Status.StartTime, b.Status.StartTime
	switch {
	case x == nil && y != nil:
		return 1
	case x != nil && y == nil:
		return -1
	case x != nil && !x.Equal(y):
		return x.Compare(y.Time)
	}
	return cmp.Compare(a.Name, b.Name)
}

func (w *work) remove(job *batchv1.Job) {
	d := controllers.DeleteOf(batch.Job, job)
	d.Propagation = metav1.DeletePropagationBackground
	done, failed := w.event(corev1.EventTypeNormal, "SuccessfulDelete", "Deleted job %v", job.Name), w.event(corev1.EventTypeWarning, "FailedDelete", "Deleted job: ")
	d.Done, d.Failed = &done, &failed
	w.deletes = append(w.deletes, d)
	w.inactive(job.UID)
}

// start decides whether a Job is due now, and when to look again.
func (w *work) start() {
	cj := w.cj
	if cj.Spec.Suspend != nil && *cj.Spec.Suspend {
		return
	}
	if zone := cj.Spec.TimeZone; zone != nil {
		if _, err := time.LoadLocation(*zone); err != nil {
			w.tell(corev1.EventTypeWarning, "UnknownTimeZone", "", "invalid timeZone: %q: %s", *zone, err)
			return
		}
	}
	if strings.Contains(cj.Spec.Schedule, "TZ") {
		w.tell(corev1.EventTypeWarning, "UnsupportedSchedule", "", "CRON_TZ or TZ used in schedule %q is not officially supported, "+
			"see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details", cj.Spec.Schedule)
	}
	times, err := batch.ParseSchedule(schedule(cj))
	if err != nil {
		w.tell(corev1.EventTypeWarning, "UnparseableSchedule", "", "unparseable schedule: %q : %s", cj.Spec.Schedule, err)
		return
	}
	at, next, many, err := due(times, w.earliest(), w.now)
	if err != nil {
		w.tell(corev1.EventTypeWarning, "InvalidSchedule", "", "invalid schedule: %s : %s", cj.Spec.Schedule, err)
		return
	}
	w.again = min(next.Sub(w.now), lookAgain)
	if at.IsZero() {
		return
	}
	if many {
		w.tell(corev1.EventTypeWarning, "TooManyMissedTimes", "", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	name := jobName(cj, at)
	taken, exists := controllers.As[*batchv1.Job](w.s, batch.Job, cj.Namespace, name)
	switch late := cj.Spec.StartingDeadlineSeconds; {
	case late != nil && at.Add(time.Duration(*late)*time.Second).Before(w.now):
		w.tell(corev1.EventTypeWarning, "MissSchedule", "", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return
	case exists && !metav1.IsControlledBy(taken, cj):
		w.tell(corev1.EventTypeWarning, "FailedCreate", "", "Error creating job: jobs.batch %q already exists, and is not of this CronJob", name)
		return
	case exists: // two times in one minute, as "@every 20s" has
		w.cj.Status.LastScheduleTime = &metav1.Time{Time: at}
		return
	case cj.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent && len(cj.Status.Active) > 0:
		w.tell(corev1.EventTypeNormal, "JobAlreadyActive", at.String(), "Not starting job because prior execution is running and concurrency policy is Forbid")
		return
	case cj.Spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent:
		for _, job := range w.jobs {
			if w.active(job.UID) {
				w.remove(job)
			}
		}
	}
	w.at, w.create = at, w.job(name, at)
}

// earliest is after when times count: the last one that was served, or else the CronJob's birth.
func (w *work) earliest() time.Time {
	t := w.cj.CreationTimestamp.Time
	if last := w.cj.Status.LastScheduleTime; last != nil {
		t = last.Time
	}
	if w.memory.since.After(t) {
		t = w.memory.since
	}
	if late := w.cj.Spec.StartingDeadlineSeconds; late != nil {
		if bound := w.now.Add(-time.Duration(*late) * time.Second); bound.After(t) {
			t = bound
		}
	}
	return t
}

func (w *work) job(name string, at time.Time) *batchv1.Job {
	t := w.cj.Spec.JobTemplate.DeepCopy()
	zone := time.UTC
	if w.cj.Spec.TimeZone != nil {
		zone, _ = time.LoadLocation(*w.cj.Spec.TimeZone) // it was loaded a moment ago
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.cj.Namespace, Name: name, Labels: t.Labels, Annotations: t.Annotations,
			OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(w.cj, batch.CronJob)},
		},
		Spec: t.Spec,
	}
	if job.Annotations == nil {
		job.Annotations = map[string]string{}
	}
	job.Annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.In(zone).Format(time.RFC3339)
	return job
}

// afterDeletes makes the new Job, once those it replaces are gone.
func (w *work) afterDeletes(out controllers.Outcome) controllers.Plan {
	if out.Err != nil {
		return controllers.Plan{Remember: w.s.Memory} // the next plan sees what is left
	}
	if w.create == nil {
		return w.status()
	}
	done, failed := w.event(corev1.EventTypeNormal, "SuccessfulCreate", "Created job %v", w.create.Name), w.event(corev1.EventTypeWarning, "FailedCreate", "Error creating job: ")
	return controllers.Plan{
		Creates: []controllers.Create{{Kind: batch.Job, Object: w.create, Done: &done, Failed: &failed}},
		Then: func(out controllers.Outcome) controllers.Plan {
			if controllers.Stale(out.Err) {
				return controllers.Plan{Remember: w.s.Memory}
			}
			if made := out.Created[0]; made != nil {
				w.cj.Status.Active = append(w.cj.Status.Active, reference(made.(*batchv1.Job)))
				w.cj.Status.LastScheduleTime = &metav1.Time{Time: w.at}
			}
			return w.status()
		},
	}
}

func (w *work) status() controllers.Plan {
	p := controllers.Plan{Events: w.events, Remember: w.memory}
	if !equality.Semantic.DeepEqual(w.was.Status, w.cj.Status) {
		p.StatusUpdates = []controllers.Update{{Kind: batch.CronJob, Object: w.cj}}
	}
	return p
}

func reference(job *batchv1.Job) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: job.Namespace, Name: job.Name, UID: job.UID, ResourceVersion: job.ResourceVersion}
}

// jobName follows from the minute that a Job is for.
func jobName(cj *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", cj.Name, at.Unix()/60)
}
