// Package customresources keeps what is served true to the CustomResourceDefinitions in the store. It is part of the first room, declare.
//
// A [Registry] is three things. As an admission plugin it gives a definition its conditions in the write that makes or changes it: names are accepted or in
// conflict, and a definition whose names are accepted is established. As the one who is told of each such write before its writer is answered, it puts the kind
// into the set of live kinds, or takes it out: when the create of a definition returns, its objects can be made. As a loop ([Registry.Run]) it does what takes time:
// a definition that is deleted goes after its objects, and names that become free go to those who wait for them.
//
// Guarantees: no two established definitions of one group share a name; a definition is served from the return of the write that established it to the return of
// the write that removed it; a change of a schema holds for every request that begins after the change has returned. A watch on objects outlives changes of their
// definition, and ends with it, after the deletions of all objects.
package customresources
