// Package apps holds the kinds of the apps group, one file a kind with all of its meaning.
package apps
