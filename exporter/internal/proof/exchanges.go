package proof

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// Limits of questions that wait for an answer.
const (
	maxQuestions = 4096
	maxAsked     = 4           // servers that were asked the same; more are not compared
	answerWithin = int64(60e9) // ns
)

// exchanges finds answers of DNS and STUN from an address or port that was not asked. A client ignores such an answer to
// DNS (RFC 5452 section 9.1), and it completes no call.
type exchanges struct {
	seed  maphash.Seed
	asked recent[exchange, *question]
}

// exchange is the end that asked, and the hash of what question and answer have in common.
type exchange struct {
	client  flow.End
	network uint64
	id      uint64
}

type question struct {
	servers []flow.End
	at      int64
	settled bool // it has an answer
}

func (x *exchanges) memory() int { return x.asked.memory(int(unsafe.Sizeof(question{})) + 64) }

// AnsweredElsewhere makes the packet that reports to a conversation that f, which it marks, answers it from ends that were
// not asked. It fails if f is no such answer.
func (j *Judge) AnsweredElsewhere(f *flow.Packet) (p flow.Packet, ok bool) {
	x := &j.exchanges
	if f.Proto != protoUDP || f.Sum == flow.SumWrong {
		return p, false
	}
	id, answer, ok := x.exchanged(f)
	if !ok {
		return p, false
	}
	client, server := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	if answer {
		client, server = server, client
	}
	k := exchange{client, f.Network, id}
	q := x.asked.m[k]
	fresh := q != nil && f.Time-q.at <= answerWithin
	switch {
	case !answer && !fresh:
		x.asked.put(k, &question{servers: []flow.End{server}, at: f.Time}, maxQuestions)
	case !answer:
		if len(q.servers) <= maxAsked && !slices.Contains(q.servers, server) {
			q.servers = append(q.servers, server)
		}
	case !fresh || len(q.servers) > maxAsked:
	case slices.Contains(q.servers, server):
		q.settled = true
	default:
		f.Unasked = true
		ok, q.settled = !q.settled, true
		s := q.servers[0]
		return flow.Packet{
			Capture: flow.Capture{No: f.No, Time: f.Time, Interface: f.Interface, Clock: f.Clock},
			IP:      flow.IP{Network: f.Network, Proto: protoUDP, Src: client.Addr, Dst: s.Addr, VLAN: -1},
			Segment: flow.Segment{SrcPort: client.Port, DstPort: s.Port},
			Said:    flow.Said{Elsewhere: true, Unasked: true},
		}, ok
	}
	return p, false
}

// expected withdraws that a packet is from ends that were not asked, and the report about it, which follows.
func (s spot) expected() {
	for i := s.i; int(i) < len(s.in.Packets) && (i == s.i || i == s.i+1 && s.in.Packets[i].Elsewhere); i++ {
		s.in.Packets[i].Unasked = false
	}
}

// exchanged returns the hash of what a question and its answer have in common: in DNS the id and the question (RFC 5452
// section 9.1), in STUN the cookie and the id (RFC 8489 section 5). Names of NetBIOS are asked of all hosts at once.
func (x *exchanges) exchanged(f *flow.Packet) (id uint64, answer, ok bool) {
	const dnsHead, stunHead, cookie, portNetBIOS = 12, 20, 0x2112A442, 137
	b := f.Payload
	switch {
	case len(b) < dnsHead || manyHosts(&f.Dst) || f.DstPort == portNetBIOS || f.SrcPort == portNetBIOS:
	case len(b) >= stunHead && binary.BigEndian.Uint32(b[4:]) == cookie && b[0] < 0x40:
		class := binary.BigEndian.Uint16(b) & 0x110
		return maphash.Bytes(x.seed, b[4:stunHead]), class&0x100 != 0, class != 0x10
	case binary.BigEndian.Uint16(b[4:]) == 1 && b[2]&0x78 == 0: // one question, opcode QUERY
		end := dnsHead
		for end < len(b) && b[end] != 0 && b[end] < 0x40 {
			end += 1 + int(b[end])
		}
		if end+5 <= len(b) && b[end] == 0 {
			var h maphash.Hash
			h.SetSeed(x.seed)
			for _, c := range b[dnsHead:end] { // RFC 4343; no length of a label is a letter
				if 'A' <= c && c <= 'Z' {
					c += 'a' - 'A'
				}
				h.WriteByte(c)
			}
			h.Write(b[end : end+5])
			h.Write(b[:2])
			return h.Sum64(), b[2]&0x80 != 0, true
		}
	}
	return 0, false, false
}
