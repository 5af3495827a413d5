// Package round defines the value that the stages pass on: a batch of packets, the information that
// was read since the previous round, and later the shards' results.
//
// A stage receives a round, works on it and sends it on; afterwards it does not touch it. Nothing
// else crosses stages. A round refers to other rounds by numbers and IDs, never by pointers to data
// that a stage still changes.
package round

import (
	"cmp"
	"net/netip"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Round is a batch of packets on its way through the stages.
type Round struct {
	Packets []flow.Packet
	Shards  [flow.ShardCount][]int32 // indexes of each shard's packets
	Facts   Facts
	Now     int64     // newest capture time so far, ns
	Seen    flow.Seen // of the capture so far
	Last    int64     // number of its last packet
	Final   bool      // it has no packets: all connections end
	More    bool      // the next round continues it: a cut came before it was full
	Cut     *Cut      // nil unless a live run shows what it has so far
	Kept    int       // bytes that the reader keeps for later rounds

	Out  [flow.ShardCount]flow.Batch // from the shards
	Open [flow.ShardCount]flow.Batch // at a cut: what would be in Out if the capture ended here

	buffers []Buffer
	bytes   int
	begun   struct{ packets, bytes int } // in the rounds that this one continues
	limit   memory.Limit
}

// Cut is a point at which a live run publishes its rows so far.
type Cut struct {
	Inputs   []bundle.Input   // read so far, without those that are long past
	Coverage []table.Coverage // of the inputs that are being read
	Warnings []string
	Now      int64 // newest capture time so far, ns
	Idle     bool  // everything in the ring was read
}

// Facts are the reader's findings since the previous round. The lists are in order.
type Facts struct {
	Links     []Link  // interfaces, numbered consecutively over all rounds
	Owners    []Owner // later packets and links use their numbers
	Names     []Name
	Anomalies []table.Anomaly
	Clocks    []table.Clock
	Coverage  []table.Coverage
	OSEvents  []table.OSEvent
	K8sEvents []workload.Event
	ReadBytes int64 // so far, of all inputs
}

// Link is an interface of an input.
type Link struct {
	Name      string
	File      int32
	Recording string // of a segment's interface: ring and series
	Cgroup    string // of a segment's interface
}

// SameGroup reports whether two interfaces represent the same control group in two segments of
// one recording.
func (l *Link) SameGroup(o *Link) bool {
	return l.Recording != "" && l.Recording == o.Recording && l.Cgroup == o.Cgroup
}

// Owner is a process or pod to which packets or interfaces refer by number.
type Owner struct {
	No       int32
	Identity workload.Identity
}

// OwnersRecent is the first number of owners that are dropped after OwnersKept others.
const (
	OwnersRecent = 1 << 24
	OwnersKept   = 1 << 16 // far more than a stage can lag behind
)

// Name is an input's statement about an address. One of Text, Interface and Peer is set.
type Name struct {
	Addr      netip.Addr
	Text      string // from a Name Resolution Block
	Source    string
	Interface *workload.InterfaceComment
	Peer      *workload.Identity // from the owners file of a segment
}

// Place is a row's position in the order of a round.
type Place struct {
	No    int64 // packet that completed it
	Shard int32
	I     int32
}

// Order orders the rows of one list of all shards: by the packet that completed them, then by
// shard; a shard's own rows keep their order. It uses the memory of buf.
func (r *Round) Order(buf []Place, count func(*flow.Batch) int, no func(*flow.Batch, int) int64) []Place {
	buf = buf[:0]
	for s := range r.Out {
		for i := range count(&r.Out[s]) {
			buf = append(buf, Place{no(&r.Out[s], i), int32(s), int32(i)})
		}
	}
	slices.SortFunc(buf, func(a, b Place) int {
		if c := cmp.Compare(a.No, b.No); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Shard, b.Shard); c != 0 {
			return c
		}
		return cmp.Compare(a.I, b.I)
	})
	return buf
}

// Buffer is memory to which packets of a round point.
type Buffer interface {
	Hold()
	Release()
}

// Hold keeps a buffer until Reset.
func (r *Round) Hold(b Buffer) {
	b.Hold()
	r.buffers = append(r.buffers, b)
}

