//go:build !windows

package console

import "os"

// escapes reports whether a terminal acts on escape sequences.
func escapes(*os.File) bool { return true }
