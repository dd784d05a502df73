package core

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// eventTTL is how long an event is kept after its last write.
const eventTTL = time.Hour

// Event is what happened to an object. It rests in one place and is served by two groups: core, whose rules are lenient for old clients, and
// events.k8s.io, whose rules are strict and whose fields have other names.
var Event = kinds.Define(kinds.Definition[*corev1.Event, *corev1.EventList]{
	Group: "", Version: "v1", Kind: "Event", Plural: "events", ShortNames: []string{"ev"}, Namespaced: true,
	New: func() *corev1.Event { return &corev1.Event{} }, NewList: func() *corev1.EventList { return &corev1.EventList{} },
	CreateOnUpdate: true,
	Validate:       func(e *corev1.Event) field.ErrorList { return validateEvent(e, "reportingComponent") },
	TTL:            func(*corev1.Event) time.Duration { return eventTTL },
	Fields: map[string]func(*corev1.Event) string{
		"involvedObject.kind":            func(e *corev1.Event) string { return e.InvolvedObject.Kind },
		"involvedObject.namespace":       func(e *corev1.Event) string { return e.InvolvedObject.Namespace },
		"involvedObject.name":            func(e *corev1.Event) string { return e.InvolvedObject.Name },
		"involvedObject.uid":             func(e *corev1.Event) string { return string(e.InvolvedObject.UID) },
		"involvedObject.apiVersion":      func(e *corev1.Event) string { return e.InvolvedObject.APIVersion },
		"involvedObject.resourceVersion": func(e *corev1.Event) string { return e.InvolvedObject.ResourceVersion },
		"involvedObject.fieldPath":       func(e *corev1.Event) string { return e.InvolvedObject.FieldPath },
		"reason":                         func(e *corev1.Event) string { return e.Reason },
		"reportingComponent":             func(e *corev1.Event) string { return e.ReportingController },
		"source":                         func(e *corev1.Event) string { return orElse(e.Source.Component, e.ReportingController) },
		"type":                           func(e *corev1.Event) string { return e.Type },
	},
	Indexed: []string{"involvedObject.uid"},
	Columns: []metav1.TableColumnDefinition{
		kinds.Column("Last Seen", "string", corev1.Event{}.SwaggerDoc()["lastTimestamp"]),
		kinds.Column("Type", "string", corev1.Event{}.SwaggerDoc()["type"]),
		kinds.Column("Reason", "string", corev1.Event{}.SwaggerDoc()["reason"]),
		kinds.Column("Object", "string", corev1.Event{}.SwaggerDoc()["involvedObject"]),
		kinds.WideColumn("Subobject", "string", corev1.ObjectReference{}.SwaggerDoc()["fieldPath"]),
		kinds.WideColumn("Source", "string", corev1.Event{}.SwaggerDoc()["source"]),
		kinds.Column("Message", "string", corev1.Event{}.SwaggerDoc()["message"]),
		kinds.WideColumn("First Seen", "string", corev1.Event{}.SwaggerDoc()["firstTimestamp"]),
		kinds.WideColumn("Count", "string", corev1.Event{}.SwaggerDoc()["count"]),
		{Name: "Name", Type: "string", Format: "name", Priority: 1, Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
	},
	Row: eventRow,
	Also: []*kinds.Served{{
		Group: "events.k8s.io", Version: "v1",
		New:      func() kinds.Object { return &eventsv1.Event{} },
		NewList:  newObject[eventsv1.EventList],
		ToHub:    func(in kinds.Object) (kinds.Object, error) { return eventToCore(in.(*eventsv1.Event)), nil },
		FromHub:  func(in kinds.Object) (kinds.Object, error) { return eventFromCore(in.(*corev1.Event)), nil },
		Validate: func(obj kinds.Object) field.ErrorList { return validateNewEvent(obj.(*corev1.Event)) },
		ValidateUpdate: func(obj, old kinds.Object) field.ErrorList {
			return validateEventChange(obj.(*corev1.Event), old.(*corev1.Event))
		},
		Fields: map[string]string{
			"regarding.kind":            "involvedObject.kind",
			"regarding.namespace":       "involvedObject.namespace",
			"regarding.name":            "involvedObject.name",
			"regarding.uid":             "involvedObject.uid",
			"regarding.apiVersion":      "involvedObject.apiVersion",
			"regarding.resourceVersion": "involvedObject.resourceVersion",
			"regarding.fieldPath":       "involvedObject.fieldPath",
			"reportingController":       "reportingComponent",
			"reason":                    "reason",
			"type":                      "type",
		},
	}},
})

// eventToCore and eventFromCore share memory with their argument.
func eventToCore(e *eventsv1.Event) *corev1.Event {
	out := &corev1.Event{
		ObjectMeta: e.ObjectMeta, InvolvedObject: e.Regarding, Related: e.Related, Reason: e.Reason, Message: e.Note, Type: e.Type, Action: e.Action,
		Source: e.DeprecatedSource, FirstTimestamp: e.DeprecatedFirstTimestamp, LastTimestamp: e.DeprecatedLastTimestamp, Count: e.DeprecatedCount,
		EventTime: e.EventTime, ReportingController: e.ReportingController, ReportingInstance: e.ReportingInstance,
	}
	if s := e.Series; s != nil {
		out.Series = &corev1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
	return out
}

func eventFromCore(e *corev1.Event) *eventsv1.Event {
	out := &eventsv1.Event{
		ObjectMeta: e.ObjectMeta, Regarding: e.InvolvedObject, Related: e.Related, Reason: e.Reason, Note: e.Message, Type: e.Type, Action: e.Action,
		DeprecatedSource: e.Source, DeprecatedFirstTimestamp: e.FirstTimestamp, DeprecatedLastTimestamp: e.LastTimestamp, DeprecatedCount: e.Count,
		EventTime: e.EventTime, ReportingController: e.ReportingController, ReportingInstance: e.ReportingInstance,
	}
	if s := e.Series; s != nil {
		out.Series = &eventsv1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
	return out
}

func eventRow(e *corev1.Event) []any {
	first := kinds.Age(e.FirstTimestamp)
	if e.FirstTimestamp.IsZero() {
		first = kinds.Age(metav1.Time{Time: e.EventTime.Time})
	}
	last, count := first, e.Count
	if !e.LastTimestamp.IsZero() {
		last = kinds.Age(e.LastTimestamp)
	}
	if e.Series != nil {
		last, count = kinds.Age(metav1.Time{Time: e.Series.LastObservedTime.Time}), e.Series.Count
	} else if count == 0 {
		count = 1 // events.k8s.io has no count for what happened once
	}
	object := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name != "" {
		object += "/" + e.InvolvedObject.Name
	}
	source := orElse(e.Source.Component, e.ReportingController)
	if host := orElse(e.Source.Host, e.ReportingInstance); host != "" {
		source += ", " + host
	}
	return []any{last, e.Type, e.Reason, object, e.InvolvedObject.FieldPath, source, strings.TrimSpace(e.Message), first, int64(count), e.Name}
}
