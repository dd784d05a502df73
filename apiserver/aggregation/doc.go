// Package aggregation has other servers answer for API group versions, as APIServices say (Kubernetes' aggregation layer). It is part of the first room, declare.
//
// Whoever asks is authenticated and authorized by this server first. The request then goes to a ready endpoint of the APIService's Service with the front proxy's
// client certificate, by which the other server knows who says so, and the user in X-Remote-User, X-Remote-Group and X-Remote-Extra-*. Upgraded connections and
// watches stream through.
//
// A group version that this server serves itself, built in or by a definition, is never handed on. As long as no APIService names a Service, a request costs one load
// of a pointer.
//
// Whether a server is available is looked at when its APIService, Service or endpoints change, when a request to it fails, and after failures again with growing
// pauses; never while all is well and nothing changes.
package aggregation
