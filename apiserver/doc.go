// Package apiserver is the first room of Tenet, declare: the one door through which objects are read and written.
//
//	who (authn) -> may they (authz) -> decode -> default -> mutate (admission) -> validate -> allow (admission) -> commit -> encode
//
// A request comes over HTTP or as a function call from this process ([Server.CreateObject] and its like); both run the same pipeline. There is
// one file per verb. What an object means is in its Kind: nothing here switches on the name of a type.
//
// Guarantees: an answer of success means the change is durable and that every later read in this process sees it. Errors are metav1.Status
// with the reasons, messages and causes of Kubernetes. Objects handed out in process are shared and never changed; objects handed in are copied.
// A body is encoded at most once per record, served version and media type while it stays in the cache ([encode.Cache]).
package apiserver
