package read

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// records reads complete lines and copies them.
func (f *ringFolder) records(src io.Reader, to io.Writer, stop func() error) error {
	in := bufio.NewReaderSize(src, 64<<10)
	prev := map[string]*ring.Counters{}
	seen := map[ringHole]bool{}
	for {
		if err := stop(); err != nil {
			return err
		}
		line, err := in.ReadSlice('\n')
		long := bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(long) <= maxSealLine {
			line, err = in.ReadSlice('\n')
			long = append(long, line...)
		}
		if err == io.EOF {
			return nil
		}
		if err == bufio.ErrBufferFull { // no recorder writes such a line
			f.bad++
			f.long = true
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := to.Write(long); err != nil {
			return err
		}
		var l struct {
			Record ring.Record `json:"record"`
		}
		if json.Unmarshal(long, &l) != nil || l.Record.Ring == "" {
			f.bad++
			continue
		}
		f.apply(&l.Record, prev, seen)
	}
}

func (f *ringFolder) apply(rec *ring.Record, prev map[string]*ring.Counters, seen map[ringHole]bool) {
	if f.id == "" {
		f.id = word(rec.Ring)
	}
	f.underway.Apply(rec)
	var holes []ring.Hole
	var of *sealed
	switch {
	case rec.Start != nil:
		clear(prev) // a recorder counts from its start
		holes = rec.Start.Holes
		for series, n := range rec.Start.Next {
			if len(series) <= 32 && len(f.below) < 1024 {
				f.below[series] = max(f.below[series], n)
			}
		}
	case rec.Stop != nil:
		holes = rec.Stop.Holes
	case rec.Deletion != nil:
		f.delete(rec.Deletion)
	case rec.Sides != nil:
		if s := f.seals[rec.Sides.ID()]; s != nil {
			s.sidesOpen = rec.Sides.Reopened
		}
	case rec.Segment != nil:
		if len(f.order) >= maxSeals {
			f.limited++
			return
		}
		s := rec.Segment
		if len(s.Series) > 32 || len(s.Node) > 128 || len(s.SHA256) > 64 {
			f.bad++
			return
		}
		of = &sealed{id: s.ID(), size: s.Size, sha256: strings.ToLower(s.SHA256), packets: int64(min(s.Packets, 1<<53)), first: int64(s.First),
			last: int64(s.Last), recovered: s.Recovered, cut: s.Cut, sidesOpen: s.SideFiles == ring.SidesLater, file: -1}
		of.count(s.Counters, prev[s.Series])
		if s.Counters != nil {
			prev[s.Series] = s.Counters
		}
		holes = s.Holes
		if f.seals[of.id] == nil { // Verify reports a second record of one segment
			f.seals[of.id] = of
			f.order = append(f.order, of)
		}
	}
	for i := range holes {
		h := f.hole(&holes[i], of)
		key := h
		key.of = nil
		if seen[key] {
			continue // a record repeats what an earlier one could not say in a segment
		}
		if len(f.holes) >= maxHoles {
			f.limited++
			return
		}
		seen[key] = true
		f.holes = append(f.holes, h)
	}
}

// hole is a gap from a record, with texts of limited length.
func (f *ringFolder) hole(h *ring.Hole, of *sealed) ringHole {
	out := ringHole{reason: cmp.Or(workload.CleanText(h.Reason, 64), "unknown"), series: workload.CleanText(h.Series, 32), detail: word(h.Detail),
		from: h.From, to: h.To, packets: min(max(h.Packets, 0), 1<<53), of: of}
	also := func(text string) {
		if out.detail != "" {
			out.detail += "; "
		}
		out.detail += text
	}
	if h.Packets < 0 {
		also("unknown number of packets")
	}
	if h.Bytes > 0 {
		also(clip.Count(h.Bytes, "byte", "bytes"))
	}
	for i, n := range h.Sequences {
		if len(f.absent) < maxAbsent {
			f.absent = append(f.absent, absent{out.series, n})
		}
		if i == 8 {
			also("…")
		}
		if i >= 8 {
			continue
		}
		also(fmt.Sprintf("segments %d to %d were begun, but are missing", n.From, n.To))
	}
	return out
}

// count computes how many packets were filtered and dropped since the previous segment.
func (s *sealed) count(c, before *ring.Counters) {
	if c == nil {
		return
	}
	if !c.Balanced() {
		s.unbalanced = fmt.Sprintf("seen %d, filtered %d, delivered %d, dropped %d", c.Seen, c.Filtered, c.Delivered, c.Dropped)
	}
	was := ring.Counters{}
	if before != nil {
		was = *before
	}
	s.filtered, s.drops = since(c.Filtered-min(c.Policy, c.Filtered), was.Filtered-min(was.Policy, was.Filtered)), since(c.Dropped, was.Dropped)
	s.policy, s.counted = since(c.Policy, was.Policy), true
	old := map[string]uint64{}
	for _, d := range was.Drops[:min(len(was.Drops), 16)] {
		old[d.Reason] = d.Packets
	}
	var list []string
	for _, d := range c.Drops[:min(len(c.Drops), 16)] {
		if n := since(d.Packets, old[d.Reason]); n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, workload.CleanText(d.Reason, 64)))
		}
	}
	s.reasons = strings.Join(list, ", ")
}

func since(now, before uint64) int64 {
	if now < before {
		return 0
	}
	return int64(min(now-before, 1<<53))
}

func (f *ringFolder) delete(d *ring.Deletion) {
	var packets int64
	for _, s := range f.order {
		if f.looked += 1 + len(d.Sequences); f.looked > maxDeleting {
			f.limited++
			break
		}
		if s.id.Series != d.Series || s.deleted {
			continue
		}
		for _, x := range d.Sequences {
			if x.From <= s.id.Sequence && s.id.Sequence <= x.To {
				s.deleted = true
				packets += s.packets
			}
		}
	}
	if len(f.holes) >= maxHoles {
		f.limited++
		return
	}
	f.holes = append(f.holes, ringHole{reason: "retention", series: workload.CleanText(d.Series, 32), from: d.First, to: d.Last, packets: packets,
		detail: fmt.Sprintf("removed by retention (%s); %s", cmp.Or(workload.CleanText(d.Reason, 64), "no reason given"), clip.Count(max(d.Bytes, 0), "byte", "bytes"))})
}
