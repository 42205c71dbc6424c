// Package cli is the command line of l2tpctl.
//
// Every list goes through one renderer (render.go) whose columns come from the struct tags of the control API's types. There
// are three contracts: a terminal gets a table that people read and a count line; a pipe gets tab-separated raw values without
// a header; -o json and csv give all fields under their stable names. Exit codes are in exit.go.
package cli
