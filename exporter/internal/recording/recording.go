// Package recording decides which interfaces of capture files have one clock.
//
// A recording is what one program wrote in one piece. It has one clock, and two recordings have the
// same clock only if the files show it: by a mark, by the recorder's statement, or by names of
// rotated files. In doubt they have two clocks, because a duration between two clocks is wrong
// without any sign of it, while a missing duration has an anomaly. The package reads no file: its
// caller reports sections, interfaces and the times of packets in the order of the files.
package recording

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Limits of the search for the recording that another one continues.
const (
	maxPause     = int64(60e9) // ns between the two
	maxLooked    = 512         // packets at a recording's beginning
	maxClocks    = 256         // whose newest time the shards know
	maxContinued = 256         // recordings that another may continue
	maxHoles     = 256         // that the shards know
	holePause    = int64(5e9)  // ns without packets between two files from which nothing may have been recorded
	holeApart    = int64(1e9)  // ns between two losses that count as one
)

// How it is known that several interfaces have one clock: column same_by.
const (
	SameRecording = "recording" // one program wrote them into one section of a file
	SameBoot      = "boot"      // the recorder says that it ran on one node, in one boot
	SameMark      = "mark"      // pcapsule wrote the file and marked the clock of each interface
	SameMerged    = "merged"    // assumed: mergecap wrote the packets of each capture to an interface of its own
	SameContinued = "continued" // assumed: a rotated file that begins where another one ends
)

// Recording is a section of a PCAPNG file or a pcap file; if several programs wrote its packets, the
// interfaces of one of them.
//
// LIMIT: a merged file counts as one clock if nothing in it says that it was merged: classic pcap, or a
// file that another program than mergecap merged.
type Recording struct {
	Clock int32  // the number of the first interface that has it
	By    string // how that is known

	newest    *flow.Newest // of the clock
	mark      *pcapng.ClockMark
	name      string // of the file
	kind      string // what a recording that continues it must have in common
	start     start
	last      int64 // newest time
	over      bool  // no packets will come
	continued bool
}

// Passed records the time of a packet.
func (c *Recording) Passed(ns int64) {
	c.last = max(c.last, ns)
	c.newest.Ns = max(c.newest.Ns, ns)
}

// Mark is the mark of the recording's interfaces, nil if they have none.
func (c *Recording) Mark() *pcapng.ClockMark { return c.mark }

// File is a capture file that is being read. The zero value has no sections yet.
type File struct {
	Name   string // base name
	Format string

	section int32 // of the current recordings
	current []*Recording
	about   map[int32]about // by section, if it says something
}

// about is what a section header says about clocks.
type about struct {
	header *ring.Header
	merged bool
}

// Section records the content of a section header. It must be called before Of for interfaces of
// the section.
func (f *File) Section(b pcapng.Block) {
	s, err := pcapng.ParseSection(b)
	if err != nil {
		return
	}
	a := about{merged: strings.HasPrefix(strings.ToLower(s.Application), "mergecap")}
	for _, c := range s.Comments {
		if h, ok := ring.ParseHeader(c); ok && a.header == nil {
			a.header = &h
		}
		a.merged = a.merged || strings.Contains(c, "File created by merging")
	}
	if a == (about{}) {
		return
	}
	if f.about == nil {
		f.about = map[int32]about{}
	}
	f.about[b.Section] = a
}

// Header is the recorder's description of a section, nil if there is none.
func (f *File) Header(section int32) *ring.Header { return f.about[section].header }

// Merged reports whether a section states that it was merged from several captures.
func (f *File) Merged(section int32) bool { return f.about[section].merged }

// Ended records that the file has no more packets.
func (f *File) Ended() {
	for _, c := range f.current {
		c.over = true
	}
}

// begin ends the recordings of earlier sections.
func (f *File) begin(section int32) {
	if section == f.section {
		return
	}
	f.Ended()
	f.section, f.current = section, nil
	for s := range f.about {
		if s < section {
			delete(f.about, s)
		}
	}
}

// Set is the recordings of a run. The zero value is empty.
type Set struct {
	list   []*Recording             // that another may continue
	marked map[pcapng.ClockID]int32 // clocks with a known identity
	clocks []*flow.Newest           // newest time of each
	holes  []flow.Hole
}

