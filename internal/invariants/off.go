//go:build !invariants

package invariants

// Enabled tells whether invariants are checked: in builds with the tag "invariants".
const Enabled = false
