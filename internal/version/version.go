// Package version says which Tenet this is and which Kubernetes API it serves.
package version

import (
	"runtime"

	"k8s.io/apimachinery/pkg/version"
)

// Set by the linker in `make build`.
var (
	// Version is the version of the program, from git.
	Version = "dev"
	// Commit and Date are those of the commit that it was built from.
	Commit = ""
	Date   = ""
)

// The Kubernetes version whose API is served.
const (
	Major      = "1"
	Minor      = "37"
	Kubernetes = "v1.37.2+tenet"
)

// Get is what /version answers.
func Get() version.Info {
	return version.Info{
		Major: Major, Minor: Minor, GitVersion: Kubernetes, GitCommit: Commit, GitTreeState: "clean", BuildDate: Date,
		GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}
