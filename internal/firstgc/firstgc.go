// Package firstgc lets a program begin without garbage collection.
//
// Most commands end before they need much memory, and a tenth of a second of making commands, reading a manifest and planning
// statements had seven collections, which took a quarter of its processor time. So the first collection is at 32 MiB of heap
// (https://go.dev/doc/gc-guide#GOGC: the heap may always grow to 4 MiB * GOGC / 100), and then the heap grows by half of what
// lives. A command with a memory limit sets its own growth with Then.
package firstgc

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// Variables of a package that imports so little are initialized before nearly all others.
var delayed = delay()

const before = 800 // percent, until the first collection

// growth is what holds from the first collection on.
var growth struct {
	sync.Mutex
	percent   int
	collected bool
}

type sentinel struct{ _ *byte }

// delay leaves a setting of the user as it is.
func delay() bool {
	if os.Getenv("GOGC") != "" {
		return false
	}
	growth.percent = 50
	debug.SetGCPercent(before)
	runtime.SetFinalizer(new(sentinel), func(*sentinel) {
		growth.Lock()
		defer growth.Unlock()
		growth.collected = true
		debug.SetGCPercent(growth.percent)
	})
	return true
}

// Then lets the heap grow by percent of what lives after its first collection, unless the user has set a growth.
func Then(percent int) {
	if !delayed {
		return
	}
	growth.Lock()
	defer growth.Unlock()
	if growth.percent = percent; growth.collected {
		debug.SetGCPercent(percent)
	}
}
