// Package podspec is what a PodSpec and a PodTemplateSpec mean: their defaults, what is valid, how they may change. Pod, and every kind that holds
// a template of pods, shares it.
//
// Defaults and rules are those of Kubernetes 1.36 with feature gates at their defaults; messages, field paths and error types are the same, written
// over the k8s.io/api types. All functions are pure; validation changes nothing, also when it is given nonsense.
package podspec
