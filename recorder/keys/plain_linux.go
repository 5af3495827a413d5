//go:build amd64 || arm64

package keys

import (
	heaps "container/heap"
	"errors"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
)

// connectionID identifies a connection.
type connectionID struct {
	tgid         uint32
	object, born uint64
}

const maxConnections = 65536 // with remembered numbers; an older connection gets a new number

// readPlain reads pieces until the Tracker is closed, and then those that remain.
func (t *Tracker) readPlain() {
	defer t.done.Done()
	ring := t.plain.Ring()
	var rec ringbuf.Record
	q := queue{numbers: map[connectionID]uint64{}}
	stopping, unsynced, synced := false, false, time.Now()
	for {
		wait := 50 * time.Millisecond
		if len(q.list) > 0 {
			wait = reorder / 4
		}
		if stopping {
			wait = 0
		}
		ring.SetDeadline(time.Now().Add(wait))
		err := ring.ReadInto(&rec)
		idle := errors.Is(err, os.ErrDeadlineExceeded)
		if err == nil {
			q.add(rec.RawSample)
		} else if !idle {
			t.mu.Lock()
			t.detail = err.Error()
			t.mu.Unlock()
			stopping, idle = true, true
		}
		for until := monotonic() - uint64(reorder); ; unsynced = true {
			e := q.next(until, stopping && idle)
			if e == nil {
				break
			}
			t.plainPiece(&e.Plain, e.connection)
			q.free(e)
		}
		if unsynced && (idle || time.Since(synced) > time.Second) {
			unsynced, synced = false, time.Now()
			t.flushPlain()
		}
		if stopping && idle {
			return
		}
		select {
		case <-t.stop:
			stopping = true
		default:
		}
	}
}

func monotonic() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano())
}

const (
	reorder     = 40 * time.Millisecond // time that a piece waits for an older one: a call that sends is reported at its end
	maxReorder  = 16 << 20              // bytes that wait
	maxKeepRoom = 256                   // buffers kept for reuse
)

// queued is a piece in the queue.
type queued struct {
	bpf.Plain
	connection uint64
	order      uint64
	room       []byte
}

// queue sorts pieces by time. No piece is returned with a time before that of the previous
// one.
type queue struct {
	list    []*queued // a heap
	bytes   int
	order   uint64
	latest  uint64
	spare   []*queued
	last    uint64
	numbers map[connectionID]uint64
	older   map[connectionID]uint64
}

// number assigns numbers to connections.
func (q *queue) number(id connectionID) uint64 {
	n, ok := q.numbers[id]
	if !ok {
		if n, ok = q.older[id]; !ok {
			q.last++
			n = q.last
		}
		if len(q.numbers) >= maxConnections/2 {
			q.numbers, q.older = map[connectionID]uint64{}, q.numbers
		}
		q.numbers[id] = n
	}
	return n
}

// add copies a record into the queue.
func (q *queue) add(raw []byte) {
	x := &queued{}
	if n := len(q.spare); n > 0 {
		x, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	x.room = append(x.room[:0], raw...)
	if !x.Decode(x.room) {
		q.spare = append(q.spare, x)
		return
	}
	q.order++
	x.order, x.connection = q.order, q.number(connectionID{x.TGID, x.Object, x.Born})
	q.bytes += len(x.room)
	heaps.Push(q, x)
}

// next returns the oldest piece if it has waited long enough, if too many bytes wait, or if
// no more pieces follow.
func (q *queue) next(until uint64, all bool) *queued {
	if len(q.list) == 0 || !all && q.list[0].Time > until && q.bytes <= maxReorder {
		return nil
	}
	x := heaps.Pop(q).(*queued)
	q.bytes -= len(x.room)
	q.latest = max(q.latest, x.Time)
	x.Time = q.latest
	return x
}

// free keeps a piece for reuse.
func (q *queue) free(x *queued) {
	if len(q.spare) < maxKeepRoom && cap(x.room) <= 2*bpf.MaxPiece {
		q.spare = append(q.spare, x)
	}
}

// Len implements heap.Interface, together with Less, Swap, Push and Pop.
func (q *queue) Len() int { return len(q.list) }

func (q *queue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	return a.Time < b.Time || a.Time == b.Time && a.order < b.order
}

func (q *queue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }

func (q *queue) Push(x any) { q.list = append(q.list, x.(*queued)) }

func (q *queue) Pop() any {
	x := q.list[len(q.list)-1]
	q.list[len(q.list)-1] = nil
	q.list = q.list[:len(q.list)-1]
	return x
}

func (t *Tracker) flushPlain() {
	if err := t.o.Plain.Flush(); err != nil {
		t.mu.Lock()
		t.detail = err.Error()
		t.mu.Unlock()
	}
}

// await waits for the event about a process, which arrives through another ring buffer.
func (t *Tracker) await(pid uint32) {
	const tries = 40
	for i := range tries {
		t.mu.Lock()
		known := t.procs[pid] != nil || time.Since(t.missing[pid]) < walkEvery
		if !known && i == tries-1 {
			if len(t.missing) >= maxProcesses {
				clear(t.missing)
			}
			t.missing[pid] = time.Now()
		}
		t.mu.Unlock()
		if known {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// plainPiece passes a piece to the sink.
func (t *Tracker) plainPiece(e *bpf.Plain, connection uint64) {
	t.await(e.TGID)
	t.mu.Lock()
	p, x := t.procs[e.TGID], t.targets[e.Target]
	if p == nil || x == nil {
		t.plainCount.Unused++
		t.mu.Unlock()
		return
	}
	p.state, p.library = Plaintext, x.library
	v := Plain{Time: t.utc(e.Time), PID: e.TGID, TID: e.TID, Executable: p.exe, Cgroup: p.cgroup, Library: x.library, Sent: e.Write, Connection: connection,
		Call: e.Call, Offset: e.Offset, Data: e.Data, Ends: Ends(min(e.How, bpf.WayCall)), Local: e.Local, Remote: e.Remote}
	t.mu.Unlock()
	err := t.o.Plain.Plain(&v)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.plainCount.SinkErrors++
		t.detail = err.Error()
		return
	}
	p.keys++
	t.plainCount.Written++
	t.plainCount.Bytes += uint64(len(v.Data))
}

// PlainCounters reads the counters of plaintext, also after Close. They are zero if keys are
// read.
func (t *Tracker) PlainCounters() (PlainCounters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var k bpf.PlainCounters
	var err error
	switch {
	case t.plain == nil:
	case t.lastOf != nil:
		k = *t.lastOf
	default:
		k, err = t.plain.Counters()
	}
	c := t.plainCount
	c.Calls, c.Seen, c.Lost, c.Unread, c.Odd, c.Cut = k.Calls, k.Seen, k.Lost, k.Unread, k.Odd, k.Cut
	return c, err
}

// EndsUnknown returns the reason why plaintext has no addresses, or nil if it has them.
func (t *Tracker) EndsUnknown() error {
	if t.plain == nil {
		return nil
	}
	return t.plain.Sockets
}
