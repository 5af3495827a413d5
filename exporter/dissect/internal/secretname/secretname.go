// Package secretname tells which names of parameters have values that no row shows: passwords, tokens and keys.
package secretname

import "regexp"

var names = regexp.MustCompile(`(?i)pass(w|_|$)|passwd|secret|token|api_?key|private|credential|_auth|^auth|_pw$`)

// Is reports whether the value of a name is secret.
func Is(name []byte) bool { return names.Match(name) }
