package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Copied says what Copy wrote.
type Copied struct {
	Packets  int64
	Bytes    int64    // captured
	Segments int      // with packets in the time
	Missing  []string // segments in the time that are not there any more
	Damage   int64    // places in sealed segments that could not be read
}

// Copy writes the packets of segments from from to to, both in it, to one PCAPNG, with
// each interface described once. The segments must be of one series. One that is still
// written is read up to its last whole block. It does not flush w.
func Copy(ctx context.Context, w *pcapng.Writer, list []Segment, from, to int64) (Copied, error) {
	return CopyWhere(ctx, w, list, from, to, nil)
}

// CopyWhere is Copy of the packets that keep keeps; nil keeps all.
func CopyWhere(ctx context.Context, w *pcapng.Writer, list []Segment, from, to int64, keep func(*pcapng.Packet, *pcapng.Interface) bool) (Copied, error) {
	c := &copier{w: w, ids: map[string]int32{}, from: from, to: to, keep: keep}
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return c.Copied, context.Cause(ctx)
		}
		if s.ID.Series != list[0].ID.Series {
			return c.Copied, fmt.Errorf("copying %s after segments of series %s: want one series", s.ID, list[0].ID.Series)
		}
		if s.Seal != nil && (int64(s.Seal.Last) < from || int64(s.Seal.First) > to) {
			continue
		}
		err := fs.ErrNotExist
		if !s.Missing {
			err = c.segment(ctx, s)
		}
		if errors.Is(err, fs.ErrNotExist) {
			c.Missing = append(c.Missing, s.ID.Segment())
		} else if err != nil {
			return c.Copied, fmt.Errorf("copying segment %s: %w", s.ID, err)
		}
	}
	return c.Copied, nil
}

type copier struct {
	Copied
	w        *pcapng.Writer
	ids      map[string]int32 // by what an interface says
	from, to int64
	keep     func(*pcapng.Packet, *pcapng.Interface) bool
}

// Reader opens the segment. One that is being written ends at its last whole block.
func (s Segment) Reader() (io.ReadCloser, error) {
	f, err := os.Open(s.Path)
	if s.Open && errors.Is(err, fs.ErrNotExist) {
		s.Open = false
		f, err = os.Open(s.ID.beside(s.Path)) // it got its name since
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

func (c *copier) segment(ctx context.Context, s Segment) error {
	in, err := s.Reader()
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := pcapng.NewReader(in, pcapng.Options{})
	if errors.Is(err, pcapng.ErrTooShort) && s.Open {
		return nil // not even its header yet
	}
	if err != nil {
		return err
	}
	var out []int32 // number in the output, by that in the segment; -1 not yet
	var b pcapng.Batch
	before := c.Packets
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		err := r.Next(&b)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for i := range b.Packets {
			p := &b.Packets[i]
			if p.Time < c.from || p.Time > c.to || c.keep != nil && !c.keep(p, &b.Interfaces[p.Interface]) {
				continue
			}
			for len(out) < len(b.Interfaces) {
				out = append(out, -1)
			}
			if err := c.packet(p, &b.Interfaces[p.Interface], out); err != nil {
				return err
			}
		}
	}
	if c.Packets > before {
		c.Segments++
	}
	c.Damage += r.DamageTotal().Places
	return nil
}

func (c *copier) packet(p *pcapng.Packet, i *pcapng.Interface, out []int32) error {
	at := p.Interface
	if out[at] < 0 {
		key := string(i.Options)
		id, known := c.ids[key]
		if !known {
			var err error
			if id, err = c.w.AddInterface(*i); err != nil {
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
