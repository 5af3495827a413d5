package engine

/*
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

// fewArenas keeps the C library from holding what was freed. It gives each of the many
// threads that calls from Go run on an arena of its own, and an arena is given back from
// its end only: ten clients held 2.2 GB of which 0.1 were in use.
//
// States of aggregates (quantiles hold every value) and plans live there and are not
// counted by the memory limit; what is longer than the threshold gets pages of its own,
// which go back when it is freed.
var fewArenas = sync.OnceFunc(func() { C.few_arenas(C.int(max(2, runtime.GOMAXPROCS(0)))) })

// trimEvery is how often freed memory is given back at most; it takes milliseconds.
const trimEvery = 200 * time.Millisecond

// trim gives back what was freed.
func trim() { C.trim() }
