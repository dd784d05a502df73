// Package encode turns stored records into bytes for the wire. It is the last step of the first room, declare.
//
// The body of an object is encoded at most once per (record, served version, media type) while it stays in the [Cache], whoever asks: GET, LIST and
// every watcher copy the same bytes. A body carries no type header (each reader puts its own head in front) and knows where its resourceVersion
// stands, so that the object of a DELETED event, which carries the revision of the deletion, is the same bytes with another number spliced in.
//
// Bodies in protobuf are not kept at all when the served version is the stored one: they are the stored bytes, with the resourceVersion filled in.
//
// Guarantees: bytes equal those of Kubernetes' own serializers (field order, omitted fields, escaping), which tests compare. Everything returned is
// shared and never changed.
package encode
