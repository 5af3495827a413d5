package recorder

import (
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// settle waits until no program runs any more: all that was seen has then been counted.
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

// counters are those of the whole recording. Packets that are still on their way are
// neither seen nor delivered yet.
func (r *recording) counters() (c ring.Counters, inKernel uint64, err error) {
	taken := r.taken.Load()
	written, refused, dropped, broken := r.written.Load(), r.refused.Load(), r.dropped.Load(), r.broken.Load()
	in, out, err := r.progs.Counts()
	if err != nil {
		return c, 0, err
	}
	in.Add(out)
	decided := in.Excluded + in.Filtered + in.Delivered + in.Failed + in.Unread
	const inProgress = 4096 // programs that run while the counters are read
	if d := int64(in.Seen - decided); d > -inProgress && d < inProgress {
		in.Seen = decided
	}
	inKernel = in.Delivered - taken
	c = ring.Counters{
		Seen:      in.Seen - inKernel - (taken - written - refused - dropped - broken),
		Filtered:  in.Excluded + in.Filtered + refused,
		Delivered: written,
		Dropped:   in.Failed + in.Unread + dropped + broken,
		Truncated: in.Truncated + in.Capped,
		Drops: []ring.Drop{
			{Reason: reasonBuffer, Packets: in.Failed},
			{Reason: reasonUnread, Packets: in.Unread + broken},
			{Reason: reasonWriter, Packets: dropped},
		},
	}
	return c, inKernel, nil
}

// account is asked for when a segment ends.
func (r *recording) account(ring.Taken) ring.Account {
	r.ended.Add(1)
	clock := r.clockNow.Load()
	a := ring.Account{Clock: clock}
	if clock != nil {
		a.Interfaces = r.faces.accounts(int64(clock.Real))
	}
	c, _, err := r.counters()
	if err == nil {
		a.Counters = &c
	}
	return a
}

func (r *recording) stats() (Stats, error) {
	c, inKernel, err := r.counters()
	s := Stats{Counters: c, Bytes: r.bytes.Load(), InKernel: inKernel, Late: r.packets.Late, Interfaces: r.faces.count(), Clock: r.clock.now}
	s.CPUs, s.Parts = r.cpus(), r.faces.parts()
	s.Keys = r.keys.stats()
	s.Containers = r.names.stats()
	s.Processes, s.Events, s.EventsLost = r.processes.count(), r.journal.events, r.journal.lost
	if counts, cerr := r.progs.EventCounts(); cerr == nil {
		for _, n := range counts {
			s.EventsLost += n.Failed + n.Limited
		}
	}
	return s, err
}
