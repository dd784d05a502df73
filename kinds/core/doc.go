// Package core holds the kinds of the core group, one file a kind with all of its meaning.
package core
