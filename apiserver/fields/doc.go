// Package fields computes who owns which fields of a typed object, for managedFields: which fields a write changed, read off the Go structs.
//
// Upstream's managedfields package does the same through generic values and costs 200 us for a small pod; it remains the path for apply, and the oracle that
// tests compare this package with, byte for byte. [Tracker.Update] does the work of upstream's FieldManager.Update for what is written every day, and says
// when it cannot (another version among the managers, more than ten of them, duplicate list keys): then upstream's must be asked.
//
// A Tracker is made from a schema once per kind, version and door; it is immutable and may be used by many at once.
package fields
