package pcapng

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
)

// Copier copies packets of several captures into one. Each interface of each capture
// is described once, before its first packet, and keeps its link type and all options.
type Copier struct {
	w   *Writer
	ids map[copyKey]int32
}

type copyKey struct {
	source int
	index  int32
}

// NewCopier returns a Copier that writes to w.
func NewCopier(w *Writer) *Copier { return &Copier{w: w, ids: map[copyKey]int32{}} }

// Interface describes an interface of a source, unless it is already described, and returns
// its number in the output. Call it first to put all interfaces before the packets.
func (c *Copier) Interface(source int, i *Interface) (int32, error) {
	key := copyKey{source, i.Index}
	if id, ok := c.ids[key]; ok {
		return id, nil
	}
	id, err := c.w.AddInterface(*i)
	if err != nil {
		return 0, fmt.Errorf("copying interface %d of input %d: %w", i.Index, source, err)
	}
	c.ids[key] = id
	return id, nil
}

// Packet writes a packet that came by an interface of a source, with more options after its
// own. A packet without a time, or with one that does not fit, gets a comment that says so
// if nothing else in the output shows it.
func (c *Copier) Packet(source int, i *Interface, p *Packet, more *OptionList) error {
	id, err := c.Interface(source, i)
	if err != nil {
		return err
	}
	out := *p
	out.Interface = id
	if !p.TimeOK && !c.w.canBeSimple(&out, more) {
		var note OptionList
		if p.Kind == KindSimple {
			note.Comment("the captured packet has no time")
		} else {
			note.Comment("the captured packet's time does not fit")
		}
		if more != nil {
			note.b, note.err = append(note.b, more.b...), more.err
		}
		more = &note
	}
	if err := c.w.WritePacket(&out, more); err != nil {
		return fmt.Errorf("copying packet at %d of input %d: %w", p.Offset, source, err)
	}
	return nil
}

// Choose is called for each packet of a merge. It may add options, and returns whether
// to keep the packet.
type Choose func(source int, i *Interface, p *Packet, more *OptionList) (keep bool, err error)

// Merge writes the packets of all sources to w in order of time, and packets with equal
// times in order of sources. Each source keeps its own order even if its times go back.
// If a source ends in a read error, the packets before it are written first and the error is
// returned at the end.
func Merge(w *Writer, sources []*Reader, choose Choose) error {
	var q mergeQueue
	var broken []error
	for n, r := range sources {
		m := &mergeSource{r: r, n: n}
		if more, err := m.advance(); more {
			q = append(q, m)
		} else if err != nil {
			broken = append(broken, err)
		}
	}
	heap.Init(&q)
	c := NewCopier(w)
	var more OptionList
	for len(q) > 0 {
		m := q[0]
		p := &m.b.Packets[m.next]
		more.Reset()
		keep, err := choose(m.n, &m.b.Interfaces[p.Interface], p, &more)
		if err == nil && keep {
			err = c.Packet(m.n, &m.b.Interfaces[p.Interface], p, &more)
		}
		if err != nil {
			return err
		}
		m.next++
		if ok, err := m.advance(); ok {
			heap.Fix(&q, 0)
		} else {
			heap.Pop(&q)
			if err != nil {
				broken = append(broken, err)
			}
		}
	}
	return errors.Join(broken...)
}

// mergeSource is one input with its next packet.
type mergeSource struct {
	r    *Reader
	n    int
	b    Batch
	next int
	time int64 // of the next packet, or of the last one with a time
}

func (m *mergeSource) advance() (bool, error) {
	if m.next >= len(m.b.Packets) {
		m.next = 0
		if err := m.r.Next(&m.b); err == io.EOF {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("input %d: %w", m.n, err)
		}
	}
	if p := &m.b.Packets[m.next]; p.TimeOK {
		m.time = p.Time
	}
	return true, nil
}

type mergeQueue []*mergeSource

func (q mergeQueue) Len() int { return len(q) }
func (q mergeQueue) Less(i, j int) bool {
	if q[i].time != q[j].time {
		return q[i].time < q[j].time
	}
	return q[i].n < q[j].n
}
func (q mergeQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *mergeQueue) Push(x any)   { *q = append(*q, x.(*mergeSource)) }
func (q *mergeQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