// Of returns the recording of a new interface, which has a number over all files. The packets are the
// first ones of the file after it was described.
func (s *Set) Of(f *File, i *pcapng.Interface, number int32, packets []pcapng.Packet, all []pcapng.Interface) *Recording {
	f.begin(i.Section)
	c := &Recording{name: f.Name}
	h := f.Header(i.Section)
	if m, ok := i.ClockMark(); ok {
		c.mark = &m
	}
	for _, x := range f.current {
		if x.mark == nil && c.mark == nil && x.By != SameMerged || x.mark != nil && c.mark != nil && x.mark.ID == c.mark.ID {
			return x
		}
	}
	f.current = append(f.current, c)
	switch {
	case c.mark != nil:
		s.identified(c, c.mark.ID, number, SameMark)
	case h != nil && h.Node != "" && h.BootID != "":
		s.identified(c, pcapng.ClockOfBoot(h.Node, h.BootID), number, SameBoot)
	case f.Merged(i.Section):
		s.setClock(c, number, SameMerged)
	default:
		c.kind = fmt.Sprintf("%s %d %d %d %d %q %x %v %v", f.Format, i.LinkType, i.SnapLen, i.TsResol, i.TsOffset,
			[]string{i.Name, i.Description, i.OS, i.Hardware, i.Filter}, i.MAC, i.IPv4, i.IPv6)
		c.start = look(i.Section, packets, all)
		s.follow(c, number)
	}
	return c
}

// identified sets the clock of a recording that says which it is.
func (s *Set) identified(c *Recording, id pcapng.ClockID, number int32, by string) {
	if s.marked == nil {
		s.marked = map[pcapng.ClockID]int32{}
	}
	known, ok := s.marked[id]
	if !ok {
		known, s.marked[id] = number, number
	}
	s.setClock(c, known, by)
}

// follow sets the clock of a recording that may continue another one.
func (s *Set) follow(c *Recording, number int32) {
	if x := s.continuedBy(c); x != nil {
		x.continued = true
		if c.start.first-x.last >= holePause {
			s.Lost(flow.Hole{Clock: x.Clock, From: x.last, To: c.start.first})
		}
		s.setClock(c, x.Clock, SameContinued)
	} else {
		s.setClock(c, number, SameRecording)
	}
	s.list = slices.DeleteFunc(s.list, func(x *Recording) bool { return x.continued || x.over && c.start.first-x.last > maxPause })
	if len(s.list) == maxContinued {
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, c)
}

// continuedBy is the recording that c continues; nil if there is none, or if it could be several.
func (s *Set) continuedBy(c *Recording) (found *Recording) {
	for _, x := range s.list {
		switch {
		case x.kind != c.kind || !rotated(x.name, c.name) || !x.start.agrees(&c.start):
		case !x.over || x.last > c.start.first || c.start.first-x.last > maxPause:
		case found != nil:
			return nil
		default:
			found = x
		}
	}
	return found
}

// setClock sets the recording's clock, which another one may have too.
func (s *Set) setClock(c *Recording, clock int32, by string) {
	c.Clock, c.By = clock, by
	if i := slices.IndexFunc(s.clocks, func(x *flow.Newest) bool { return x.Clock == clock }); i >= 0 {
		c.newest = s.clocks[i]
		return
	}
	if len(s.clocks) == maxClocks {
		s.clocks = slices.Delete(s.clocks, 0, 1)
	}
	c.newest = &flow.Newest{Clock: clock}
	s.clocks = append(s.clocks, c.newest)
}

// Lost records a hole. One that begins soon after the newest one, and is of its kind, extends that.
func (s *Set) Lost(h flow.Hole) {
	if n := len(s.holes) - 1; n >= 0 {
		if last := &s.holes[n]; last.Clock == h.Clock && last.Sparse == h.Sparse && h.From >= last.From && h.From <= last.To+holeApart {
			last.To = max(last.To, h.To)
			return
		}
	}
	if len(s.holes) == maxHoles {
		s.holes = slices.Delete(s.holes, 0, 1)
	}
	s.holes = append(s.holes, h)
}

// Damaged records that packets of a file between two times are missing.
func (s *Set) Damaged(f *File, from, to int64) {
	for _, c := range f.current {
		s.Lost(flow.Hole{Clock: c.Clock, From: from, To: to})
	}
}

// Seen is the newest time of each clock so far, if there are several, and the holes.
func (s *Set) Seen() flow.Seen {
	seen := flow.Seen{Holes: slices.Clone(s.holes)}
	if len(s.clocks) < 2 {
		return seen
	}
	for _, x := range s.clocks {
		seen.Clocks = append(seen.Clocks, *x)
	}
	return seen
}
