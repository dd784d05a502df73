package batch

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

// TestSchedulesAsUpstream compares random schedules, and texts that are none, with the parser that Kubernetes uses: the same errors, the same times, also where clocks
// are set: by whole hours and not at midnight. After half ones (Australia/Lord_Howe) upstream misses the first half of an hour, at midnight (Africa/Cairo) a whole day.
func TestSchedulesAsUpstream(t *testing.T) {
	zones := []string{"", "", "TZ=Europe/Berlin ", "CRON_TZ=America/Sao_Paulo ", "TZ=Asia/Kolkata ", "TZ=America/New_York "}
	for _, zone := range zones {
		if _, err := cron.ParseStandard(zone + "* * * * *"); err != nil {
			t.Skip("no time zones: ", err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	limits := [][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}
	field := func(i int) string {
		n := func() int { return limits[i][0] + r.IntN(limits[i][1]-limits[i][0]+1+r.IntN(40)/39) }
		one := func() string {
			switch r.IntN(8) {
			case 0, 1, 2:
				return "*"
			case 3:
				return fmt.Sprintf("*/%d", r.IntN(13))
			case 4:
				return fmt.Sprintf("%d-%d", n(), n())
			case 5:
				return fmt.Sprintf("%d-%d/%d", n(), n(), r.IntN(5))
			case 6:
				return fmt.Sprintf("%d/%d", n(), 1+r.IntN(9))
			}
			return fmt.Sprint(n())
		}
		parts := []string{one()}
		for r.IntN(4) == 0 {
			parts = append(parts, one())
		}
		return strings.Join(parts, ",")
	}
	valid := 0
	for i := range 8000 {
		var fields []string
		for f := range 5 {
			fields = append(fields, field(f))
		}
		text := zones[r.IntN(len(zones))] + strings.Join(fields, " ")
		if i%50 == 0 { // something that is not even near
			text = []string{"", "@daily", "@every 1h30m", "@never", "* * *", "a b c d e", "mon * * * *", "0 0 * jan-mar sun,sat", "1-2-3 * * * *", "*/2/3 * * * *", "? ? ? ? ?"}[r.IntN(11)]
		}
		want, wantErr := cron.ParseStandard(text)
		got, gotErr := ParseSchedule(text)
		if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
			t.Errorf("%q: error %v, upstream %v", text, gotErr, wantErr)
			continue
		}
		if wantErr != nil {
			continue
		}
		valid++
		at := time.Unix(1700000000+r.Int64N(200000000), 0).UTC()
		for range 6 {
			w, g := want.Next(at), got.Next(at)
			if !w.Equal(g) {
				t.Errorf("%q after %v: %v, upstream %v", text, at, g, w)
				break
			}
			if w.IsZero() {
				break
			}
			at = w
		}
	}
	if valid < 1000 {
		t.Errorf("only %d of the schedules were any", valid)
	}
}
