// Package rtp counts the packets of RTP streams (RFC 3550) over UDP and reads the reports of RTCP.
//
// A row is one stream, all packets that one side sent with one SSRC, or all reports of one side
// with one SSRC. Several packets in order must prove a stream, so a shorter conversation is not
// read as RTP. Names of dynamic payload types and the call come from the SDP of SIP, see NameIDs.
// No column contains audio or video.
package rtp

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/media"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Row is a stream of RTP, or the reports of one source.
type Row struct {
	table.Call
	Source      int64             `col:"rtp_ssrc" doc:"SSRC: number that the sender chose for the stream, or for the source of the reports"`
	PayloadType table.Opt[int32]  `col:"rtp_payload_type" doc:"payload type of most packets"`
	Codec       table.Opt[string] `col:"rtp_codec" enc:"dict" doc:"name of the codec with its clock rate, such as PCMU/8000: from the SDP of the call, else from RFC 3551; null for a dynamic type without SDP"`
	Types       []string          `col:"rtp_payload_types" doc:"payload types with their numbers of packets, such as 8:1168; at most 8"`
	Packets     table.Opt[int64]  `col:"rtp_packets" doc:"packets of the stream that were captured"`
	Payload     table.Opt[int64]  `col:"rtp_payload_bytes" unit:"bytes" doc:"bytes of media in the packets, without heads and padding"`
	Lost        table.Opt[int64]  `col:"rtp_lost" doc:"missing sequence numbers between the first and the last"`
	Duplicates  table.Opt[int64]  `col:"rtp_duplicates" doc:"packets with a sequence number that was seen before"`
	Reordered   table.Opt[int64]  `col:"rtp_reordered" doc:"packets that came after one with a larger sequence number"`
	Restarts    table.Opt[int64]  `col:"rtp_restarts" doc:"how often the sequence numbers began again"`
	First       table.Opt[int64]  `col:"rtp_first_sequence" doc:"sequence number of the first packet"`
	Rate        table.Opt[int64]  `col:"rtp_clock_rate" unit:"Hz" doc:"clock rate of the timestamps: of the codec, else measured; null if neither is known"`
	Jitter      table.Opt[int64]  `col:"rtp_jitter_us" unit:"us" doc:"interarrival jitter at the place of the capture, RFC 3550 section 6.4.1: mean over the packets of this payload type"`
	MaxJitter   table.Opt[int64]  `col:"rtp_max_jitter_us" unit:"us" doc:"largest value of the jitter"`
	Pause       table.Opt[int64]  `col:"rtp_max_gap_us" unit:"us" doc:"longest time between two packets"`
	Dialog      table.Opt[string] `col:"rtp_sip_call_id" enc:"bloom" doc:"Call-ID of the SIP call whose SDP names the port of the stream"`
	By          table.Opt[string] `col:"rtp_sdp" enc:"dict" doc:"what connects the stream with the call: address (address, port and payload type are in SDP), or port (port and payload type are, for a translated address, and the measured clock rate fits)"`

	Reports          table.Opt[int64]  `col:"rtp_reports" doc:"datagrams of RTCP of this source; null for a stream"`
	Sent             table.Opt[int64]  `col:"rtp_sent_packets" doc:"packets that the source says it has sent"`
	SentBytes        table.Opt[int64]  `col:"rtp_sent_bytes" unit:"bytes" doc:"bytes of media that the source says it has sent"`
	Name             table.Opt[string] `col:"rtp_cname" enc:"bloom" doc:"CNAME of the source; at most 255 bytes"`
	ReportedSource   table.Opt[int64]  `col:"rtp_reported_ssrc" doc:"SSRC of the stream that the last report is about"`
	ReportedLost     table.Opt[int64]  `col:"rtp_reported_lost" doc:"packets that the reporter misses, as of its last report; less than 0 if it got duplicates"`
	ReportedFraction table.Opt[int32]  `col:"rtp_reported_fraction_lost" doc:"largest reported fraction of packets lost between two reports, in 1/256"`
	ReportedHighest  table.Opt[int64]  `col:"rtp_reported_highest" doc:"highest sequence number that the reporter got, with its cycles"`
	ReportedJitter   table.Opt[int64]  `col:"rtp_reported_jitter" doc:"largest jitter that the reporter stated, in units of the timestamp"`
	RoundTrip        table.Opt[int64]  `col:"rtp_round_trip_us" unit:"us" doc:"time from the place of the capture to the reporter and back, by the last report that allows it"`
	Bye              table.Opt[bool]   `col:"rtp_bye" doc:"the source sent BYE"`

	late *stream // for NameIDs
}

