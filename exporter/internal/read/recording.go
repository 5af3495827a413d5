package read

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Limits of the search for the recording that another one continues.
const (
	maxPause     = int64(60e9) // ns between the two
	maxLooked    = 512         // packets at a recording's beginning
	maxClocks    = 256         // whose newest time the shards know
	maxContinued = 256         // recordings that another may continue
)

// How it is known that several interfaces have one clock: column same_by.
const (
	sameRecording = "recording" // one program wrote them into one section of a file
	sameBoot      = "boot"      // the recorder says that it ran on one node, in one boot
	sameContinued = "continued" // assumed: the file begins where another one ends, as in a ring
)

// recording is what one program wrote in one piece: a section of a PCAPNG file, or a pcap file. Its
// interfaces have one clock. Whether two recordings have one must be shown:
//   - segments by their node and boot, and
//   - other files if one begins within a minute after the last packet of the other, has the same
//     format and first interface, and if no third one could be continued as well. Both must show a
//     conversation in both directions: otherwise they may be the two halves of a tap.
//
// Everything else has clocks with an unknown difference.
//
// LIMIT: a file that was merged from those of several machines no longer shows that, so its interfaces
// count as one clock. So do two captures of different machines of which one happens to begin within a
// minute after the other has ended. A file that begins before the one before it has ended, because its
// packets are out of order, counts as one with another clock.
type recording struct {
	section   int32
	clock     int32        // the number of the first interface that has it
	by        string       // how that is known
	newest    *flow.Newest // of the clock
	kind      string       // what a recording that continues it must have in common
	family    string       // the file's name without numbers
	last      int64        // newest time
	twoWay    bool         // both directions of a conversation are among its first packets
	over      bool         // no packets will come
	continued bool
}

// recordingOf returns the recording of a new interface of a file.
func (r *Reader) recordingOf(o *opened, i *pcapng.Interface, number int32) *recording {
	if c := o.recording; c != nil && c.section == i.Section {
		return c
	}
	c := &recording{section: i.Section, family: familyOf(bundle.SafeName(unpackedName(o.name, o.compression()))),
		kind: fmt.Sprintf("%s %d %d %d %d %q", o.reader.Format(), i.LinkType, i.SnapLen, i.TsResol, i.TsOffset, []string{i.Name, i.Description, i.OS, i.Hardware, i.Filter})}
	o.ended()
	o.recording = c
	if h := o.header; h != nil && h.Node != "" && h.BootID != "" {
		key := [2]string{h.Node, h.BootID}
		if r.boots == nil {
			r.boots = map[[2]string]int32{}
		}
		known, ok := r.boots[key]
		if !ok {
			known, r.boots[key] = number, number
		}
		r.setClock(c, known, sameBoot)
		return c
	}
	first := c.begin(o)
	if x := r.continuedBy(c, first); x != nil {
		x.continued = true
		r.setClock(c, x.clock, sameContinued)
	} else {
		r.setClock(c, number, sameRecording)
	}
	r.recordings = slices.DeleteFunc(r.recordings, func(x *recording) bool { return x.continued || x.over && first-x.last > maxPause })
	if len(r.recordings) == maxContinued {
		r.recordings = slices.Delete(r.recordings, 0, 1)
	}
	r.recordings = append(r.recordings, c)
	return c
}

// ended notes that the file has no more packets.
func (o *opened) ended() {
	if o.recording != nil {
		o.recording.over = true
	}
}

// familyOf is a file's name without numbers: rotated files have one name but for a number and a time.
func familyOf(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, name)
}

// begin looks at the first packets of the recording, and returns the time of the first one.
func (c *recording) begin(o *opened) (first int64) {
	first = math.MaxInt64
	if o.win == nil {
		return first
	}
	list := o.reader.Interfaces()
	d := decode.New(decode.Options{MaxFragmentBytes: 1 << 16})
	said := map[tuple]uint8{}
	looked := 0
	var f decode.Frame
	for i := range o.win.Packets {
		p := &o.win.Packets[i]
		if p.Interface < 0 || int(p.Interface) >= len(list) || list[p.Interface].Section != c.section {
			continue
		}
		if p.TimeOK && first == math.MaxInt64 {
			first = p.Time
		}
		if looked++; looked > maxLooked || c.twoWay {
			break
		}
		d.Decode(decode.Input{LinkType: p.LinkType, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
		if f.Kind != decode.KindIP {
			continue
		}
		src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
		at := tupleOf(src, dst)
		from := uint8(1)
		if src != at[0] {
			from = 2
		}
		said[at] |= from
		c.twoWay = said[at] == 3
	}
	return first
}

// continuedBy is the recording that c, with its first packet at a time, continues; nil if there is
// none, or if it could be several.
func (r *Reader) continuedBy(c *recording, first int64) (found *recording) {
	if !c.twoWay {
		return nil
	}
	family := func(x *recording) bool { return x.kind == c.kind && x.family == c.family }
	like := family
	if !slices.ContainsFunc(r.recordings, family) {
		like = func(x *recording) bool { return x.kind == c.kind }
	}
	for _, x := range r.recordings {
		switch {
		case !like(x) || x.continued || x.over && first-x.last > maxPause:
		case found != nil || !x.twoWay || !x.ends(first):
			return nil
		default:
			found = x
		}
	}
	return found
}

// ends reports whether the recording ends before a time, but not long before.
func (x *recording) ends(first int64) bool { return x.over && x.last <= first }

// passed notes the time of a packet and returns its clock.
func (r *Reader) passed(o *opened, p *pcapng.Packet) (clock int32) {
	if !p.TimeOK || o.outlier {
		return flow.NoClock
	}
	c := r.links[o.ifBase+p.Interface].recording
	c.last = max(c.last, p.Time)
	c.newest.Ns = max(c.newest.Ns, p.Time)
	return c.clock
}

// setClock sets the recording's clock, which another one may have too.
func (r *Reader) setClock(c *recording, clock int32, by string) {
	c.clock, c.by = clock, by
	if i := slices.IndexFunc(r.clocks, func(x *flow.Newest) bool { return x.Clock == clock }); i >= 0 {
		c.newest = r.clocks[i]
		return
	}
	if len(r.clocks) == maxClocks {
		r.clocks = slices.Delete(r.clocks, 0, 1)
	}
	c.newest = &flow.Newest{Clock: clock}
	r.clocks = append(r.clocks, c.newest)
}

// newestTimes is the newest time of each clock so far, nil if there is only one clock.
func (r *Reader) newestTimes() []flow.Newest {
	if len(r.clocks) < 2 {
		return nil
	}
	list := make([]flow.Newest, len(r.clocks))
	for i, x := range r.clocks {
		list[i] = *x
	}
	return list
}
