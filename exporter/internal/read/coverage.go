package read

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/recording"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// maxSameProblem is the number of packets with one kind of problem that get a row each; the
// others share one.
const maxSameProblem = 200

// shared is the row of the packets with one kind of problem that have none of their own.
type shared struct {
	source string
	first  int64 // time of the first of them, ns
	count  int64
}

// own counts a packet with a problem, and reports whether it gets a row of its own.
func (r *Reader) own(ns int64, source, kind string) bool {
	r.capped[kind]++
	if r.capped[kind] <= maxSameProblem {
		return true
	}
	s := r.shared[kind]
	if s == nil {
		s = &shared{source: source, first: ns}
		r.shared[kind] = s
	}
	s.count++
	return false
}

// addShared writes the rows that packets with the same problem share.
func (r *Reader) addShared() {
	for _, kind := range slices.Sorted(maps.Keys(r.shared)) {
		s := r.shared[kind]
		r.addAnomaly(table.Anomaly{TsNs: s.first, Ts: table.MicrosOf(s.first), Source: s.source, Kind: kind, Count: s.count,
			Detail: fmt.Sprintf("more packets with this problem, from this time on; only the first %d have rows of their own", maxSameProblem)})
	}
}

// problemDetails describe the decoding problems.
var problemDetails = map[string]string{
	"truncated":         "the capture holds less of the packet than was on the wire: its snap length or a mirror cut it",
	"bad_length":        "a length field and the bytes around it contradict each other",
	"bad_header":        "a header field has a value that it cannot have",
	"bad_options":       "the TCP options are inconsistent",
	"unknown_link":      "the link type is not supported",
	"depth_limit":       "more headers, labels or tunnels than the limits",
	"fragment_overlap":  "the fragment overlaps others of its datagram; the first copy of each byte was kept, but receivers may keep another or none",
	"fragment_conflict": "the fragment contradicts the bytes or the end of others of its datagram; the first copy was kept",
	"fragment_dropped":  "the fragment cannot belong to any datagram, or a limit was reached",
	"fragment_too_long": "the fragment ends behind the longest datagram of 65,535 bytes",
	"fragment_missing":  "fragments of the datagram are missing; its payload ends before the first of them",
	"encrypted":         "the frame is encrypted (802.11 or MACsec): the packet in it cannot be read",
	"aggregate":         "the 802.11 frame holds several packets (A-MSDU); only the first was read, and the others are in no row",
	"header_cut":        "the snap length cut the transport header after its ports",
}

// problems writes anomalies for decoding problems.
func (r *Reader) problems(f *flow.Packet) {
	for _, code := range f.Problems.Codes() {
		if code == "truncated" || code == "header_cut" {
			f.Mark |= flow.SnapCut
		} else {
			f.Mark |= flow.NotWhole
		}
		if r.own(f.Time, "link", code) {
			r.anomaly(f.No, f.Time, "link", code, problemDetails[code], 0)
		}
	}
}

// outlier writes an anomaly for a packet whose time is far from those around it.
func (r *Reader) outlier(f *flow.Packet) {
	const kind = "time_outlier"
	if r.own(f.Time, "file", kind) {
		r.anomaly(f.No, f.Time, "file", kind, fmt.Sprintf("its time differs by %s from those of the packets around it; it is ordered like them",
			time.Duration(distance(f.Time, f.Stamp)).Round(time.Second)), 0)
	}
}

// backSlack is how far times in a file go back if several processors write packets in parallel.
const backSlack = int64(1e9) // ns

// timeBack writes an anomaly for a packet whose time is before that of an earlier packet.
func (r *Reader) timeBack(f *flow.Packet, by int64) {
	const kind = "time_back"
	if r.own(f.Time, "file", kind) {
		r.anomaly(f.No, f.Time, "file", kind, fmt.Sprintf("its time is %s before that of an earlier packet in the file; the file's order is kept",
			time.Duration(by).Round(time.Millisecond)), 0)
	}
}

func (r *Reader) anomaly(no, ts int64, source, kind, detail string, bytes int64) {
	r.addAnomaly(table.Anomaly{TsNs: ts, Ts: table.MicrosOf(ts), Source: source, Kind: kind, Detail: detail,
		PacketNo: table.Some(no), Bytes: bytes, Count: 1})
}

func (r *Reader) addAnomaly(row table.Anomaly) {
	r.cur.Facts.Anomalies = append(r.cur.Facts.Anomalies, row)
}

func (r *Reader) addCoverage(row table.Coverage) {
	r.cur.Facts.Coverage = append(r.cur.Facts.Coverage, row)
}