// Protocol is RTP with RTCP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "rtp",
		Doc:        "RTP: statistics of media streams, and RTCP",
		Versions:   "RFC 3550",
		Depth:      "heads; reports of RTCP",
		Transports: []dissect.Transport{dissect.UDP},
		Detect:     detect,
		DetectLast: detectLast,
		New:        newConn,
		Row:        &Row{},
	}
}

// detectLast tries RTP for any packet that can be one: Read requires the proof.
func detectLast(_ dissect.Dir, b []byte) dissect.Verdict {
	if p, err := parse(b); err != nil || p.payload == 0 {
		return dissect.No
	}
	return dissect.Likely
}

// Limits of a conversation.
const (
	maxSources  = 64 // streams and reporters that are kept
	maxUnproved = 4  // streams without a proof
)

// key identifies a stream, or a reporter.
type key struct {
	dir     dissect.Dir
	source  uint32
	control bool
}

const sourceCost = int(unsafe.Sizeof(stream{})+unsafe.Sizeof(Row{})+2*unsafe.Sizeof(typeCount{})) + 256

type conn struct {
	c        *dissect.Conn
	streams  map[key]*stream
	controls map[key]*control
	order    []key
	reported [2]report
}

func newConn(c *dissect.Conn) dissect.Dissector {
	return &conn{c: c, streams: map[key]*stream{}, controls: map[key]*control{}}
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 {
		return 0, nil
	}
	if compound(b) > 0 {
		k.room()
		k.control(in)
		return len(b), nil
	}
	p, err := parse(b)
	if err != nil {
		return 0, err
	}
	p.arrivedNs, p.clock = in.Time(0), in.Packet(0).Clock
	id := key{dir: in.Dir, source: p.source}
	s := k.streams[id]
	switch {
	case s == nil && k.c.Unproved() && len(k.streams) >= maxUnproved:
		return 0, fmt.Errorf("reading a packet: %d sources, and none proves a stream", maxUnproved+1)
	case s == nil:
		k.room()
		s = newStream(p)
		s.x.Reversed, s.x.StreamID = in.Dir == dissect.ToClient, table.Some(int64(p.source))
		k.streams[id] = s
		k.order = append(k.order, id)
	case k.c.Unproved() && !s.follows(p):
		return 0, fmt.Errorf("reading a packet: its sequence number or timestamp does not follow")
	}
	s.x.Request(in, 0, len(b))
	if s.add(p); s.packets >= proof && s.last.time != s.first.time {
		k.c.Confirm()
	}
	return len(b), nil
}

