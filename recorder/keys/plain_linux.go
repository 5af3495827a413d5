//go:build amd64 || arm64

package keys

import (
	"errors"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
)

// goPlain finds the methods of crypto/tls.Conn, with the places where they return.
func (m *image) goPlain() ([]bpf.Function, error) {
	all, err := m.goFunctions(goRead, goWrite)
	if err != nil {
		return nil, err
	}
	var list []bpf.Function
	for i, spans := range all {
		for _, s := range spans {
			ends, err := m.returns(s.off, s.size)
			if err != nil {
				return nil, err
			}
			list = append(list, bpf.Function{At: s.off, Ends: ends, Write: i == 1})
		}
	}
	return list, nil
}

// connectionID tells connections apart.
type connectionID struct {
	tgid         uint32
	object, born uint64
}

const maxConnections = 65536 // that are told apart by a number; an older one gets another

// readPlain takes pieces until the end, then what is left.
func (t *Tracker) readPlain() {
	defer t.done.Done()
	ring := t.plain.Ring()
	var rec ringbuf.Record
	var e bpf.Plain
	var last uint64
	numbers, older := map[connectionID]uint64{}, map[connectionID]uint64(nil)
	number := func(id connectionID) uint64 {
		n, ok := numbers[id]
		if !ok {
			if n, ok = older[id]; !ok {
				last++
				n = last
			}
			if len(numbers) >= maxConnections/2 {
				numbers, older = map[connectionID]uint64{}, numbers
			}
			numbers[id] = n
		}
		return n
	}
	stopping, unsynced, synced := false, false, time.Now()
	for {
		wait := 50 * time.Millisecond
		if stopping {
			wait = 0
		}
		ring.SetDeadline(time.Now().Add(wait))
		err := ring.ReadInto(&rec)
		idle := errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case err == nil:
			if e.Decode(rec.RawSample) {
				t.plainPiece(&e, number(connectionID{e.TGID, e.Object, e.Born}))
				unsynced = true
			}
		case idle && stopping:
			if unsynced {
				t.flushPlain()
			}
			return
		case idle:
		default:
			t.mu.Lock()
			t.detail = err.Error()
			t.mu.Unlock()
			return
		}
		if unsynced && (idle || time.Since(synced) > time.Second) {
			unsynced, synced = false, time.Now()
			t.flushPlain()
		}
		select {
		case <-t.stop:
			stopping = true
		default:
		}
	}
}

func (t *Tracker) flushPlain() {
	if err := t.o.Plain.Flush(); err != nil {
		t.mu.Lock()
		t.detail = err.Error()
		t.mu.Unlock()
	}
}

// await gives the events of processes, which come another way, the time to tell of one.
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

// plainPiece gives a piece to the sink.
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

// PlainCounters reads the counters of plaintext, also after Close. They are zero where
// keys are read.
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

// EndsUnknown says why the ends of connections are not known in plaintext, nil where they
// are.
func (t *Tracker) EndsUnknown() error {
	if t.plain == nil {
		return nil
	}
	return t.plain.Sockets
}