// gaveUp handles an IP datagram with missing fragments.
func (r *Reader) gaveUp(d decode.Incomplete) {
	const kind = "fragments_missing"
	given := incomplete{packet: flow.GivenUp(&d, r.links[d.Interface].namespace, r.links[d.Interface].recording.Clock)}
	if d.Frame != nil { // its conversation reports it
		r.capped[kind]++
		given.shard = d.Frame.FlowHash() % flow.ShardCount
	} else if r.own(d.Last, "ip", kind) {
		r.anomaly(d.First, r.now, "ip", kind, fmt.Sprintf("the first fragment of datagram %d (IP protocol %d) from %s to %s did not come (%s): its ports are unknown, so its bytes are in no conversation, and a call between these hosts that seems to have no response may be the one it answers",
			d.ID, d.Proto, d.Src, d.Dst, d.Reason), int64(d.Bytes))
	}
	r.incomplete = append(r.incomplete, given)
}

// notIP counts packets without addresses.
func (r *Reader) notIP(f *decode.Frame) {
	name := f.Name()
	if _, ok := r.nonIP[name]; !ok && len(r.nonIP) >= 256 {
		name = "other"
	}
	r.nonIP[name]++
}

// damages reports the damaged places of a file before an offset. What they held was recorded between
// the last packet and the time of the next one.
func (r *Reader) damages(o *opened, before, next int64) {
	list := o.reader.Damage()
	for ; o.damages < len(list) && list[o.damages].Offset < before; o.damages++ {
		r.damage(o, &list[o.damages], next)
	}
}

// allDamage reports the damage of a file that was read to its end, also the places that are not listed.
func (r *Reader) allDamage(o *opened) {
	r.damages(o, math.MaxInt64, o.last)
	list, more := o.reader.Damage(), o.reader.DamageTotal()
	if more.Places -= int64(len(list)); more.Places == 0 {
		return
	}
	for i := range list {
		more.Bytes -= list[i].Length
	}
	r.damagedHole(o, o.first, o.last, fmt.Sprintf("%d bytes at %d further places", more.Bytes, more.Places))
}

func (r *Reader) damage(o *opened, d *pcapng.Damage, next int64) {
	from := o.last
	if o.packets == 0 {
		from = next
	}
	r.addAnomaly(table.Anomaly{TsNs: from, Ts: table.MicrosOf(from), Source: "file", Kind: string(d.Kind), Detail: d.Detail,
		FileID: table.Some(o.id), Offset: table.Some(d.Offset), Bytes: d.Length, Count: 1})
	switch {
	case d.Length > 0:
		r.damagedHole(o, from, next, fmt.Sprintf("%d bytes at %d: %s", d.Length, d.Offset, d.Detail))
	case d.Kind == pcapng.DamageTruncated || d.Kind == pcapng.DamageUnreadable: // the rest of a compressed file
		r.damagedHole(o, from, next, fmt.Sprintf("nothing after %d could be read: %s", d.Offset, d.Detail))
	}
}

func (r *Reader) damagedHole(o *opened, from, to int64, detail string) {
	from, to = min(from, to), max(from, to)
	r.recordings.Damaged(&o.recorded, from, to)
	r.addCoverage(table.Coverage{FileID: o.id, Source: o.name, FromNs: from, ToNs: to, Kind: "hole", Reason: "damaged", Detail: detail})
}

// dropped writes a coverage gap for a packet's drop count.
func (r *Reader) dropped(o *opened, p *pcapng.Packet, n int64) {
	if o.lostBefore == nil {
		o.lostBefore = map[int32]int64{}
	}
	o.lostBefore[p.Interface] += n
	before := o.now
	if o.packets > 0 {
		before = o.last
	}
	r.recordings.Lost(flow.Hole{Clock: r.links[o.links[p.Interface]].recording.Clock, From: before, To: o.now})
	r.addCoverage(table.Coverage{FileID: o.id, Source: r.links[o.links[p.Interface]].Name, FromNs: p.Time, ToNs: p.Time,
		Kind: "hole", Reason: "drop", Packets: n, Detail: "lost before this packet, according to its block"})
}

// longLoss is how long, in ns, the time is after which lost packets leave most questions of that time untouched.
const longLoss = int64(60e9)

