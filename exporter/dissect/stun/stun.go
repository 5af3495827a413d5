// Package stun reads STUN (RFC 8489, also RFC 5389) and its use by TURN (RFC 8656, RFC 6062) and ICE (RFC 8445):
// how two sides behind translators find their addresses, and how a server relays between them.
//
// A row is a request with its response, an indication, or the data of one channel. Messages without the
// magic cookie (RFC 3489) are recognized by their attributes. What TURN relays is counted, not read.
package stun

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a conversation.
const (
	wait        = int64(60e9) // ns after which a request counts as unanswered; clients stop after 39.5 s
	maxChannels = 256         // channels of an allocation that are counted
	maxSummary  = 300
)

// Row is a request with its response, an indication, or the data of a channel.
type Row struct {
	table.Call
	Transaction table.Opt[string] `col:"stun_transaction_id" enc:"bloom" doc:"transaction id, 24 hexadecimal digits, 32 without the magic cookie (RFC 3489); null for the data of a channel"`
	Indication  bool              `col:"stun_indication" doc:"an indication, which has no response"`
	Mapped      table.Opt[string] `col:"stun_mapped" doc:"address and port from which the request came to the server: those outside the last translator"`
	Relayed     table.Opt[string] `col:"stun_relayed" doc:"address and port that the TURN server allocated for the client"`
	Peers       []string          `col:"stun_peers" doc:"addresses and ports of peers that the message is about; at most 16"`
	Alternate   table.Opt[string] `col:"stun_alternate" doc:"other server to which the client is directed"`
	User        table.Opt[string] `col:"stun_user" enc:"dict" doc:"USERNAME: the user of a TURN server; of ICE, the name fragments of both sides with a colon between them"`
	Realm       table.Opt[string] `col:"stun_realm" enc:"dict" doc:"REALM"`
	Client      table.Opt[string] `col:"stun_client_software" enc:"dict" doc:"SOFTWARE of the sender of the request or the indication"`
	Server      table.Opt[string] `col:"stun_server_software" enc:"dict" doc:"SOFTWARE of the sender of the response"`
	Asked       table.Opt[string] `col:"stun_requested_transport" enc:"dict" doc:"transport to peers that Allocate asks for: udp or tcp"`
	Lifetime    table.Opt[int64]  `col:"stun_lifetime_s" unit:"s" doc:"LIFETIME of the allocation: of the response, else as requested"`
	Role        table.Opt[string] `col:"stun_ice_role" enc:"dict" doc:"role of the sender in ICE: controlling or controlled"`
	Priority    table.Opt[int64]  `col:"stun_ice_priority" doc:"PRIORITY of the candidate"`
	Nominated   bool              `col:"stun_ice_nominated" doc:"USE-CANDIDATE: the controlling side chose this pair of addresses"`
	Channel     table.Opt[int32]  `col:"stun_channel" doc:"number of the channel"`
	Data        table.Opt[int64]  `col:"stun_data_bytes" unit:"bytes" doc:"bytes that were relayed in the message, or in all messages of the channel"`
	Messages    table.Opt[int64]  `col:"stun_channel_messages" doc:"messages of the channel"`

	signed bool
}

// Protocol is STUN with TURN.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "stun",
		Doc:        "STUN and TURN: addresses behind translators, checks of ICE, relayed data counted",
		Versions:   "RFC 8489, 5389 and 3489; TURN: RFC 8656, 5766 and 6062, MS-TURN; ICE: RFC 8445",
		Depth:      "all messages; what is relayed is counted",
		Transports: []dissect.Transport{dissect.UDP, dissect.TCP},
		Ports:      []uint16{3478, 5349},
		Detect:     detect,
		Beside:     beside,
		New:        newConn,
		Row:        &Row{},
	}
}

// detect accepts whole messages. Clients of servers only ask; in ICE, both sides do.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < headSize {
		if len(head) > 0 && head[0]&0xC0 == 0 && (len(head) < 8 || binary.BigEndian.Uint32(head[4:]) == cookie) {
			return dissect.More
		}
		return dissect.No
	}
	size := headSize + int(binary.BigEndian.Uint16(head[2:]))
	if binary.BigEndian.Uint32(head[4:]) == cookie && len(head) < size {
		return dissect.More
	}
	m, ok := parse(head[:min(size, len(head))])
	switch {
	case !ok, !begins(head) && len(head) > size:
		return dissect.No
	case !begins(head):
		return dissect.Likely
	case (m.class == success || m.class == failure) == (dir == dissect.ToClient):
		return dissect.Yes
	}
	return dissect.Likely
}

