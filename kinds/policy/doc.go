// Package policy holds the kinds of the policy group, one file a kind with all of its meaning.
package policy
