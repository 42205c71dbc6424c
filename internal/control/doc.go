// Package control is the control API of the daemon: its types, the HTTP server on a unix socket and the client.
//
// The API is JSON over HTTP/1.1. Lists are arrays of flat objects whose names are stable; docs/api.md describes the
// endpoints. Who may connect to the socket may do everything: its mode and group are the only access control.
//
// The `table` tags of the types tell the command line which fields are columns and how people like to read them: "col" is a
// column, "wide" is a column of the wide table only; then "bytes", "duration", "hex" or "time" may follow.
package control
