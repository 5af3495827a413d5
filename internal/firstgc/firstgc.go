// Package firstgc lets a program begin without garbage collection.
//
// Most commands end before they need much memory, and a tenth of a second of making commands, reading a manifest and planning
// statements had seven collections, which took a quarter of its processor time. So the first collection is at 32 MiB of heap
// (https://go.dev/doc/gc-guide#GOGC: the heap may always grow to 4 MiB * GOGC / 100), and then the heap grows by half of what
// lives: captures pass through in bounded rounds, so little of that memory is worth keeping.
package firstgc

import (
	"os"
	"runtime"
	"runtime/debug"
)

// Variables of a package that imports so little are initialized before nearly all others.
var _ = delay()

const (
	before = 800 // percent, until the first collection
	after  = 50
)

type sentinel struct{ _ *byte }

// delay leaves a setting of the user as it is.
func delay() bool {
	if os.Getenv("GOGC") != "" {
		return false
	}
	debug.SetGCPercent(before)
	runtime.SetFinalizer(new(sentinel), func(*sentinel) { debug.SetGCPercent(after) })
	return true
}
