// Package invariants lets code check at run time what must always hold, in builds with the tag "invariants" (go test -tags invariants). In other builds
// a check behind "if invariants.Enabled" costs nothing: the compiler drops it.
package invariants

import "fmt"

// Check panics when a condition does not hold. Call it behind Enabled.
func Check(holds bool, format string, args ...any) {
	if !holds {
		panic("invariant broken: " + fmt.Sprintf(format, args...))
	}
}
