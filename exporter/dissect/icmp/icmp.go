// Package icmp reads ICMP and ICMPv6 (RFC 792, 950, 1191, 1256, 2710, 3810, 4443, 4861, 4884,
// 8335).
//
// A row is a request with its reply, paired by direction, identifier and sequence number (echo,
// timestamp, information, address mask, extended echo, node information), else one message. The
// source and destination of a row are those of its message or request. The packet that an error
// quotes has separate columns.
package icmp

import (
	"fmt"
	"hash/crc32"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits.
const (
	responseTimeout = 60e9 // ns after which a request counts as unanswered
	maxList         = 256  // groups, options and extension objects shown of one message
	maxHex          = 64   // bytes of an unknown option or object shown
)

// Row is a request with its reply, or one message.
type Row struct {
	table.Call
	Version       int32             `col:"icmp_version" doc:"4 for ICMP, 6 for ICMPv6"`
	Type          string            `col:"icmp_type" enc:"dict" doc:"name of the message type, of the request if there are two messages: echo_request, destination_unreachable, neighbor_solicitation, …"`
	TypeNumber    int32             `col:"icmp_type_number" doc:"type of the message"`
	Code          int32             `col:"icmp_code" doc:"code of the message; its words are in status_text"`
	ReplyType     table.Opt[string] `col:"icmp_reply_type" enc:"dict" doc:"type of the reply, if the row is a pair"`
	Length        int64             `col:"icmp_length" unit:"bytes" doc:"length of the message, from its type on"`
	ReplyLength   table.Opt[int64]  `col:"icmp_reply_length" unit:"bytes" doc:"length of the reply"`
	ID            table.Opt[int32]  `col:"icmp_id" doc:"identifier of a request or reply, also of the one that an error quotes"`
	Seq           table.Opt[int32]  `col:"icmp_seq" doc:"sequence number of a request or reply, also of the one that an error quotes"`
	DataEchoed    table.Opt[bool]   `col:"icmp_data_echoed" doc:"the echo reply has the data of the request, as required; tunnels differ"`
	MTU           table.Opt[int64]  `col:"icmp_mtu" unit:"bytes" doc:"MTU of the next hop, or of the link that a router advertises"`
	Gateway       table.Opt[string] `col:"icmp_gateway" doc:"router that a redirect names, or the first that an ICMP router advertisement names"`
	Target        table.Opt[string] `col:"icmp_target" doc:"target address of neighbor discovery, or the destination of an ICMPv6 redirect"`
	LinkAddress   table.Opt[string] `col:"icmp_link_address" doc:"link-layer address in a neighbor discovery message"`
	Pointer       table.Opt[int64]  `col:"icmp_pointer" doc:"offset of the fault that a parameter problem is about"`
	Lifetime      table.Opt[int64]  `col:"icmp_lifetime" doc:"lifetime of a router advertisement in seconds"`
	Flags         []string          `col:"icmp_flags" doc:"flags of neighbor discovery: router, solicited, override, managed, other, home_agent"`
	Options       []string          `col:"icmp_options" doc:"options of neighbor discovery and extension objects of errors as name=value: prefix, rdnss, dnssl, nonce, mpls, …"`
	Groups        []string          `col:"icmp_groups" doc:"multicast groups of a listener query, report or done"`
	GroupActions  []string          `col:"icmp_group_actions" doc:"action that a version 2 report states for each of icmp_groups: is_include, to_exclude, …"`
	QuotedSrc     table.Opt[string] `col:"icmp_quoted_src" doc:"source address of the packet that an error quotes"`
	QuotedDst     table.Opt[string] `col:"icmp_quoted_dst" doc:"destination address of the packet that an error quotes"`
	QuotedProto   table.Opt[string] `col:"icmp_quoted_protocol" enc:"dict" doc:"IP protocol of the packet that an error quotes: tcp, udp, icmp, icmpv6, sctp or its number"`
	QuotedSrcPort table.Opt[int32]  `col:"icmp_quoted_src_port" doc:"source port of the packet that an error quotes"`
	QuotedDstPort table.Opt[int32]  `col:"icmp_quoted_dst_port" doc:"destination port of the packet that an error quotes"`
	QuotedType    table.Opt[string] `col:"icmp_quoted_type" enc:"dict" doc:"type of the ICMP message that an error quotes"`
}

// Protocol is ICMP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "icmp",
		Doc:        "ICMP and ICMPv6 with neighbor discovery and multicast listener discovery",
		Versions:   "ICMP, ICMPv6",
		Depth:      "echo pairs, errors with the packet that caused them, neighbor discovery",
		Transports: []dissect.Transport{dissect.ICMP},
		Detect:     func(dissect.Dir, []byte) dissect.Verdict { return dissect.Yes },
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Requests: "_request"},
	}
}

const headerSize = 4 // type, code, checksum

// call is a pending request.
type call struct {
	row     *Row
	x       dissect.Exchange
	dir     dissect.Dir
	data    uint32 // CRC of an echo's data
	sent    int64
	whole   bool // the request was captured completely
	partial bool // the request or the response was not
	entry   *byid.Entry[key, *call]
	why     string // the problem in one of its messages
}

// key has the fields in which a reply equals its request.
type key struct {
	dir   dissect.Dir // of the request
	reply uint8
	key   uint64
}

