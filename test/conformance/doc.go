// Package conformance runs Kubernetes' own conformance tests, which are not ours to change, against bin/tenet: the yardstick of what "unchanged" means.
//
// The module upstream, beside this file, pins the suite (k8s.io/kubernetes v1.36.3) and its runner; `make conformance` builds both into .cache/conformance
// and runs TestConformance with a list or a focus. Tenet runs in namespaces of its own without a route out. What passes, fails and is skipped is counted per
// area and written to docs/results/conformance.md. A test that fails for a reason we know is named in reasons.txt; one that fails and is not named there
// fails the run, and so does one that is named there and passes.
package conformance