// beside implements dissect.Protocol.Beside, RFC 7983 section 7.
func beside(d dissect.Dissector, b []byte) bool {
	k, ok := d.(*conn)
	if !ok {
		_, ok = parse(b)
		return ok
	}
	if _, ok := parse(b); ok || begins(b) { // also if it cannot be read
		return true
	}
	size, ok := channelSize(b)
	return ok && k.channels[binary.BigEndian.Uint16(b)] != nil && size <= len(b) && len(b) <= (size+3)&^3
}

// channelSize is the size of a ChannelData message without its padding, RFC 8656 section 12.4.
func channelSize(b []byte) (n int, ok bool) {
	if len(b) < 4 || b[0]&0xF0 != 0x40 {
		return 0, false
	}
	return 4 + int(binary.BigEndian.Uint16(b[2:])), true
}

// key identifies a request.
type key struct {
	dir dissect.Dir
	id  transaction
}

type call = byid.Call[*Row, struct{}]

// channel counts the data of a channel.
type channel struct {
	x        dissect.Exchange
	peer     string // empty if its ChannelBind was not captured
	messages int64
	bytes    int64
}

const channelCost = int(unsafe.Sizeof(channel{})) + 64

type conn struct {
	byid.Pairs[key, *Row, struct{}]
	channels map[uint16]*channel
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{channels: map[uint16]*channel{}}
	k.Start(c, wait, fill)
	return k
}

// Settled implements dissect.Settler.
func (k *conn) Settled() bool { return len(k.channels) == 0 && k.Pairs.Settled() }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < 4 { // also at the end
		return 0, nil
	}
	size, relayed := channelSize(b)
	padded := (size + 3) &^ 3
	if !relayed {
		size = headSize + int(binary.BigEndian.Uint16(b[2:]))
		padded = size
	}
	if !in.Datagram && len(b) < padded {
		k.Conn.Need(in.Dir, padded)
		return 0, nil
	}
	b = b[:min(padded, len(b))]
	if relayed {
		if len(b) < size || k.channels[binary.BigEndian.Uint16(b)] == nil && k.Conn.Unproved() {
			return 0, fmt.Errorf("reading a message of a channel: %d bytes of %d", len(b), size)
		}
		k.data(in, len(b), int64(size-4))
		return len(b), nil
	}
	m, ok := parse(b)
	if !ok {
		return 0, fmt.Errorf("reading a message: %d bytes that begin with 0x%04x are not one", len(b), binary.BigEndian.Uint16(b))
	}
	if m.class == request || m.class == indication {
		k.request(in, &m, b)
	} else {
		k.response(in, &m, b)
	}
	return len(b), nil
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

func (k *conn) anomaly(odd string) {
	if odd != "" {
		k.Conn.Anomaly("fingerprint", odd, 0)
	}
}

// request begins a call, or is an indication.
func (k *conn) request(in *dissect.Input, m *message, b []byte) {
	row := &Row{Transaction: table.Some(m.id.String()), Indication: m.class == indication}
	row.Method = table.Some(m.name())
	k.anomaly(row.read(m, b))
	if row.signed {
		row.AuthKind = table.Some("short_term")
		if row.Realm.OK {
			row.AuthKind = table.Some("long_term")
		}
	}
	c := k.Request(in, len(b), row)
	m.hide(in, &c.X)
	if row.Indication {
		k.End(c, "")
		return
	}
	id := key{in.Dir, m.id}
	if old, again := k.Get(id); again {
		row.Attempt = table.Some(max(old.Row.Attempt.V, 1) + 1)
	}
	k.Await(id, c, len(b))
}

