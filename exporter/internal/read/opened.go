package read

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/recording"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// tally counts the bytes that pass, and hashes them if hash is set.
type tally struct {
	hash     hash.Hash
	size     int64
	early    []byte // bytes before hash was set
	counting func(int64)
}

// Write implements io.Writer.
func (t *tally) Write(p []byte) (int, error) {
	t.size += int64(len(p))
	if t.counting != nil {
		t.counting(int64(len(p)))
	}
	switch {
	case t.hash == nil:
		if len(t.early) < 1<<20 {
			t.early = append(t.early, p...)
		}
	default:
		if t.early != nil {
			t.hash.Write(t.early)
			t.early = nil
		}
		t.hash.Write(p)
	}
	return len(p), nil
}

const maxSmall = 1 << 20 // bytes of a small file, see opened.window

// window is a batch of packets of one file; rounds hold it until they no longer need its bytes.
type window struct {
	pcapng.Batch
	uses atomic.Int32
	home chan *window
}

// Hold implements round.Buffer.
func (w *window) Hold() { w.uses.Add(1) }

// Release implements round.Buffer.
func (w *window) Release() {
	if w.uses.Add(-1) == 0 {
		select {
		case w.home <- w:
		default: // enough buffers are waiting
		}
	}
}

// payload receives the copy of an input.
type payload interface {
	io.WriteCloser
	Sum() bundle.Digest
	Size() int64
}

// noCopy is a payload that discards everything.
type noCopy struct{}

// Write implements io.Writer.
func (noCopy) Write(p []byte) (int, error) { return len(p), nil }

// Close implements io.Closer.
func (noCopy) Close() error { return nil }

// Sum returns no hash.
func (noCopy) Sum() bundle.Digest { return bundle.Digest{} }

// Size returns 0, for unknown.
func (noCopy) Size() int64 { return 0 }

// opened is an input being read.
type opened struct {
	*input
	id      int32
	rel     string
	links   []int32 // numbers of its interfaces over all files
	ifaces  int
	done    bool
	failed  error
	damages int                                  // damage already reported
	first   int64                                // time of its first packet, ns
	side    *sideOwners                          // nil if it is not a segment
	since   func(name string, total int64) int64 // the part of an interface's losses that belongs to this file

	bytesRead
	position
	tallied
}

// bytesRead is the way of a file's bytes: from the source through its copy in the bundle to the reader of packets.
type bytesRead struct {
	file     *os.File
	src      *pcapng.Source
	data     io.Reader // the bytes of src, with the original end if it was compressed
	copy     payload
	original tally
	reader   *pcapng.Reader
}

// position is where a file is in its packets and in time, ns.
type position struct {
	win     *window
	at      int   // next packet in win
	ordered int   // packets of win with a known time for ordering
	clock   clock // of the packets before the next one
	now     int64 // orders the next packet
	outlier bool  // its own time differs
	high    int64 // latest time since the clock last went back
	back    int64 // nanoseconds by which the clock went back; 0 up to backSlack
}

// tallied is what a file holds and what it lost, so far.
type tallied struct {
	recorded   recording.File
	stats      map[uint32]pcapng.Statistics // by interface of the last section
	packets    int64
	left       int64 // packets that filter and time window exclude
	last       int64
	any        bool
	ranges     []timeRange     // in which it was recorded
	unbroken   int64           // end of the previous segment of its series, if the recorder ran on; else 0
	drops      int64           // reported by packets
	lostBefore map[int32]int64 // the same, by interface
	secrets    int64
}

func (o *opened) closeFile() {
	if o.file != nil {
		o.file.Close()
	}
}

// start reads the file's header.
func (o *opened) start(other func(*opened, pcapng.Block)) error {
	r, err := pcapng.NewReader(io.TeeReader(o.data, o.copy), pcapng.Options{Window: o.window(), Live: o.grows != nil, OnBlock: func(b pcapng.Block) {
		o.block(b)
		other(o, b)
	}})
	if err != nil {
		return &InputError{o.path, err}
	}
	o.reader = r
	o.recorded.Name, o.recorded.Format = bundle.SafeName(unpackedName(o.name, o.compression())), r.Format().String()
	return nil
}

// window is the number of bytes to read at once: one more than a small file has, so that one read
// reaches its end; 0, the reader's default, if the size is unknown. Clearing a default window takes
// longer than reading a small file.
func (o *opened) window() int {
	if o.grows != nil {
		return followedWindow
	}
	if o.size < 0 || o.size > maxSmall || o.compression() != pcapng.CompressionNone {
		return 0
	}
	return max(int(o.size)+1, headSize)
}

func (o *opened) block(b pcapng.Block) {
	switch b.Type {
	case pcapng.BlockSection:
		o.recorded.Section(b)
	case pcapng.BlockSecrets:
		o.secrets++
	case pcapng.BlockStatistics:
		if s, err := pcapng.ParseStatistics(b); err == nil {
			s.Options, s.Comments = nil, nil
			key := uint32(b.Section)<<16 | s.Interface&0xffff
			if o.stats == nil {
				o.stats = map[uint32]pcapng.Statistics{}
			}
			if len(o.stats) < bundle.MaxInterfaces {
				o.stats[key] = s // the last one counts: counters are totals
			}
		}
	}
}

