// Package sctp reads SCTP (RFC 9260): associations, and the user messages in them as other
// protocols.
//
// A row is an association. The user messages of a direction are read in the order of their
// transmission sequence numbers as one stream of bytes, regardless of their SCTP stream, because an
// answer may come on another stream than its request. A packet counts only with the verification
// tag that its receiver chose and, if it was captured completely, with the right checksum.
package sctp

import (
	_ "embed" // for names.txt

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is an association.
type Row struct {
	table.Call
	ClientTag       table.Opt[int64]  `col:"sctp_client_tag" doc:"verification tag that the client chose; packets of the server carry it"`
	ServerTag       table.Opt[int64]  `col:"sctp_server_tag" doc:"verification tag that the server chose; packets of the client carry it"`
	ClientStreams   table.Opt[int32]  `col:"sctp_client_streams" doc:"streams from the client: the number that it requests, limited by what the server allows"`
	ServerStreams   table.Opt[int32]  `col:"sctp_server_streams" doc:"streams from the server: the number that it requests, limited by what the client allows"`
	ClientAddresses []string          `col:"sctp_client_addresses" doc:"addresses that the client lists in INIT; at most 32"`
	ServerAddresses []string          `col:"sctp_server_addresses" doc:"addresses that the server lists in INIT ACK; at most 32"`
	Payloads        []string          `col:"sctp_payloads" doc:"payload protocol identifiers of the user messages by IANA's names, such as m3ua or diameter, in the order of the first; at most 16"`
	ClientMessages  int64             `col:"sctp_client_messages" doc:"user messages of the client, each once"`
	ServerMessages  int64             `col:"sctp_server_messages" doc:"user messages of the server, each once"`
	ClientBytes     int64             `col:"sctp_client_message_bytes" unit:"bytes" doc:"bytes of the client's user messages, each once"`
	ServerBytes     int64             `col:"sctp_server_message_bytes" unit:"bytes" doc:"bytes of the server's user messages, each once"`
	Repeated        int64             `col:"sctp_retransmissions" doc:"DATA chunks that were sent again"`
	Lost            int64             `col:"sctp_lost_chunks" doc:"DATA chunks that were not captured although later ones were"`
	Abandoned       int64             `col:"sctp_abandoned_chunks" doc:"DATA chunks that their sender gave up (FORWARD TSN, RFC 3758), as far as they were not captured"`
	Heartbeats      int64             `col:"sctp_heartbeats" doc:"HEARTBEAT chunks of both sides"`
	Midstream       bool              `col:"sctp_midstream" doc:"the association began before the capture, or on another path"`
	Close           table.Opt[string] `col:"sctp_close" enc:"dict" doc:"how the association ended: shutdown, abort or restart (a new one between the same ports); null if its end was not captured"`
	CloseBy         table.Opt[string] `col:"sctp_close_by" enc:"dict" doc:"side that ended it first: client or server"`
	Cause           table.Opt[string] `col:"sctp_cause" enc:"dict" doc:"first cause that an ABORT or ERROR chunk states"`
}

// Protocol is SCTP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "sctp",
		Doc:        "SCTP associations; what they carry are rows of other protocols",
		Versions:   "RFC 9260",
		Depth:      "handshakes, ends, losses; user messages are read as other protocols",
		Transports: []dissect.Transport{dissect.SCTP},
		Detect:     detect,
		New:        func(c *dissect.Conn) dissect.Dissector { return &conn{c: c, now: newAssociation(c)} },
		Row:        &Row{},
		Traits:     table.Traits{Carrier: true},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// conn is the state of two ports between two addresses: an association, and the next one while its
// handshake does not prove it.
type conn struct {
	c    *dissect.Conn
	now  *association
	next *association // nil if there is none
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 { // the end
		return 0, nil
	}
	p, err := parse(in)
	if err != nil {
		return 0, err
	}
	if k.now.refuses(in, p) {
		return len(in.Data), nil
	}
	first := p.chunks[0].kind
	if k.now.over {
		if first != chunkInit && first != chunkData { // the last packets again
			return len(in.Data), nil
		}
		k.now = newAssociation(k.c)
	}
	switch {
	case first == chunkInit && k.now.open && !k.now.repeats(in.Dir, p):
		k.next = newAssociation(k.c)
		k.next.read(in, p)
		return len(in.Data), nil
	case k.next != nil && k.next.tagged(in.Dir, p) && !k.now.tagged(in.Dir, p):
		if first == chunkCookieEcho { // a cookie proves the restart, RFC 9260 section 5.2.4
			k.now.row.Close, k.now.row.CloseBy = table.Some("restart"), table.Some(in.Dir.Sender())
			k.now.end(dissect.EndReuse)
			k.now, k.next = k.next, nil
			break
		}
		k.next.read(in, p)
		return len(in.Data), nil
	}
	k.now.read(in, p)
	return len(in.Data), nil
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// Resync implements dissect.Dissector: each packet is read by itself.
func (k *conn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.now.kept()
	if k.next != nil {
		n += k.next.kept()
	}
	return n
}

// Shed implements dissect.Dissector: chunks that wait behind a loss are read without the missing
// ones.
func (k *conn) Shed() bool { return k.now.shed() }

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.now.end(why)
	if k.next != nil {
		k.next.end(why)
	}
}
