package kinds

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Age is the cell of an AGE column: the time since t, as kubectl prints it ("5m", "3d4h"), "<unknown>" when t is zero.
func Age(t metav1.Time) Cell { return age{t.Time} }

type age struct{ since time.Time }

func (a age) At(now time.Time) any { return HumanSince(a.since, now) }

// HumanSince is the time from t to now in the short form of kubectl; "<unknown>" when t is zero.
func HumanSince(t, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}
