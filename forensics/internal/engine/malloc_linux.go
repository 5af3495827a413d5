package engine

// DuckDB's names are not exported, because nothing that a program loads calls DuckDB: 7 MB less.

/*
#cgo LDFLAGS: -Wl,--no-export-dynamic
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
static void few_arenas(int n) {
	mallopt(M_ARENA_MAX, n);
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
}
static void trim(void) { malloc_trim(0); }
#else
static void few_arenas(int n) {}
static void trim(void) {}
#endif
*/
import "C"

import (
	"runtime"
	"sync"
	"time"
)

// fewArenas keeps the C library from retaining freed memory. By default each of the many threads of
// calls from Go has its own arena, and an arena is only returned from its end: ten clients held
// 2.2 GB, of which 0.1 GB were in use.
//
// States of aggregates (quantiles store every value) and plans are in arenas and not counted by the
// memory limit. Blocks above the threshold get their own pages, which are returned when freed.
var fewArenas = sync.OnceFunc(func() { C.few_arenas(C.int(max(2, runtime.GOMAXPROCS(0)))) })

// trimEvery is the shortest interval between returns of freed memory, which take milliseconds.
const trimEvery = 200 * time.Millisecond

// trim returns freed memory to the kernel.
func trim() { C.trim() }
