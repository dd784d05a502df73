// Package linear checks what clients are promised about concurrent requests, over HTTP, against the built tenet that is killed (SIGKILL) again and again:
//
//   - Writers and readers: the history of creates, updates, patches, deletes and reads of each object is linearizable (porcupine). A request without an answer may
//     have been carried out or not.
//   - Watchers, in etcd's words: ordered, unique, reliable, atomic, resumable and bookmarkable. All watchers see the same events at the same revisions, whatever was
//     killed meanwhile; every acknowledged write is among them, at the revision that its writer was told; a bookmark comes after all it speaks of.
//   - A list at a revision is what the events up to that revision make.
//
// The objects are of a kind whose CustomResourceDefinition is made while watchers already ask for it: they must see its first object ever. The test runs for some
// seconds; `make linear` until a million events were seen, and writes docs/results/linear.md.
package linear