// room ends the oldest source if there are too many.
func (k *conn) room() {
	if len(k.order) >= maxSources {
		k.Shed()
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return len(k.order) * sourceCost }

// Shed implements dissect.Dissector: it emits the oldest source; later packets of it are another
// row.
func (k *conn) Shed() bool {
	if len(k.order) == 0 || k.c.Unproved() {
		return false
	}
	k.emit(k.order[0], "cut")
	k.order = slices.Delete(k.order, 0, 1)
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := ""
	if why == dissect.EndEvicted {
		word = "cut"
	}
	for _, id := range k.order {
		k.emit(id, word)
	}
	k.order = nil
}

// emit emits a source. why is the value of column error.
func (k *conn) emit(id key, why string) {
	if c := k.controls[id]; c != nil {
		delete(k.controls, id)
		row := c.row
		row.Error, row.Complete = table.NonEmpty(why), why == ""
		row.Method, row.Reports = table.Some("RTCP"), table.Some(c.reports)
		row.Summary = fmt.Sprintf("RTCP 0x%08X, %s", row.Source, clip.Count(c.reports, "report", "reports"))
		if row.ReportedSource.OK {
			row.Summary += fmt.Sprintf(", %d lost of 0x%08X", row.ReportedLost.V, row.ReportedSource.V)
		}
		k.c.Emit(&c.x, row)
		return
	}
	s := k.streams[id]
	delete(k.streams, id)
	row := &Row{Source: int64(id.source), Packets: table.Some(s.packets), Payload: table.Some(s.bytes), Lost: table.Some(s.lost()),
		Duplicates: table.Some(s.duplicates), Reordered: table.Some(s.reordered), Restarts: table.Some(s.restarts), First: table.Some(int64(s.first.sequence)), late: s}
	row.Error, row.Complete, row.Method = table.NonEmpty(why), why == "", table.Some("RTP")
	if s.timed {
		row.Pause = table.Some(s.longestNs / 1000)
	}
	slices.SortFunc(s.types, func(a, b typeCount) int {
		return cmp.Or(cmp.Compare(b.packets, a.packets), cmp.Compare(a.kind, b.kind))
	})
	for _, t := range s.types {
		row.Types = append(row.Types, fmt.Sprintf("%d:%d", t.kind, t.packets))
	}
	kind := int64(s.types[0].kind)
	row.PayloadType = table.Some(int32(kind))
	row.codec(media.Format(kind))
	k.c.Emit(&s.x, row)
}

// codec sets what depends on the codec, whose name may be empty.
func (row *Row) codec(format string) {
	s := row.late
	row.Codec = table.NonEmpty(format)
	rate := media.Rate(format)
	if rate == 0 {
		rate = s.measured()
	}
	row.Rate, row.Jitter, row.MaxJitter = table.Opt[int64]{}, table.Opt[int64]{}, table.Opt[int64]{}
	if i := slices.Index(rates[:], rate); i >= 0 {
		row.Rate = table.Some(rate)
		if t := &s.types[0]; t.steps > 0 {
			row.Jitter = table.Some(t.jitter[i].sum * 1_000_000 / 16 / rate / t.steps)
			row.MaxJitter = table.Some(t.jitter[i].max * 1_000_000 / 16 / rate)
		}
	}
	name := format
	if name == "" {
		name = "payload type " + strconv.Itoa(int(row.PayloadType.V))
	}
	row.Summary = fmt.Sprintf("RTP %s 0x%08X, %s, %d lost", name, row.Source, clip.Count(s.packets, "packet", "packets"), row.Lost.V)
}

// NameIDs implements dissect.IDNamer: it looks for the SDP that names the receiver's address and port, or the
// sender's, because most phones receive where they send.
func (row *Row) NameIDs(names *dissect.IDNames) {
	s := row.late
	if s == nil {
		return
	}
	kind := int64(row.PayloadType.V)
	for _, by := range [...]string{"address", "port"} {
		for _, end := range [...]struct {
			ip   string
			port int32
		}{{row.DstIP, row.DstPort}, {row.SrcIP, row.SrcPort}} {
			if by == "port" {
				end.ip = ""
			}
			o, ok := media.Find(names, end.ip, end.port, kind)
			if rate := s.measured(); !ok || by == "port" && rate != media.Rate(o.Format) {
				continue
			}
			row.codec(o.Format)
			row.Dialog, row.By = table.NonEmpty(o.Call), table.Some(by)
			return
		}
	}
}