// Reset empties the round for reuse and releases its buffers.
func (r *Round) Reset() {
	for _, b := range r.buffers {
		b.Release()
	}
	clear(r.buffers)
	clear(r.Packets)
	r.Packets, r.buffers = r.Packets[:0], r.buffers[:0]
	r.Facts, r.bytes, r.Final, r.Kept, r.More, r.Cut, r.Seen = Facts{}, 0, false, 0, false, nil, flow.Seen{}
	r.begun.packets, r.begun.bytes = 0, 0
	for i := range r.Out {
		r.Shards[i] = r.Shards[i][:0]
		r.Out[i].Reset()
		r.Open[i].Reset()
	}
}

// Size limits of a round at the default memory limit. The numbers are part of the format: they
// decide the order of rows that no packet orders, such as timeouts.
const (
	maxPackets = 2048
	maxBytes   = 512 << 10
)

// Add appends an empty packet with space for size bytes of data.
func (r *Round) Add(size int) *flow.Packet {
	if n, most := len(r.Packets), r.limit.Scale(maxPackets); n == cap(r.Packets) && n < most {
		r.Packets = slices.Grow(r.Packets, min(8*max(n, 1), most)-n)
	}
	r.Packets = append(r.Packets, flow.Packet{})
	r.bytes += size + 128
	return &r.Packets[len(r.Packets)-1]
}

// Part moves the rows that come before the place of a waiting shard to a round of their own,
// with the facts.
func (r *Round) Part(waiting int, pool Pool) *Round {
	c := pool.Get()
	c.Facts, c.Now, c.Last = r.Facts, r.Now, r.Last
	r.Facts = Facts{ReadBytes: r.Facts.ReadBytes}
	for i := range r.Out {
		r.Out[i].Move(i, &r.Out[waiting], waiting, &c.Out[i])
	}
	return c
}

// Move assigns a packet that is not last to another shard.
func (r *Round) Move(i int32, from, to uint64) {
	if from == to {
		return
	}
	if at, ok := slices.BinarySearch(r.Shards[from], i); ok {
		r.Shards[from] = slices.Delete(r.Shards[from], at, at+1)
		at, _ = slices.BinarySearch(r.Shards[to], i)
		r.Shards[to] = slices.Insert(r.Shards[to], at, i)
	}
}

// Memory is the memory of the round's packets in bytes, including their data, as of a round that has
// grown to its full size: it must not depend on which round the pool returned.
func (r *Round) Memory() int {
	return max(len(r.Packets), r.limit.Scale(maxPackets))*int(unsafe.Sizeof(flow.Packet{})) + r.bytes
}

// Full reports whether the round takes no more packets.
func (r *Round) Full() bool {
	return r.begun.packets+len(r.Packets) >= r.limit.Scale(maxPackets) || r.begun.bytes+r.bytes >= r.limit.Scale(maxBytes)
}

// Continue makes an empty round the rest of another, so that it ends where the other would have
// ended.
func (r *Round) Continue(of *Round) {
	of.More = true
	r.begun.packets, r.begun.bytes = of.begun.packets+len(of.Packets), of.begun.bytes+of.bytes
}

// Pool keeps a few rounds for use again.
type Pool struct {
	free  chan *Round
	limit memory.Limit
}

// NewPool makes a pool of rounds whose size suits a memory limit.
func NewPool(limit memory.Limit) Pool { return Pool{make(chan *Round, 8), limit} }

// firstPackets is the number of packets for which a new round has room. It grows with the capture: the
// full size takes longer to clear than a small capture takes to read. Below the default limit rounds are
// smaller, and what growing leaves to the collector would count.
const firstPackets = 64

// Get returns an empty round.
func (p Pool) Get() *Round {
	select {
	case r := <-p.free:
		return r
	default:
		n := p.limit.Scale(maxPackets)
		if n == maxPackets {
			n = firstPackets
		}
		return &Round{Packets: make([]flow.Packet, 0, n), limit: p.limit}
	}
}

// Put returns a round to the pool.
func (p Pool) Put(r *Round) {
	r.Reset()
	select {
	case p.free <- r:
	default:
	}
}
