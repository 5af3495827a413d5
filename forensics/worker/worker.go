// Package worker makes a program the database worker of its own cases.
//
// A case asks DuckDB in a process of its own, which is the same program started again with
// an argument that no person gives. So a program that opens cases calls Main before it does
// anything else; a test does so in TestMain. Without the call, opening a case is an error.
package worker

import (
	"os"

	"github.com/pcapsule/pcapsule/forensics/internal/engine"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Main returns at once in a program that a person started. In a worker it answers questions
// until the program that started it ends, and does not return.
func Main() {
	if len(os.Args) == 2 && os.Args[1] == wire.Argument {
		os.Exit(engine.Main())
	}
}

// Confinement says what the kernel has to confine a worker with: the version of Landlock, 0
// without it, and whether system calls can be filtered.
func Confinement() (landlock int, seccomp bool) { return engine.Confinement() }
