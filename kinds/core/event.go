package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Event is what happened to an object.
var Event = kinds.Define(kinds.Definition[*corev1.Event, *corev1.EventList]{
	Group: "", Version: "v1", Kind: "Event", Plural: "events", ShortNames: []string{"ev"}, Namespaced: true,
	New: func() *corev1.Event { return &corev1.Event{} }, NewList: func() *corev1.EventList { return &corev1.EventList{} },
})
