// Package memory divides a run's memory limit.
//
// One part is for the garbage that the collector has not yet collected. Tables of fixed size have
// their full size from the default limit on, and proportionally less below it. Connections have the
// rest.
package memory

import "cmp"

// Limit is the memory limit of a run, in bytes.
type Limit int64

// Default is the limit of a run unless its options say otherwise.
const Default Limit = 256 << 20

// Shares of the limit.
const (
	fixed  = 19 << 20 // of tables that do not scale: they grow with the number of columns
	least  = 10 << 20 // of connections
	scaled = 51 << 20 // of tables that do, at the default limit; measured with 120,000 waiting requests
)

// Heap is the limit for Go's collector. The rest is for memory outside its heap: code, stacks of C,
// the page cache of Parquet parts.
func (l Limit) Heap() int64 { return int64(l - l/5) }

// Connections is the limit of all connections together, with their rows. A tenth of the heap is for
// garbage.
func (l Limit) Connections() int {
	heap := l.Heap()
	return int(max(heap-heap/10-fixed-int64(l.Scale(scaled)), least))
}

// Scale is the size of a table that has n at the default limit.
func (l Limit) Scale(n int) int {
	if l <= 0 || l >= Default {
		return n
	}
	return max(int(int64(n)*int64(l)/int64(Default)), 1)
}

// Values is the limit of the values that a redaction searches. The rest of the heap is for the tables that are made
// meanwhile.
func (l Limit) Values() int64 { return cmp.Or(l, Default).Heap() / 2 }
