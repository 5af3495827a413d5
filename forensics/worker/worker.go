// Package worker makes a program the database worker of its own cases.
//
// A case runs DuckDB in a separate process: the same program, started with a special argument. So a
// program that opens cases must call Main first; a test calls workertest.Main. Without the call,
// opening a case is an error.
package worker

import (
	"os"

	"github.com/pcapsule/pcapsule/forensics/internal/engine"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Main returns immediately in a normal program. In a worker it answers queries until the program that
// started it ends, and does not return.
func Main() {
	if len(os.Args) == 2 && os.Args[1] == wire.Argument {
		os.Exit(engine.Main())
	}
	if len(os.Args) == 3 && os.Args[1] == wire.ProgramArgument {
		os.Exit(become(os.Args[2]))
	}
}
