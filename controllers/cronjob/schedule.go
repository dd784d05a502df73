package cronjob

import (
	"errors"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/tenet-run/tenet/kinds/batch"
)

// schedule is the schedule with the zone it is meant in; without one that is the local zone.
func schedule(cj *batchv1.CronJob) string {
	switch text := cj.Spec.Schedule; {
	case strings.Contains(text, "TZ"):
		return text
	case cj.Spec.TimeZone != nil:
		return "TZ=" + *cj.Spec.TimeZone + " " + text
	default:
		return text
	}
}

// manyMissed is how many times may be missed before somebody should hear of it.
const manyMissed = 100

// due is the newest time after earliest that has come, or zero, and the next one to come. many: that it is one of very many, so that a clock may be wrong.
func due(s *batch.Schedule, earliest, now time.Time) (at, next time.Time, many bool, err error) {
	earliest = earliest.In(now.Location())
	first := s.Next(earliest)
	if first.IsZero() {
		return at, next, false, errors.New("no time will ever match it")
	}
	if now.Before(first) {
		return at, first, false, nil
	}
	second := s.Next(first)
	if second.IsZero() { // once in five years, and never again
		return first, now.Add(lookAgain), false, nil
	}
	if now.Before(second) {
		return first, second, false, nil
	}
	between := second.Sub(first).Round(time.Second)
	if between < time.Second {
		return at, next, false, errors.New("time difference between two schedules is less than 1 second")
	}
	// Not one by one: after a step of the clock over decades there would be too many. In steps of the first gap, which keep "@every" in time, back from now until
	// there is one.
	missed := int64(now.Sub(first)/between) + 1
	for n := int64(1); at.IsZero(); n *= 2 {
		from := first.Add(time.Duration(missed-1-n) * between)
		if missed-1 <= n {
			from, at = first, first
		}
		for next = s.Next(from); !next.IsZero() && !next.After(now); next = s.Next(next) {
			at = next
		}
	}
	if next.IsZero() {
		next = now.Add(lookAgain)
	}
	return at, next, missed > manyMissed, nil
}
