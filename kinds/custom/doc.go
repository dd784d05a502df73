// Package custom makes a [kinds.Kind] of a CustomResourceDefinition, so that the API server has one path for all types.
//
// Objects are unstructured and rest as JSON. The hub version of a custom kind is its storage version; each served version has a schema of its own, and what
// upstream does with it: pruning, defaulting, validation of OpenAPI and CEL, list types, status and scale, printer columns, selectable fields. The rules
// themselves are upstream's code (k8s.io/apiextensions-apiserver), so that paths and texts of errors are those that users know.
//
// A kind that nobody uses holds little: the names in its definition, and the stored bytes of the definition, which it shares with the store. Schemas are decoded
// and CEL programs compiled at first use, and let go when they were not used for a while ([Idle]).
package custom
