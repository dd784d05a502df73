package batch

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Schedule is when a CronJob runs: at each minute that all five fields allow, or every so often.
type Schedule struct {
	minute, hour, dom, month, dow uint64 // a bit for each value
	anyDay                        [2]bool
	every                         time.Duration
	location                      *time.Location
}

// bounds are the values of a field, and names for some.
type bounds struct {
	min, max uint
	names    map[string]uint
}

var (
	minutes = bounds{0, 59, nil}
	hours   = bounds{0, 23, nil}
	days    = bounds{1, 31, nil}
	months  = bounds{1, 12, map[string]uint{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}}
	weekday = bounds{0, 6, map[string]uint{"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}}
)

var descriptors = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
	"@hourly": "0 * * * *",
}

// ParseSchedule reads a schedule in the form that CronJobs know: five fields, or a descriptor such as @daily or "@every 1h", after an optional time zone
// ("TZ=..." or "CRON_TZ=..."). Errors have the texts that users of Kubernetes know.
func ParseSchedule(text string) (*Schedule, error) {
	if text == "" {
		return nil, errors.New("empty spec string")
	}
	s := &Schedule{}
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		zone, rest, found := strings.Cut(text, " ")
		if !found {
			return nil, fmt.Errorf("invalid schedule format: runtime error: slice bounds out of range [:-1]")
		}
		_, name, _ := strings.Cut(zone, "=")
		var err error
		if s.location, err = time.LoadLocation(name); err != nil {
			return nil, fmt.Errorf("provided bad location %s: %v", name, err)
		}
		text = strings.TrimSpace(rest)
	}
	if strings.HasPrefix(text, "@") {
		if every, ok := strings.CutPrefix(text, "@every "); ok {
			d, err := time.ParseDuration(every)
			if err != nil {
				return nil, fmt.Errorf("failed to parse duration %s: %s", text, err)
			}
			s.every = max(d, time.Second).Truncate(time.Second)
			return s, nil
		}
		fields, ok := descriptors[text]
		if !ok {
			return nil, fmt.Errorf("unrecognized descriptor: %s", text)
		}
		text = fields
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, fmt.Errorf("expected exactly 5 fields, found %d: %s", len(fields), fields)
	}
	for i, f := range []struct {
		to *uint64
		bounds
	}{{&s.minute, minutes}, {&s.hour, hours}, {&s.dom, days}, {&s.month, months}, {&s.dow, weekday}} {
		set, star, err := parseField(fields[i], f.bounds)
		if err != nil {
			return nil, err
		}
		*f.to = set
		switch i {
		case 2:
			s.anyDay[0] = star
		case 4:
			s.anyDay[1] = star
		}
	}
	return s, nil
}

// parseField reads a list of ranges. star: some range was all of them.
func parseField(text string, b bounds) (set uint64, star bool, err error) {
	for _, r := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		bits, all, err := parseRange(r, b)
		if err != nil {
			return 0, false, err
		}
		set, star = set|bits, star || all
	}
	return set, star, nil
}

// parseRange reads *, N, N-M, each with an optional /STEP; N/STEP goes to the end.
func parseRange(text string, b bounds) (set uint64, star bool, err error) {
	parts := strings.Split(text, "/")
	limits := strings.Split(parts[0], "-")
	start, end, step := b.min, b.max, uint(1)
	if limits[0] == "*" || limits[0] == "?" {
		star = true
	} else {
		if start, err = parseValue(limits[0], b.names); err != nil {
			return 0, false, err
		}
		end = start
		switch len(limits) {
		case 1:
		case 2:
			if end, err = parseValue(limits[1], b.names); err != nil {
				return 0, false, err
			}
		default:
			return 0, false, fmt.Errorf("too many hyphens: %s", text)
		}
	}
	switch len(parts) {
	case 1:
	case 2:
		if step, err = parseNumber(parts[1]); err != nil {
			return 0, false, err
		}
		if len(limits) == 1 {
			end = b.max
		}
		star = star && step <= 1
	default:
		return 0, false, fmt.Errorf("too many slashes: %s", text)
	}
	switch {
	case start < b.min:
		err = fmt.Errorf("beginning of range (%d) below minimum (%d): %s", start, b.min, text)
	case end > b.max:
		err = fmt.Errorf("end of range (%d) above maximum (%d): %s", end, b.max, text)
	case start > end:
		err = fmt.Errorf("beginning of range (%d) beyond end of range (%d): %s", start, end, text)
	case step == 0:
		err = fmt.Errorf("step of range should be a positive number: %s", text)
	}
	if err != nil {
		return 0, false, err
	}
	for i := start; i <= end; i += min(step, 64) {
		set |= 1 << i
	}
	return set, star, nil
}

func parseValue(text string, names map[string]uint) (uint, error) {
	if n, ok := names[strings.ToLower(text)]; ok {
		return n, nil
	}
	return parseNumber(text)
}

func parseNumber(text string) (uint, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("failed to parse int from %s: %s", text, err)
	}
	if n < 0 {
		return 0, fmt.Errorf("negative number (%d) not allowed: %s", n, text)
	}
	return uint(n), nil
}

// searchYears is how far Next looks: a day that never comes (the 30th of February) has no next.
const searchYears = 5

// Next is the first time of the schedule after t, in t's own location; the zero time when there is none. The schedule's zone is its own, or else t's.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		return t.Add(s.every - time.Duration(t.Nanosecond())*time.Nanosecond)
	}
	zone := t.Location()
	at := t
	if s.location != nil {
		at = t.In(s.location)
	}
	loc := at.Location()
	at = at.Add(time.Minute - time.Duration(at.Second())*time.Second - time.Duration(at.Nanosecond()))
	for limit := at.Year() + searchYears; at.Year() <= limit; {
		switch {
		case s.month&(1<<uint(at.Month())) == 0:
			at = time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, loc)
		case !s.onDay(at):
			at = nextDay(at)
		case s.hour&(1<<uint(at.Hour())) == 0:
			// Hours are counted in time that passes, so that a change of the clocks neither loops nor skips.
			at = at.Truncate(time.Minute).Add(time.Hour - time.Duration(at.Minute())*time.Minute)
		case s.minute&(1<<uint(at.Minute())) == 0:
			at = at.Add(time.Duration(bits.TrailingZeros64(s.minuteFrom(at.Minute()))-at.Minute()) * time.Minute)
		default:
			return at.In(zone)
		}
	}
	return time.Time{}
}

// minuteFrom are the minutes at or after m, and the full hour after them.
func (s *Schedule) minuteFrom(m int) uint64 {
	return s.minute&(math.MaxUint64<<uint(m)) | 1<<60
}

func nextDay(t time.Time) time.Time {
	next := time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location())
	// Where clocks go forward at midnight the day begins at one; where they go back, midnight may come out as the evening before.
	if h := next.Hour(); h > 12 {
		next = next.Add(time.Duration(24-h) * time.Hour)
	}
	return next
}

// onDay: when both days are restricted, either will do.
func (s *Schedule) onDay(t time.Time) bool {
	dom, dow := s.dom&(1<<uint(t.Day())) != 0, s.dow&(1<<uint(t.Weekday())) != 0
	if s.anyDay[0] || s.anyDay[1] {
		return dom && dow
	}
	return dom || dow
}
