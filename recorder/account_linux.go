package recorder

import (
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// settle waits until no kernel program is running, so that every packet seen is counted.
func (r *recording) settle() bool {
	for range 200 {
		in, out, err := r.progs.Counts()
		if err != nil {
			return false
		}
		if in.Balanced() && out.Balanced() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// kernel returns the counters of the kernel programs, and of packets that were lost before
// they had an output. Packets in transit count as neither seen nor delivered.
func (r *recording) kernel() (c ring.Counters, inKernel uint64, err error) {
	taken := r.read.Load()
	forbidden, unwanted := r.enforcer.counts()
	broken, astray := r.invalid.Load(), r.unaccounted.Load()
	in, out, err := r.progs.Counts()
	if err != nil {
		return c, 0, err
	}
	in.Add(out)
	in.Add(r.earlier)
	c = ring.Counters{
		Filtered:  in.Excluded + in.Filtered + in.Forbidden + r.refused.Load() + forbidden + unwanted,
		Policy:    forbidden + in.Forbidden,
		Kernel:    max(in.Seen, in.Excluded+in.Filtered+in.Forbidden+in.Delivered+in.Failed+in.Unread), // packets keep passing while the counters are read
		Dropped:   in.Failed + in.Unread + broken + astray,
		Truncated: in.Truncated + in.Capped,
		Drops:     []ring.Drop{{Reason: reasonBuffer, Packets: in.Failed}, {Reason: reasonUnread, Packets: in.Unread + broken}, {Reason: reasonUnaccounted, Packets: astray}, {Reason: reasonWriter}},
	}
	return c, in.Delivered - min(taken, in.Delivered), nil
}

// addTotals adds an output's counters of the packets that it received.
func addTotals(c *ring.Counters, t ring.Totals) {
	c.Delivered += t.Kept
	c.Dropped += t.Dropped
	c.Drops[len(c.Drops)-1].Packets += t.Dropped
	c.Seen = c.Filtered + c.Delivered + c.Dropped
}

// counters returns those of the whole recording.
func (r *recording) counters() (c ring.Counters, inKernel uint64, err error) {
	c, inKernel, err = r.kernel()
	if err != nil {
		return c, 0, err
	}
	for _, l := range r.outputs {
		addTotals(&c, l.sink.totals())
	}
	return c, inKernel, nil
}

// audit compares the number of packets that the kernel delivered with what became of them:
// Seen is a sum, so it would not reveal a forgotten packet. The two are equal if no packet
// is waiting. A difference is counted as a loss, which seals and files state.
func (r *recording) audit() {
	if r.at < len(r.sources)-1 || !r.packets.Empty() {
		return
	}
	in, out, err := r.progs.Counts()
	if err != nil || !r.packets.Empty() { // or a packet arrived in between
		return
	}
	forbidden, unwanted := r.enforcer.counts()
	known := r.refused.Load() + r.invalid.Load() + r.unaccounted.Load() + forbidden + unwanted
	for _, l := range r.outputs {
		t := l.sink.totals()
		known += t.Kept + t.Dropped
	}
	if over := in.Delivered + out.Delivered + r.earlier.Delivered; over > known {
		r.unaccounted.Add(over - known)
		r.o.OnError(fmt.Errorf("%d packets that the kernel delivered are unaccounted for: they count as dropped", over-known))
	}
}

// account is called when a segment of the first output ends.
func (r *recording) account(t ring.Totals) ring.Account {
	if len(r.outputs) == 0 {
		return ring.Account{} // the recording did not start
	}
	return r.accountOf(r.outputs[0], t)
}

// accountOf returns the counters of an output's segment when it ends. Packets that never reached an
// output count in the first, so that the sum of all outputs is that of the recording.
func (r *recording) accountOf(l *output, t ring.Totals) ring.Account {
	clock := r.clockNow.Load()
	a := ring.Account{Clock: clock}
	if clock != nil {
		a.Interfaces = r.ifaces.accounts(int64(clock.Real), l)
	}
	c := ring.Counters{Drops: []ring.Drop{{Reason: reasonWriter}}}
	if l.age == 0 {
		var err error
		if c, _, err = r.kernel(); err != nil {
			return a
		}
	}
	addTotals(&c, t)
	a.Counters = &c
	return a
}

func (r *recording) stats() (Stats, error) {
	c, inKernel, err := r.counters()
	s := Stats{Counters: c, Bytes: r.bytes.Load(), InKernel: inKernel, Late: r.late + r.packets.Late, Interfaces: r.ifaces.count(), Clock: r.clock.Now}
	s.CPUs, s.Parts = r.cpus(), r.ifaces.parts()
	s.Keys = r.keys.stats()
	s.Containers = r.names.stats()
	s.Processes, s.Events, s.EventsLost = r.processes.Count(), r.journal.events, r.journal.lost
	if counts, cerr := r.progs.EventCounts(); cerr == nil {
		for _, n := range counts {
			s.EventsLost += n.Failed + n.Limited
		}
	}
	return s, err
}

// cpus returns the counters of each processor; nil if they cannot be read.
func (r *recording) cpus() []CPU {
	each, err := r.progs.CountsByCPU()
	if err != nil {
		return nil // reading the sums fails in the same way and reports the error
	}
	list := make([]CPU, len(each))
	for i, c := range each {
		list[i] = CPU{Seen: c.Seen, Filtered: c.Excluded + c.Filtered + c.Forbidden, Delivered: c.Delivered, BufferFull: c.Failed, Unread: c.Unread, Truncated: c.Truncated + c.Capped}
	}
	return list
}

// parts returns the counters of each workload.
func (f *ifaces) parts() []Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*iface
	for _, x := range f.list {
		if x.ready || x.lost.Load() > 0 {
			list = append(list, x)
		}
	}
	return gather(len(list), func(i int) Part {
		x := list[i]
		return Part{x.name, x.delivered.Load(), x.lost.Load()}
	})
}
