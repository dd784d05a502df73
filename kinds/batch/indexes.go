package batch

import (
	"fmt"
	"strconv"
	"strings"
)

// Indexes of an indexed Job are written as rising numbers and intervals: "1,3-5,7".

// interval reads one part. Indexes are below the number of completions.
func interval(text string, completions int32) (first, last int32, err error) {
	ends := strings.Split(text, "-")
	if len(ends) > 2 {
		return 0, 0, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", text)
	}
	var n [2]int
	for i, end := range ends {
		if n[i], err = strconv.Atoi(end); err != nil {
			return 0, 0, fmt.Errorf("cannot convert string to integer for index: %q", end)
		}
		if n[i] >= int(completions) {
			return 0, 0, fmt.Errorf("too large index: %q", end)
		}
	}
	if len(ends) == 1 {
		return int32(n[0]), int32(n[0]), nil
	}
	if n[0] >= n[1] {
		return 0, 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", n[0], n[1])
	}
	return int32(n[0]), int32(n[1]), nil
}

// countIndexes is how many indexes there are.
func countIndexes(text string, completions int32) (total int32, err error) {
	if text == "" {
		return 0, nil
	}
	previous := int32(-1)
	for part := range strings.SplitSeq(text, ",") {
		first, last, err := interval(part, completions)
		if err != nil {
			return 0, err
		}
		if total > 0 && previous >= first {
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", previous, first)
		}
		total += last - first + 1
		previous = last
	}
	return total, nil
}

// overlap reports the first index that is in both; parts that cannot be read are left out.
func overlap(a, b string, completions int32) error {
	if a == "" || b == "" {
		return nil
	}
	as, bs := intervals(a, completions), intervals(b, completions)
	for i, k := 0, 0; i < len(as) && k < len(bs); {
		x, y := as[i], bs[k]
		switch {
		case x[0] <= y[1] && y[0] <= x[1]:
			return fmt.Errorf("failedIndexes and completedIndexes overlap at index: %d", max(x[0], y[0]))
		case x[0] <= y[0]:
			i++
		default:
			k++
		}
	}
	return nil
}

func intervals(text string, completions int32) (out [][2]int32) {
	for part := range strings.SplitSeq(text, ",") {
		if first, last, err := interval(part, completions); err == nil {
			out = append(out, [2]int32{first, last})
		}
	}
	return out
}
