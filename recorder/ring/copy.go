package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Copied counts the output of Copy.
type Copied struct {
	Packets  int64
	Bytes    int64    // captured
	Segments int      // with packets in the time range
	Missing  []string // segments in the time range that were removed
	Damage   int64    // places in sealed segments that could not be read
}

// Copy writes the packets from from to to, inclusive, for which keep returns true (nil: all)
// to one PCAPNG, with each interface and the mark of its clock described once. The segments must be of one series; parts
// of it with their own retention time count as the same series and are merged in time order. A
// segment that is still being written is read up to its last whole block. Copy does not flush
// w.
func Copy(ctx context.Context, w *pcapng.Writer, list []Segment, from, to int64, keep func(*pcapng.Packet, *pcapng.Interface) bool) (Copied, error) {
	c := &copier{ctx: ctx, w: w, ids: map[string]int32{}, from: from, to: to, keep: keep}
	var series []*copySeries
	for _, s := range list {
		if BaseSeries(s.ID.Series) != BaseSeries(list[0].ID.Series) {
			return c.Copied, fmt.Errorf("copying %s after segments of series %s: select one series", s.ID, list[0].ID.Series)
		}
		if s.Seal != nil && (int64(s.Seal.Last) < from || int64(s.Seal.First) > to) {
			continue
		}
		at := slices.IndexFunc(series, func(x *copySeries) bool { return x.name == s.ID.Series })
		if at < 0 {
			at = len(series)
			series = append(series, &copySeries{c: c, name: s.ID.Series})
		}
		series[at].list = append(series[at].list, s)
	}
	err := c.merge(series)
	for _, x := range series {
		err = errors.Join(err, x.close())
	}
	return c.Copied, err
}

type copier struct {
	Copied
	ctx      context.Context
	w        *pcapng.Writer
	ids      map[string]int32 // by the options of an interface
	from, to int64
	keep     func(*pcapng.Packet, *pcapng.Interface) bool
}

// merge copies the oldest of the series' next packets until there are none.
func (c *copier) merge(series []*copySeries) error {
	for _, x := range series {
		if err := x.advance(); err != nil {
			return err
		}
	}
	for {
		var first *copySeries
		for _, x := range series {
			if x.p != nil && (first == nil || x.p.Time < first.p.Time) {
				first = x
			}
		}
		if first == nil {
			return nil
		}
		if err := c.packet(first.p, &first.b.Interfaces[first.p.Interface], &first.mark, first.out); err != nil {
			return fmt.Errorf("copying segment %s: %w", first.seg.ID, err)
		}
		first.copied = true
		if err := first.advance(); err != nil {
			return err
		}
	}
}

// copySeries reads the segments of one series one after another.
type copySeries struct {
	c      *copier
	name   string
	list   []Segment // not read yet
	seg    Segment
	in     io.ReadCloser
	r      *pcapng.Reader
	b      pcapng.Batch
	next   int
	p      *pcapng.Packet   // the next packet in the time range; nil at the end
	mark   pcapng.ClockMark // of the segment
	out    []int32          // number in the output, by that in the segment; -1 not yet
	copied bool             // a packet of the segment was copied
}

// advance finds the next packet.
func (x *copySeries) advance() error {
	for {
		for ; x.next < len(x.b.Packets); x.next++ {
			p := &x.b.Packets[x.next]
			if p.Time < x.c.from || p.Time > x.c.to || x.c.keep != nil && !x.c.keep(p, &x.b.Interfaces[p.Interface]) {
				continue
			}
			for len(x.out) < len(x.b.Interfaces) {
				x.out = append(x.out, -1)
			}
			x.p = p
			x.next++
			return nil
		}
		x.p, x.next, x.b.Packets = nil, 0, x.b.Packets[:0]
		if x.c.ctx.Err() != nil {
			return context.Cause(x.c.ctx)
		}
		if x.r != nil {
			err := x.r.Next(&x.b)
			if err == nil {
				continue
			}
			x.b.Packets = x.b.Packets[:0]
			if err != io.EOF {
				return fmt.Errorf("copying segment %s: %w", x.seg.ID, err)
			}
		}
		if err := x.close(); err != nil {
			return err
		}
		if len(x.list) == 0 {
			return nil
		}
		x.seg, x.list = x.list[0], x.list[1:]
		if err := x.open(); err != nil {
			return fmt.Errorf("copying segment %s: %w", x.seg.ID, err)
		}
	}
}

func (x *copySeries) open() error {
	err := fs.ErrNotExist
	if !x.seg.Missing {
		x.in, err = x.seg.Reader()
	}
	if errors.Is(err, fs.ErrNotExist) {
		x.in = nil
		x.c.Missing = append(x.c.Missing, x.seg.ID.Segment())
		return nil
	}
	if err != nil {
		x.in = nil
		return err
	}
	x.mark = pcapng.ClockMark{ID: pcapng.ClockOfBoot(x.seg.ID.Node, "")}
	x.r, err = pcapng.NewReader(x.in, pcapng.Options{OnBlock: x.block})
	if errors.Is(err, pcapng.ErrTooShort) && x.seg.Open {
		x.r, err = nil, nil // its header is not written yet
	}
	return err
}

// block reads from a section header which clock the segment has.
func (x *copySeries) block(b pcapng.Block) {
	if b.Type != pcapng.BlockSection {
		return
	}
	s, err := pcapng.ParseSection(b)
	if err != nil {
		return
	}
	for _, c := range s.Comments {
		if h, ok := ParseHeader(c); ok && h.BootID != "" {
			x.mark = pcapng.ClockMark{ID: pcapng.ClockOfBoot(h.Node, h.BootID), Node: h.Node, BootID: h.BootID}
		}
	}
}

// close stops reading a segment.
func (x *copySeries) close() error {
	if x.r != nil {
		x.c.Damage += x.r.DamageTotal().Places
	}
	if x.copied {
		x.c.Segments++
	}
	in := x.in
	x.r, x.in, x.out, x.copied = nil, nil, nil, false
	if in == nil {
		return nil
	}
	return in.Close()
}

// Reader opens the segment. If it is being written, reading ends at its last whole block.
func (s Segment) Reader() (io.ReadCloser, error) {
	f, err := os.Open(s.Path)
	if s.Open && errors.Is(err, fs.ErrNotExist) {
		s.Open = false
		f, err = os.Open(s.ID.visiblePath(s.Path)) // it was renamed meanwhile
	}
	if err != nil {
		return nil, err
	}
	if !s.Open {
		return f, nil
	}
	return &struct {
		io.Reader
		io.Closer
	}{&tail{f: f}, f}, nil
}

func (c *copier) packet(p *pcapng.Packet, described *pcapng.Interface, mark *pcapng.ClockMark, out []int32) error {
	at := p.Interface
	if out[at] < 0 {
		i := described.Marked(mark)
		key := string(i.Options)
		id, known := c.ids[key]
		if !known {
			var err error
			if id, err = c.w.AddInterface(i); err != nil {
				return err
			}
			c.ids[key] = id
		}
		out[at] = id
	}
	p.Interface = out[at]
	if err := c.w.WritePacket(p, nil); err != nil {
		return err
	}
	c.Packets++
	c.Bytes += int64(len(p.Data))
	return nil
}
