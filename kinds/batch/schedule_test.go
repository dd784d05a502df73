package batch

import (
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones: ", err)
	}
	utc := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct{ schedule, from, want string }{
		{"* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
		{"* * * * *", "2026-01-01T00:00:59Z", "2026-01-01T00:01:00Z"},
		{"*/15 * * * *", "2026-01-01T00:50:00Z", "2026-01-01T01:00:00Z"},
		{"5/20 * * * *", "2026-01-01T00:45:00Z", "2026-01-01T01:05:00Z"},
		{"30 4 * * *", "2026-01-01T04:30:00Z", "2026-01-02T04:30:00Z"},
		{"0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 30 2 *", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
		{"0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"}, // either day
		{"0 0 * * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		{"0 0 1 */2 *", "2026-01-02T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"},
		{"TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"}, // 02:30 does not exist on the 29th
		{"TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"}, // the first of two
		{"CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
	} {
		s, err := ParseSchedule(c.schedule)
		if err != nil {
			t.Errorf("%q: %v", c.schedule, err)
			continue
		}
		if got := s.Next(utc(c.from)); !got.Equal(utc(c.want)) {
			t.Errorf("%q after %s: %s, want %s", c.schedule, c.from, got.Format(time.RFC3339), c.want)
		}
	}
	s, _ := ParseSchedule("0 0 * * *")
	if got := s.Next(utc("2026-06-01T00:00:00Z").In(berlin)); got.Location() != berlin || got.Hour() != 0 {
		t.Errorf("the schedule's zone is not that of the time asked about: %v", got)
	}
}
