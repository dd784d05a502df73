// Package h2 serves HTTP/2 connections for net/http's Server, which keeps the listener, TLS and HTTP/1.1.
//
// net/http's own server hands each frame from the handler to the goroutine of the connection, and from there to one that writes it: three wakeups, two TLS records
// and two system calls for 16 KiB of a list, and as much for each event of each watcher. Here a handler's bytes are copied once, into the output of the connection,
// as frames; whoever finds nobody writing writes what has gathered there, of all streams, as full TLS records in one system call, and goes on while there is more.
// Many small writes at the same time thus become few large ones by themselves.
//
// Frames and header fields are parsed by golang.org/x/net/http2. What a client may cost is bounded: header lists, streams at once (handlers that still run after
// their stream was reset count), unread request bodies, output that waits, frames that only ask for answers.
//
// A stream that the client does not read stops its own handler, when the window of the stream is used up, and nobody else's.
package h2
