// Package config reads the configuration file of l2tpctl into a validated value.
//
// The file is YAML, read strictly: an unknown key, a value of the wrong kind or a value that makes no sense is an error
// that names file, line and column, what was found and what was expected. All errors of a file are reported together.
// Everything has a default but three things: a pre-shared key, an address pool and a user (see Minimal).
//
// What Load returns needs no further checks: durations are in range, prefixes are masked, pools hold no address that is
// in use elsewhere. Secrets are of type Secret, which no formatter prints.
package config