type conn struct {
	c       *dissect.Conn
	v6      bool
	pending byid.Table[key, *call]
	spare   *call
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c, v6: c.Info.IPVersion == 6}
	k.pending = byid.Table[key, *call]{Conn: c, Emit: k.emit}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end of the conversation
		return 0, nil
	}
	now := in.Time(0)
	for c := k.pending.First(); c != nil && now-c.sent > responseTimeout; c = k.pending.First() {
		k.emit(c, "no_response")
	}
	if len(b) < headerSize {
		return 0, fmt.Errorf("reading a message: %d bytes, a header needs %d", len(b), headerSize)
	}
	whole := in.Packet(0).Cut == 0
	if whole && !k.v6 && checksum(b) != 0xffff {
		k.c.Anomaly("checksum", fmt.Sprintf("wrong checksum in an ICMP message of type %d", b[0]), 0)
	}
	kind := kindOf(k.v6, b[0])
	if kind.pairs {
		k.pair(in, kind, whole)
		return len(b), nil
	}
	c := k.newCall(in)
	m := reader{Cursor: cursor.New(b), row: c.row, v6: k.v6}
	m.Skip(headerSize)
	m.message(b[0], b[1])
	c.x.Request(in, 0, len(b))
	c.x.Reversed = in.Dir == dissect.ToClient
	k.judge(c, &m, b, whole)
	k.emit(c, "")
	return len(b), nil
}

// judge records the errors of a message.
func (k *conn) judge(c *call, m *reader, b []byte, whole bool) {
	c.partial = c.partial || !whole
	switch {
	case !m.Short() && !m.bad:
	case !whole:
		c.why = "gap"
	default:
		c.why = "malformed"
		k.c.Anomaly("malformed", fmt.Sprintf("reading a message of type %d and %d bytes: error at byte %d", b[0], len(b), m.Used()), int64(len(b)-m.Used()))
	}
}

func (k *conn) newCall(in *dissect.Input) *call {
	c := k.spare
	k.spare = nil
	if c == nil {
		c = &call{}
	}
	b := in.Data
	c.row, c.dir, c.sent = &Row{}, in.Dir, in.Time(0)
	row := c.row
	row.Version = 4
	if k.v6 {
		row.Version = 6
	}
	row.TypeNumber, row.Code, row.Type, row.Length = int32(b[0]), int32(b[1]), wire.TypeName(k.v6, b[0]), int64(len(b))
	row.Method = table.Some(row.Type)
	row.StatusCode = table.Some(row.Code)
	if s := wire.CodeName(k.v6, b[0], b[1]); s != "" {
		row.StatusText = table.Some(s)
	}
	return c
}

// pair reads a request, or a reply and assigns it to its request.
func (k *conn) pair(in *dissect.Input, kind kind, whole bool) {
	b := in.Data
	m := reader{Cursor: cursor.New(b), v6: k.v6}
	m.Skip(headerSize)
	number := m.pairKey(kind)
	data := crc32.Checksum(m.Rest(), crc32.MakeTable(crc32.Castagnoli))
	if !kind.request {
		if c, ok := k.pending.Get(key{in.Dir.Other(), b[0], number}); ok && !m.Short() {
			k.addReply(c, in, &m, kind, data, whole)
			return
		}
	}
	c := k.newCall(in)
	c.data, c.whole, c.partial = data, whole, !whole
	if kind.sequence && !m.Short() {
		c.row.ID, c.row.Seq = table.Some(int32(number>>16&0xffff)), table.Some(int32(number&0xffff))
	}
	k.judge(c, &m, b, whole)
	if !kind.request {
		c.x.Response(in, 0, len(b))
		c.x.Reversed = in.Dir == dissect.ToServer
		k.emit(c, "")
		return
	}
	c.x.Request(in, 0, len(b))
	c.x.Reversed = in.Dir == dissect.ToClient
	attempt := int32(1)
	at := key{in.Dir, kind.pair, number}
	if o, ok := k.pending.Get(at); ok {
		attempt += o.row.Attempt.V
	}
	c.row.Attempt = table.Some(attempt)
	if m.Short() || k.c.Info.Multicast { // members of a group answer from their own addresses
		k.emit(c, "")
		return
	}
	c.entry = k.pending.Add(at, c, callCost)
}

// callCost is the memory of a pending request.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool { return k.pending.Shed() }

func (k *conn) addReply(c *call, in *dissect.Input, m *reader, kind kind, data uint32, whole bool) {
	b, row := in.Data, c.row
	c.x.Response(in, 0, len(b))
	row.ReplyType = table.Some(wire.TypeName(k.v6, b[0]))
	row.ReplyLength = table.Some(int64(len(b)))
	row.StatusCode = table.Some(int32(b[1]))
	if s := wire.CodeName(k.v6, b[0], b[1]); s != "" {
		row.StatusText = table.Some(s)
	}
	if kind.echo && whole && c.whole {
		row.DataEchoed = table.Some(data == c.data && row.Length == row.ReplyLength.V)
	}
	k.judge(c, m, b, whole)
	k.emit(c, "")
}

// Gap implements dissect.Dissector; datagrams have none.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// Resync implements dissect.Dissector; each datagram is independent.
func (k *conn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector; Conn.Keep counts the pending requests.
func (k *conn) Kept() int { return 0 }

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := "no_response" // there is no connection that could end before the reply arrives
	if why == dissect.EndEvicted {
		word = why.CallError()
	}
	for c := k.pending.First(); c != nil; c = k.pending.First() {
		k.emit(c, word)
	}
}

// checksum is the Internet checksum over all of b, 0xffff if it is correct (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint64
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	}
	for i, c := range b {
		sum += uint64(c) << (8 * (3 - i))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
