package cronjob

import (
	"testing"
	"time"

	"github.com/tenet-run/tenet/kinds/batch"
)

func TestDue(t *testing.T) {
	utc := func(text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UTC()
	}
	for _, c := range []struct {
		why, schedule, earliest, now, at, next string
		many                                   bool
	}{
		{"nothing yet", "0 * * * *", "2030-01-01T00:00:00Z", "2030-01-01T00:59:59Z", "", "2030-01-01T01:00:00Z", false},
		{"just now", "0 * * * *", "2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z", "2030-01-01T01:00:00Z", "2030-01-01T02:00:00Z", false},
		{"two missed: the newer", "0 * * * *", "2030-01-01T00:00:00Z", "2030-01-01T02:30:00Z", "2030-01-01T02:00:00Z", "2030-01-01T03:00:00Z", false},
		{"a decade missed", "* * * * *", "2020-01-01T00:00:00Z", "2030-01-01T00:00:30Z", "2030-01-01T00:00:00Z", "2030-01-01T00:01:00Z", true},
		{"every, in step with the last", "@every 90s", "2030-01-01T00:00:10Z", "2030-01-01T01:00:00Z", "2030-01-01T00:58:40Z", "2030-01-01T01:00:10Z", false},
		{"uneven, the last gap is the longest", "* 9-17 * * *", "2030-01-01T17:56:00Z", "2030-01-02T08:00:00Z", "2030-01-01T17:59:00Z", "2030-01-02T09:00:00Z", true},
		{"weekdays only", "30 6-16/4 * * 1-5", "2030-01-04T10:00:00Z", "2030-01-06T12:00:00Z", "2030-01-04T14:30:00Z", "2030-01-07T06:30:00Z", false},
		{"the clock was set back", "0 * * * *", "2030-01-01T05:00:00Z", "2030-01-01T03:30:00Z", "", "2030-01-01T06:00:00Z", false},
		{"the hour that is there twice", "TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:31:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z", false},
	} {
		s, err := batch.ParseSchedule(c.schedule)
		if err != nil {
			t.Fatal(err)
		}
		at, next, many, err := due(s, utc(c.earliest), utc(c.now))
		if err != nil || !at.Equal(utc(c.at)) || !next.Equal(utc(c.next)) || many != c.many {
			t.Errorf("%s: %s in (%s, %s]: %v, next %v, many %v, %v; want %s, %s, %v", c.why, c.schedule, c.earliest, c.now, at, next, many, err, c.at, c.next, c.many)
		}
	}
	never, err := batch.ParseSchedule("59 23 31 2 *")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := due(never, utc("2030-01-01T00:00:00Z"), utc("2040-01-01T00:00:00Z")); err == nil {
		t.Error("the 31st of February is due")
	}
}
