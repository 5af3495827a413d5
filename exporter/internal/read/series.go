package read

import (
	"bytes"
	"cmp"
	"errors"
	"hash"
	"io"
	"path/filepath"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// series is a series of segments that is followed.
type series struct {
	name   string
	f      *ring.Follower
	o      *opened // the segment that is read; nil before the first and between two
	busy   bool    // its goroutine owns it
	over   bool    // nothing will come
	missed uint64  // segments that retention removed, and that were stated
	last   int64   // newest time of the segments before
	blocks []pcapng.Block
	listed bundle.Input // of o, when its goroutine began
	rows   []table.Coverage

	next *opened // opened by the goroutine
	win  *window // filled by it
	err  error
}

// ready reports whether a series has a packet.
func (s *series) ready() bool {
	return !s.busy && s.o != nil && s.o.win != nil && s.o.at < len(s.o.win.Packets)
}

// fill reads the next window, or opens the next segment.
func (s *series) fill(w *window, id int32) error {
	if w != nil {
		return s.o.reader.Next(&w.Batch)
	}
	for {
		src, err := s.f.NextSegment()
		if err != nil {
			return err
		}
		head := make([]byte, headSize)
		n, err := src.Read(head)
		if errors.Is(err, io.EOF) && n == 0 {
			continue // nothing was ever written to it
		}
		if err != nil {
			return err
		}
		x := &input{size: -1, ng: true, grows: io.MultiReader(bytes.NewReader(head[:n]), src), header: headerOf(head[:n])}
		if x.header == nil {
			continue // not a segment of ours
		}
		return s.open(x, id)
	}
}

// open begins to read a segment.
func (s *series) open(x *input, id int32) error {
	at := s.f.Segment()
	x.name = at.Segment()
	x.path = filepath.Join(s.f.Dir(), x.name)
	o, err := x.open(id, nil, func(int64) {})
	if err != nil {
		return err
	}
	o.copy, o.rel = &hashed{hash: sha.New()}, FollowedPath(at)
	s.next = o
	return o.start(func(_ *opened, b pcapng.Block) {
		b.Body = slices.Clone(b.Body)
		s.blocks = append(s.blocks, b)
	})
}

// took takes over what the goroutine of a series has read.
func (l *live) took(r *Reader, s *series) error {
	s.busy = false
	l.sides.read(r)
	r.tookBlocks(s)
	switch {
	case s.err == nil && s.next != nil:
		return l.opened(r, s)
	case s.err == nil:
		s.o.win, s.o.at, s.o.ordered = s.win, 0, 0
		r.adopt(s.o)
		l.stateMissed(r, s)
		r.cur.Hold(s.win)
		if l.half == 0 && len(r.links) > l.o.Most/2 {
			l.half = s.win.Packets[0].Time
		}
		if len(r.links) > l.o.Most {
			return &FullError{l.half}
		}
		return nil
	case s.o == nil:
		if errors.Is(s.err, io.EOF) {
			s.over = true
			return nil
		}
		return s.err
	}
	s.win.Release()
	if !errors.Is(s.err, io.EOF) {
		return &InputError{s.o.path, s.err}
	}
	return l.ended(r, s)
}

// tookBlocks processes the blocks other than packets that the goroutine met.
func (r *Reader) tookBlocks(s *series) {
	o := cmp.Or(s.next, s.o)
	for _, b := range s.blocks {
		if o == nil {
			break
		}
		if b.Type == pcapng.BlockSecrets && r.live.keys != nil {
			if k, err := pcapng.ParseSecrets(b); err == nil && k.Type == pcapng.SecretsTLS {
				r.live.sides.grow(k.Data)
			}
		}
		r.block(o, b)
	}
	s.blocks = s.blocks[:0]
}

// opened takes over a new segment, and states the segments that were missed before it.
func (l *live) opened(r *Reader, s *series) error {
	o := s.next
	s.o, s.next = o, nil
	o.id, r.files = r.files, r.files+1
	o.since = func(name string, total int64) int64 { return r.droppedSince(o, name, total) }
	r.openOwners(o)
	r.active = append(r.active, o)
	l.sides.follow(o)
	l.sides.read(r)
	return nil
}

// stateMissed states the segments that retention removed before they were read.
func (l *live) stateMissed(r *Reader, s *series) {
	n := s.f.Missed()
	if n == s.missed || s.last == 0 {
		return
	}
	to := max(s.last, s.o.win.Packets[0].Time)
	r.addCoverage(table.Coverage{FileID: -1, Source: s.o.name, FromNs: s.last, ToNs: to, Kind: "hole", Reason: "retention",
		Detail: clip.Count(int64(n-s.missed), "segment was", "segments were") + " removed by retention before the live run read them"})
	s.missed = n
}

// ended retires a segment that was read to its end.
func (l *live) ended(r *Reader, s *series) error {
	o := s.o
	s.o, s.last = nil, max(s.last, o.last)
	o.done = true
	r.active = slices.DeleteFunc(r.active, func(x *opened) bool { return x == o })
	l.sides.leave(o)
	if err := r.retire(o); err != nil {
		return err
	}
	before := r.now - int64(l.o.Keep)
	r.closed = slices.DeleteFunc(r.closed, func(in bundle.Input) bool { return l.o.Keep > 0 && in.LastNs != nil && int64(*in.LastNs) < before })
	r.sides = r.sides[:0]
	return nil
}

// hashed counts and hashes bytes, and keeps none.
type hashed struct {
	hash hash.Hash
	n    int64
}

// Write implements io.Writer.
func (h *hashed) Write(p []byte) (int, error) {
	h.n += int64(len(p))
	return h.hash.Write(p)
}

// Close implements io.Closer.
func (*hashed) Close() error { return nil }

// Sum is the hash of the bytes so far.
func (h *hashed) Sum() (d bundle.Digest) {
	h.hash.Sum(d[:0])
	return d
}

// Size is their number.
func (h *hashed) Size() int64 { return h.n }