// fill reads the next window. At the end it also reads the bytes after the last packet, so that
// the copy is complete.
func (o *opened) fill(w *window) error {
	w.uses.Store(1)
	o.win, o.at, o.ordered = w, 0, 0
	err := o.reader.Next(&w.Batch)
	if err == nil {
		return nil
	}
	w.Release()
	o.win, o.done = nil, true
	if errors.Is(err, io.EOF) {
		return nil
	}
	if errors.Is(err, pcapng.ErrBomb) || o.compression() != pcapng.CompressionNone {
		o.failed = err // the bytes decompressed before it are kept
		return nil
	}
	return &InputError{o.path, err}
}

// order sets the time that orders the next packet.
func (o *opened) order() {
	if o.ordered > o.at {
		return
	}
	o.ordered = o.at + 1
	o.now, o.outlier = o.clock.at(o.win.Packets, o.at, o.win.Interfaces)
	o.back = 0
	if o.high = max(o.high, o.now); o.clock.set && o.high-o.now > backSlack {
		o.back, o.high = o.high-o.now, o.now
	}
	o.clock = clock{o.now, true}
}

// finish closes the copy and describes the file.
func (o *opened) finish() (bundle.Input, error) {
	defer o.closeFile()
	if _, err := io.Copy(io.Discard, io.TeeReader(o.data, o.copy)); err != nil {
		o.failed = err
	}
	err := o.copy.Close()
	o.src.Close()
	if err != nil {
		return bundle.Input{}, fmt.Errorf("copying %s: %w", o.path, err)
	}
	return o.describe(true), nil
}

// describe describes the file as far as it was read. Counters of interfaces are totals of the whole
// file, so they belong to a description of the whole only.
func (o *opened) describe(whole bool) bundle.Input {
	in := bundle.Input{FileID: o.id, Path: o.rel, Name: o.name, Packets: o.packets, Sections: int64(o.reader.Sections()), Secrets: o.secrets}
	in.SHA256, in.Size = o.copy.Sum(), o.copy.Size()
	if o.src.Compression != pcapng.CompressionNone {
		var d bundle.Digest
		o.original.hash.Sum(d[:0])
		in.Compression, in.SHA256Original, in.SizeOriginal = string(o.src.Compression), &d, o.original.size
	}
	if c := o.claim; c != nil && o.src.Compression == pcapng.CompressionNone {
		in.Compression, in.SHA256Original, in.SizeOriginal = c.Compression, c.SHA256Original, c.SizeOriginal
	}
	in.Format = o.reader.Format().String()
	if o.any {
		in.FirstNs, in.LastNs = bundle.At(o.first), bundle.At(o.last)
	}
	for _, d := range o.reader.Damage() {
		in.AddDamage(bundle.Damage{Offset: d.Offset, Length: d.Length, Kind: string(d.Kind), Detail: d.Detail})
	}
	if more := o.reader.DamageTotal().Places - int64(len(o.reader.Damage())); more > 0 {
		in.DamageMore += more
	}
	known := slices.ContainsFunc(in.Damage, func(d bundle.Damage) bool { return d.Kind == unreadable && d.Offset == in.Size })
	if o.failed != nil && !known {
		in.AddDamage(bundle.Damage{Offset: in.Size, Kind: unreadable, Detail: o.failed.Error()})
	}
	o.describeInterfaces(&in, whole)
	if o.header != nil {
		in.Node, in.Segment = o.node(), segmentOf(o.header)
	}
	return in
}

func (o *opened) describeInterfaces(in *bundle.Input, whole bool) {
	in.Drops = o.drops
	for i := range o.reader.Interfaces() {
		f := &o.reader.Interfaces()[i]
		d := bundle.Interface{Index: int64(f.Index), Name: f.Name, Description: f.Description, LinkType: int32(f.LinkType),
			SnapLen: int64(f.SnapLen), TsResol: f.TsResol, TsOffset: f.TsOffset, Offset: f.Offset, Section: int64(f.Section),
			BigEndian: f.BigEndian, Filter: f.Filter, OS: f.OS, Hardware: f.Hardware, Comments: f.Comments}
		if i < len(o.links) {
			d.Clock = &o.links[i]
		}
		in.BigEndian = in.BigEndian || f.BigEndian
		if s, ok := o.stats[uint32(f.Section)<<16|f.ID&0xffff]; ok && whole {
			if s.Received.Known {
				d.Received = int64(s.Received.N)
			}
			d.Dropped = o.since(f.Name, lostBy(&s))
			in.Drops += max(d.Dropped-o.lostBefore[f.Index], 0)
		}
		in.AddInterface(d)
	}
}