// countedLoss records the times in which an interface lost packets according to its statistics: between two of them, or
// between the first packet and them. A segment is left out: its packets say what was lost before them.
func (r *Reader) countedLoss(o *opened, f *pcapng.Interface, clock int32) {
	if o.header != nil {
		return
	}
	from, before := int64(math.MinInt64), int64(0)
	if first := o.input.first; first != math.MaxInt64 {
		from = first
	}
	for _, s := range o.counted[pcapng.CountedID{Section: f.Section, Interface: f.ID}] {
		to, ok := f.Time(s.Ticks)
		if !ok || to < from { // no such time
			to = math.MaxInt64
		}
		n := lostBy(&s)
		if n > 0 && n != before {
			r.recordings.Lost(flow.Hole{Clock: clock, From: from, To: to, Sparse: to > from+longLoss})
		}
		from, before = to, n
	}
}

// cover writes what one file recorded, and the losses in its statistics.
func (r *Reader) cover(o *opened, in *bundle.Input) {
	r.coverRanges(o)
	for _, i := range in.Interfaces {
		name := i.Name
		if name == "" {
			name = "interface " + strconv.FormatInt(i.Index, 10)
		}
		// The totals of the statistics include the drops that packets have reported
		// individually.
		if i.Dropped -= o.lostBefore[int32(i.Index)]; i.Dropped > 0 {
			r.addCoverage(table.Coverage{FileID: o.id, Source: name, FromNs: o.first, ToNs: o.last, Kind: "hole",
				Reason: "drop", Packets: i.Dropped, Detail: "the interface statistics report lost packets, but not when they were lost"})
		}
		if i.Filter != "" {
			r.addCoverage(table.Coverage{FileID: o.id, Source: name, FromNs: o.first, ToNs: o.last, Kind: "hole",
				Reason: "filter", Detail: "recorded with the filter " + i.Filter})
		}
	}
	if o.header != nil {
		r.coverSegment(o, in)
	}
	// A window or filter that excluded no packet leaves no gap.
	if o.left > 0 {
		r.addCoverage(table.Coverage{FileID: o.id, Source: o.name, FromNs: o.first, ToNs: o.last, Kind: "hole",
			Reason: "filter", Packets: o.left, Detail: "the filter or time window excludes packets from the tables; the packet file is complete"})
	}
}

// clockOf describes the clock of an interface.
func clockOf(id int32, o *opened, i *pcapng.Interface, c *recording.Recording) table.Clock {
	name := i.Name
	if name == "" {
		name = strconv.FormatInt(int64(i.Index), 10)
	}
	k := table.Clock{ClockID: id, Source: o.name + " interface " + name, SameAs: c.Clock, SameBy: c.By}
	if m := c.Mark(); m != nil {
		markedClock(&k, m)
	} else if h := o.recorded.Header(i.Section); h != nil {
		segmentClock(&k, h)
	}
	if i.TsResol&0x80 == 0 {
		tick := int64(1e9)
		for range i.TsResol & 0x7f {
			tick /= 10
		}
		k.TickNs = table.Some(tick)
	} else if i.TsResol&0x7f < 64 {
		k.TickNs = table.Some(int64(1e9) >> (i.TsResol & 0x7f))
	}
	if i.TsOffset != 0 && i.TsOffset < 1<<33 && i.TsOffset > -(1<<33) {
		k.OffsetNs = table.Some(i.TsOffset * 1e9)
	}
	return k
}

// markedClock copies what a mark says about a clock.
func markedClock(c *table.Clock, m *pcapng.ClockMark) {
	c.Node, c.BootID = table.NonEmpty(word(m.Node)), table.NonEmpty(word(m.BootID))
	if m.Synchronized != nil {
		c.Synchronized = table.Some(*m.Synchronized)
	}
	if m.ErrorNs > 0 {
		c.ErrorNs = table.Some(m.ErrorNs)
	}
}

// segmentClock copies the clock description of a segment's header.
func segmentClock(c *table.Clock, h *ring.Header) {
	c.Node = table.NonEmpty(word(h.Node))
	c.BootID = table.NonEmpty(word(h.BootID))
	for i := range h.Clocks {
		k := &h.Clocks[i]
		c.Synchronized = table.Some(k.Synchronized && (!c.Synchronized.OK || c.Synchronized.V))
		if k.MaxError > 0 {
			c.ErrorNs = table.Some(max(c.ErrorNs.V, k.MaxError))
		}
	}
	if c.Synchronized.OK && !c.Synchronized.V {
		c.ErrorNs = table.Opt[int64]{} // its largest error is unknown
	}
}

// namespaceOf is a hash of the network namespace of a recorder's interface: that of a pod, or
// its node's.
func namespaceOf(c *workload.InterfaceComment) uint64 {
	if c == nil {
		return 0
	}
	name := "pod " + c.Identity.PodUID
	if c.HostNetwork || c.Identity.PodUID == "" {
		name = "node " + c.Identity.Node
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}