// response ends a call.
func (k *conn) response(in *dissect.Input, m *message, b []byte) {
	c, _ := k.Take(key{in.Dir.Other(), m.id})
	row := &Row{Transaction: table.Some(m.id.String())}
	row.Method = table.Some(m.name())
	c = k.Response(in, len(b), c, row)
	m.hide(in, &c.X)
	row = c.Row
	k.anomaly(row.read(m, b))
	if m.class == failure {
		row.Outcome = outcome(row.StatusCode.V, row.signed)
	}
	if m.class == success && m.method == methodChannelBind && row.Channel.OK && len(row.Peers) > 0 {
		k.bind(uint16(row.Channel.V), row.Peers[0], in.Dir)
	}
	k.End(c, "")
}

// outcome is the outcome of an error code. A server refuses the first request of a client to send it the realm and a
// nonce (RFC 8489 section 9.2), and later ones to send a new nonce or another server.
func outcome(code int32, signed bool) string {
	switch {
	case code == 401 && !signed, code == 438, code == 300:
		return table.OK
	case code == 401, code == 403, code == 486, code == 508:
		return table.Refused
	case code >= 500:
		return table.ServerError
	}
	return table.ClientError
}

// bind begins a channel. A channel has one peer for as long as it is bound. answered is the direction of the
// response: to the client.
func (k *conn) bind(number uint16, peer string, answered dissect.Dir) {
	old := k.channels[number]
	if old != nil && old.peer == peer {
		return
	}
	k.endChannel(number, "")
	if len(k.channels) < maxChannels {
		k.channels[number] = &channel{peer: peer, x: dissect.Exchange{Reversed: answered == dissect.ToServer}}
	}
}

// data counts a message of a channel.
func (k *conn) data(in *dissect.Input, n int, bytes int64) {
	number := binary.BigEndian.Uint16(in.Data)
	c := k.channels[number]
	if c == nil { // it was bound before the capture
		if len(k.channels) >= maxChannels {
			return
		}
		c = &channel{}
		k.channels[number] = c
	}
	c.x.AddTo((in.Dir == dissect.ToClient) != c.x.Reversed, in, 0, n)
	c.messages++
	c.bytes += bytes
}

// endChannel emits the row of a channel, if it had data. why is the value of column error.
func (k *conn) endChannel(number uint16, why string) {
	c := k.channels[number]
	if c == nil {
		return
	}
	delete(k.channels, number)
	if c.messages == 0 {
		return
	}
	row := &Row{Channel: table.Some(int32(number)), Data: table.Some(c.bytes), Messages: table.Some(c.messages)}
	if c.peer != "" {
		row.Peers = []string{c.peer}
	}
	row.Method, row.Outcome = table.Some("ChannelData"), table.OK
	row.Error = table.NonEmpty(why) // never complete: nothing shows that all messages were captured
	row.Summary = fmt.Sprintf("ChannelData 0x%04x %s → %s, %d bytes", number, cmp.Or(c.peer, "?"), clip.Count(c.messages, "message", "messages"), c.bytes)
	k.Conn.Emit(&c.x, row)
}

// numbers are those of the channels, in order.
func (k *conn) numbers() (list []uint16) {
	for n := range k.channels {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return k.Pairs.Kept() + len(k.channels)*channelCost }

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.Pairs.Shed() {
		return true
	}
	for _, n := range k.numbers() {
		k.endChannel(n, "cut")
		return true
	}
	return false
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.Pairs.Close(why)
	word := ""
	if why == dissect.EndEvicted {
		word = "cut"
	}
	for _, n := range k.numbers() {
		k.endChannel(n, word)
	}
}

// fill implements byid.Pairs.
func fill(c *call, why string) {
	row := c.Row
	s := row.Method.V
	if len(row.Peers) > 0 {
		s += " " + row.Peers[0]
	}
	if row.Nominated {
		s += " nominated"
	}
	answer := ""
	switch {
	case row.StatusCode.OK:
		answer = fmt.Sprintf("%d %s", row.StatusCode.V, row.StatusText.V)
	case row.Relayed.OK:
		answer = row.Relayed.V
	case row.Mapped.OK:
		answer = row.Mapped.V
	case why != "":
		answer = why
	case row.Indication && row.Data.OK:
		answer = clip.Count(row.Data.V, "byte", "bytes")
	case !row.Indication:
		answer = "ok"
	}
	if answer != "" {
		s += " → " + answer
	}
	row.Summary = clip.Line([]byte(s), maxSummary)
}
