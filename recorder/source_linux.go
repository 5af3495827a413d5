package recorder

import (
	"errors"
	"hash/fnv"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/mapped"
)

// source is the origin of packets and events: the ring buffers of this recorder's programs, or of those of an earlier
// recorder.
type source struct {
	packets, events *mapped.Reader
	ledger          *bpf.Ledger     // nil: what was read goes with this process
	earlier         *bpf.Generation // nil: they are our own programs'

	written map[uint64]bool // ends of packets that the output has already
	before  bpf.Counters    // of an earlier one, when the start record was written
	refused bool            // of an earlier one: its packets may not be taken
}

// openSource maps ring buffers.
func openSource(of interface {
	PacketsFD() (int, uint32)
	EventsFD() (int, uint32)
}, ledger *bpf.Ledger) (*source, error) {
	s := &source{ledger: ledger}
	var err error
	if s.packets, err = mapped.New(of.PacketsFD()); err != nil {
		return nil, err
	}
	if s.events, err = mapped.New(of.EventsFD()); err != nil {
		return nil, errors.Join(err, s.packets.Close())
	}
	if ledger != nil {
		s.packets.Resume(ledger.Released())
		s.packets.Keep = ledger.Release
		s.packets.Skip = func(end uint64) bool { return s.written[end] }
	}
	return s, nil
}

func (s *source) close() error { return errors.Join(s.packets.Close(), s.events.Close()) }

// held are records of a lane that stay in the kernel until the output has them, so that a
// recorder that is killed leaves them to the next.
type held struct {
	list  []heldRecord
	first int
	count uint64 // packets that the output took
}

type heldRecord struct {
	from *mapped.Reader
	seq  uint64
	n    uint64 // count of the packet
}

func (h *held) push(from *mapped.Reader, seq uint64) {
	h.count++
	h.list = append(h.list, heldRecord{from, seq, h.count})
}

// settle returns the records of the first n packets to the kernel.
func (h *held) settle(n uint64) {
	for h.first < len(h.list) && h.list[h.first].n <= n {
		h.list[h.first].from.Done(h.list[h.first].seq)
		h.first++
	}
	if h.first == len(h.list) {
		h.list, h.first = h.list[:0], 0
	} else if h.first > len(h.list)/2 {
		h.list, h.first = h.list[:copy(h.list, h.list[h.first:])], 0
	}
}

// release marks the records that the kernel may overwrite.
func (r *recording) release() {
	ledger := r.progs.Ledger
	dropped := r.earlier.Failed + r.earlier.Unread
	for _, l := range r.outputs {
		l.held.settle(l.sink.settled())
		if ledger != nil {
			dropped += l.sink.totals().Dropped
		}
	}
	if ledger != nil {
		ledger.SetDropped(dropped) // before dropped packets are gone from the kernel
	}
	for _, s := range r.sources {
		s.packets.Release()
	}
}

// reading is the source that packets are read from now.
func (r *recording) reading() *source { return r.sources[r.at] }

// turnSource switches to the next source if all records of this one were returned. It forgets earlier ones once the
// output has everything from them.
func (r *recording) turnSource() {
	for r.at < len(r.sources)-1 && r.reading().packets.Empty() {
		r.drainEvents()
		r.late += r.reading().packets.Late
		r.at++
		r.packets, r.events = r.reading().packets, r.reading().events
	}
	for r.at > 0 && r.sources[0].packets.Drained() {
		s := r.sources[0]
		r.sources = r.sources[1:]
		r.at--
		if err := errors.Join(s.close(), s.earlier.Remove()); err != nil {
			r.o.OnError(err)
		}
	}
}

// seriesTag distinguishes ids of one series from those of another in a ledger.
func seriesTag(series string) uint64 { return hash64(series) << 40 }

func hash64(texts ...string) uint64 {
	h := fnv.New64a()
	for _, t := range texts {
		h.Write([]byte(t)) // never fails
		h.Write([]byte{0})
	}
	return h.Sum64()
}
