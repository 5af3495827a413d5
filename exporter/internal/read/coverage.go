package read

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// maxSameProblem is how many packets with one kind of problem get a row each; the rest
// are counted.
const maxSameProblem = 200

// problemDetail says what decoding could not accept.
func problemDetail(code string) string {
	switch code {
	case "truncated":
		return "the capture holds less of the packet than was on the wire: its snap length cut it"
	case "header_cut":
		return "the snap length cut the transport header behind its ports"
	case "fragment_overlap":
		return "a fragment that overlaps others of its datagram; the first copy of each byte was kept, while receivers may keep another or none"
	case "fragment_conflict":
		return "a fragment with other bytes, or another end, than others of its datagram; the first copy was kept"
	case "fragment_dropped":
		return "a fragment that cannot belong to any datagram, or for which a limit left no room"
	}
	return "a header that could not be read as it stands"
}

// problems writes anomalies for what decoding could not accept.
func (r *Reader) problems(f *flow.Packet) {
	for _, code := range f.Problems.Codes() {
		if code == "truncated" || code == "header_cut" {
			f.Mark |= flow.SnapCut
		} else {
			f.Mark |= flow.NotWhole
		}
		r.capped[code]++
		if r.capped[code] <= maxSameProblem {
			r.anomaly(f.No, f.Time, "link", code, problemDetail(code), 0)
		}
	}
}

// outlier writes an anomaly for a packet whose time is far from those around it.
func (r *Reader) outlier(f *flow.Packet) {
	const kind = "time_outlier"
	r.capped[kind]++
	if r.capped[kind] <= maxSameProblem {
		r.anomaly(f.No, f.Time, "file", kind, fmt.Sprintf("its time is %s away from the packets around it; it is put in order as they are",
			time.Duration(distance(f.Time, f.Stamp)).Round(time.Second)), 0)
	}
}

// backSlack is how far times in a file go back where processors write packets side by side.
const backSlack = int64(1e9) // ns

// timeBack writes an anomaly for a packet whose time is before that of the packet before it.
func (r *Reader) timeBack(f *flow.Packet, by int64) {
	const kind = "time_back"
	r.capped[kind]++
	if r.capped[kind] <= maxSameProblem {
		r.anomaly(f.No, f.Time, "file", kind, fmt.Sprintf("its time is %s before that of the packet before it in the file; the file's order is kept",
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

// gaveUp is told of IP datagrams whose fragments did not all come.
func (r *Reader) gaveUp(d decode.Incomplete) {
	const kind = "fragments_missing"
	r.capped[kind]++
	if d.Frame != nil { // its conversation tells of it
		r.given = append(r.given, given{flow.GivenUp(&d, r.links[d.Interface].namespace), d.Frame.FlowHash() % flow.ShardCount})
		return
	}
	if r.capped[kind] <= maxSameProblem {
		r.anomaly(max(r.numbered-1, 0), r.now, "ip", kind, fmt.Sprintf("datagram %d of %s to %s, first packet %d: %s",
			d.ID, d.Src, d.Dst, d.First, d.Reason), int64(d.Bytes))
	}
}

// notIP counts what has no addresses.
func (r *Reader) notIP(f *decode.Frame) {
	name := f.Name()
	if _, ok := r.nonIP[name]; !ok && len(r.nonIP) >= 256 {
		name = "other"
	}
	r.nonIP[name]++
}

// damage writes a place of a file that could not be read.
func (r *Reader) damage(o *opened, d pcapng.Damage) {
	r.addAnomaly(table.Anomaly{TsNs: o.last, Ts: table.MicrosOf(o.last), Source: "file", Kind: string(d.Kind), Detail: d.Detail,
		FileID: table.Some(o.id), Offset: table.Some(d.Offset), Bytes: d.Length, Count: 1})
	if d.Length > 0 {
		r.addCoverage(table.Coverage{FileID: o.id, Source: o.name, FromNs: o.last, ToNs: o.last, Kind: "hole",
			Reason: "damaged", Detail: fmt.Sprintf("%d bytes at %d: %s", d.Length, d.Offset, d.Detail)})
	}
}

// dropped writes a hole that a packet's drop count tells of.
func (r *Reader) dropped(o *opened, p *pcapng.Packet, n int64) {
	if o.told == nil {
		o.told = map[int32]int64{}
	}
	o.told[p.Interface] += n
	r.addCoverage(table.Coverage{FileID: o.id, Source: r.links[o.ifBase+p.Interface].Name, FromNs: p.Time, ToNs: p.Time,
		Kind: "hole", Reason: "drop", Packets: n, Detail: "lost before this packet, as its block says"})
}

// cover writes what one file recorded, and the losses that its statistics name.
func (r *Reader) cover(o *opened, in *bundle.Input) {
	if o.packets > 0 {
		r.addCoverage(table.Coverage{FileID: o.id, Source: o.name, FromNs: o.first, ToNs: o.last,
			Kind: "recorded", Packets: o.packets})
	}
	for _, i := range in.Interfaces {
		name := i.Name
		if name == "" {
			name = "interface " + strconv.FormatInt(i.Index, 10)
		}
		// Statistics count in all what packets have told one by one already.
		if i.Dropped -= o.told[int32(i.Index)]; i.Dropped > 0 {
			r.addCoverage(table.Coverage{FileID: o.id, Source: name, FromNs: o.first, ToNs: o.last, Kind: "hole",
				Reason: "drop", Packets: i.Dropped, Detail: "the interface statistics say that packets were lost; not when"})
		}
		if i.Filter != "" {
			r.addCoverage(table.Coverage{FileID: o.id, Source: name, FromNs: o.first, ToNs: o.last, Kind: "hole",
				Reason: "filter", Detail: "recorded with the filter " + i.Filter})
		}
	}
	if o.header != nil {
		r.coverSegment(o, in)
	}
	// A window or filter that everything passed leaves no hole.
	if o.left > 0 {
		r.addCoverage(table.Coverage{FileID: o.id, Source: o.name, FromNs: o.first, ToNs: o.last, Kind: "hole",
			Reason: "filter", Packets: o.left, Detail: "the tables leave out what filter and time window exclude; the packet file is whole"})
	}
}

func clockOf(id int32, o *opened, i *pcapng.Interface) table.Clock {
	name := i.Name
	if name == "" {
		name = strconv.FormatInt(int64(i.Index), 10)
	}
	c := table.Clock{ClockID: id, Source: o.name + " interface " + name}
	if o.header != nil {
		segmentClock(&c, o.header)
	}
	if i.TsResol&0x80 == 0 {
		tick := int64(1e9)
		for range i.TsResol & 0x7f {
			tick /= 10
		}
		c.TickNs = table.Some(tick)
	} else if i.TsResol&0x7f < 64 {
		c.TickNs = table.Some(int64(1e9) >> (i.TsResol & 0x7f))
	}
	if i.TsOffset != 0 && i.TsOffset < 1<<33 && i.TsOffset > -(1<<33) {
		c.OffsetNs = table.Some(i.TsOffset * 1e9)
	}
	return c
}

// segmentClock takes what a segment's header says of its node's clock.
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
		c.ErrorNs = table.Opt[int64]{} // nobody bounds how wrong it is
	}
}

// countText is "1 packet" or "7 packets".
func countText(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// namespaceOf is a hash of the network namespace that a recorder's interface shows: that of
// a pod, or its node's.
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
