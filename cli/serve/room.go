package serve

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/forensics"
)

// minHeap is the heap that dissection needs, in bytes. Below it, the collector would run
// constantly.
const minHeap = 64 << 20

// minMemory is the smallest value of --memory.
const minMemory = 64 << 20

// minLive is the smallest value of --live-most.
const minLive = 16 << 20

// minHeadroom is how far the program may exceed its memory limit, in bytes: it also needs
// memory for its code and for dissection.
const minHeadroom = 512 << 20

// room is the memory and disk space that the cases of a server share.
type room struct {
	memory, temp int64 // bytes of one case
	ceiling      int64 // bytes of the database processes of all cases together
	guard        *forensics.Guard
	dir          string // private folder for temporary files, empty: there is none
	opened       atomic.Int64
}

// room makes a folder for what does not fit into memory. If that fails it prints a warning,
// and questions that need the folder fail.
func (a *answerFlags) room(warn func(format string, args ...any)) *room {
	r := &room{memory: int64(a.memory), temp: int64(a.temp), ceiling: int64(a.memory + max(a.memory, minHeadroom))}
	r.guard = forensics.NewGuard(r.ceiling)
	// The collector runs more often when a quarter of the limit is used, unless GOMEMLIMIT
	// is set.
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(max(r.memory/4, minHeap))
	}
	if a.ring != "" { // of several open dissections, two may be queried at once
		r.memory, r.temp = r.memory/2, r.temp/2
	}
	if r.temp == 0 {
		return r
	}
	dir, err := os.MkdirTemp("", "pcapsule-")
	if err != nil {
		warn("no folder for temporary files, so questions that need more than --memory fail: %v", err)
		return r
	}
	r.dir = dir
	return r
}

// options returns the options of the next case. Each case has its own folder, which is
// created at the first write.
func (r *room) options() forensics.Options {
	o := forensics.Options{MemoryLimit: r.memory, MaxTemp: r.temp, Ceiling: r.ceiling, Guard: r.guard}
	if r.dir != "" {
		o.TempDir = filepath.Join(r.dir, strconv.FormatInt(r.opened.Add(1), 10))
	}
	return o
}

func (r *room) close() {
	if r.dir != "" {
		_ = os.RemoveAll(r.dir) // temporary files
	}
}
