package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/pcapsule/pcapsule/forensics/internal/confine"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Main is the worker: it serves standard input and returns the exit code of the process. When the
// program ends, standard input ends, and the worker with it.
func Main() int {
	// A crash dump would contain captured text, and only its first lines are shown.
	debug.SetTraceback("none")
	out, err := answers()
	if err == nil {
		temp := ""
		err = Serve(os.Stdin, out, func(o *wire.Settings) error {
			temp = o.Temp
			return confine.Worker(o)
		})
		clean(temp)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// clean empties the folder of temporary files. The program also does this, if it is still running.
func clean(temp string) {
	if temp == "" {
		return
	}
	list, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, f := range list {
		_ = os.RemoveAll(filepath.Join(temp, f.Name()))
	}
}
