package client

import "github.com/tenet-run/tenet/kinds"

// Recorder writes Events about objects. It never blocks its caller and never fails it: events that say the same are counted together, and
// what cannot be written is dropped and logged.
type Recorder interface {
	// Event records that something happened to an object. eventType is corev1.EventTypeNormal or EventTypeWarning; reason is CamelCase.
	Event(k *kinds.Kind, about kinds.Object, eventType, reason, message string)
	// EventField is Event about a part of an object, e.g. "spec.containers{nginx}".
	EventField(k *kinds.Kind, about kinds.Object, fieldPath, eventType, reason, message string)
}
