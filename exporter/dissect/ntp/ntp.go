// Package ntp reads the Network Time Protocol, versions 1 to 4 (RFC 1059, 1119, 1305, 5905), with its
// control messages (RFC 9327) and the private messages of ntpd.
//
// A row is a request with its response, paired by the time stamp or sequence number that the response
// repeats, or one broadcast. Keys and digests are not kept.
package ntp

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a request with its response, or a broadcast. The columns from stratum on are the response's,
// if there is one.
type Row struct {
	table.Call
	Version        int32             `col:"ntp_version" doc:"version, 1 to 4"`
	Mode           string            `col:"ntp_mode" enc:"dict" doc:"mode of the request or the broadcast: client, symmetric_active, broadcast, control or private; server or symmetric_passive if only the response was captured"`
	ResponseMode   table.Opt[string] `col:"ntp_response_mode" enc:"dict" doc:"mode of the response"`
	Leap           table.Opt[string] `col:"ntp_leap" enc:"dict" doc:"leap indicator: none, add, delete or unsynchronized"`
	Stratum        table.Opt[int32]  `col:"ntp_stratum" doc:"stratum: 1 for a server with a reference clock, 16 or 0 for one that is not synchronized"`
	Reference      table.Opt[string] `col:"ntp_reference" enc:"dict" doc:"reference: of stratum 1 the kind of clock, such as GPS, else an IPv4 address, or of IPv6 a hash that looks like one"`
	Kiss           table.Opt[string] `col:"ntp_kiss" enc:"dict" doc:"kiss code, such as RATE or DENY (RFC 5905 section 7.4)"`
	Poll           table.Opt[int32]  `col:"ntp_poll" doc:"poll interval as a power of 2, in seconds"`
	Precision      table.Opt[int32]  `col:"ntp_precision" doc:"precision of the clock as a power of 2, in seconds"`
	RootDelay      table.Opt[int64]  `col:"ntp_root_delay_us" unit:"us" doc:"delay to the reference clock"`
	RootDispersion table.Opt[int64]  `col:"ntp_root_dispersion_us" unit:"us" doc:"largest error relative to the reference clock"`
	Offset         table.Opt[int64]  `col:"ntp_offset_us" unit:"us" doc:"server's clock minus the clock of the capture: the mean of both directions, with the times of the packets"`
	Server         table.Opt[int64]  `col:"ntp_server_us" unit:"us" doc:"time from receiving the request to sending the response, as the server states it"`
	KeyID          table.Opt[int64]  `col:"ntp_key_id" doc:"number of the key that authenticates the request, else the response"`
	Extensions     []string          `col:"ntp_extensions" doc:"types of the extension fields, the request's first, such as 0x0104 (NTS)"`
	Operation      table.Opt[string] `col:"ntp_operation" enc:"dict" doc:"operation of a control message, such as read_variables; request of a private one, such as monlist"`
	Status         table.Opt[int32]  `col:"ntp_error" doc:"error code of a control or private message"`
}

// Protocol is NTP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ntp",
		Doc:        "Network Time Protocol, with the offset of the server's clock",
		Versions:   "1 to 4",
		Depth:      "times of both sides with offset and delay, control messages; of private messages the heads",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{123},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

// wait is how long, in ns, a request may be answered.
const wait = int64(30e9)

type call = byid.Call[*Row, struct{}]

// key identifies a request.
type key struct {
	dir  dissect.Dir
	mode uint8
	id   uint64
}

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	if len(b) < 8 {
		return 0, fmt.Errorf("reading a message: %d bytes, the shortest one has 8", len(b))
	}
	switch mode := b[0] & 7; mode {
	case modeControl:
		return k.control(in)
	case modePrivate:
		return k.private(in)
	default:
		m, ok := parse(b)
		if !ok {
			return 0, fmt.Errorf("reading a message: version %d, mode %d and %d bytes are no message of NTP", b[0]>>3&7, mode, len(b))
		}
		k.time(in, &m)
		return m.end, nil
	}
}

func newRow(in *dissect.Input, mode uint8) *Row {
	return &Row{Version: int32(in.Data[0] >> 3 & 7), Mode: modes[mode]}
}

// begin begins a call with a request.
func (k *conn) begin(in *dissect.Input, n int, mode uint8) *call {
	return k.Request(in, n, newRow(in, mode))
}

// answer finds the request of a response. If it was not captured, the response is a separate call.
func (k *conn) answer(in *dissect.Input, n int, mode uint8, id key) *call {
	c, _ := k.Take(id)
	c = k.Response(in, n, c, newRow(in, mode))
	c.Row.ResponseMode = table.Some(modes[mode])
	return c
}

// time handles a message with time stamps.
func (k *conn) time(in *dissect.Input, m *message) {
	switch m.mode {
	case modeBroadcast:
		c := k.begin(in, m.end, m.mode)
		c.Row.read(m)
		k.End(c, "")
		return
	case modeServer, modePassive:
		k.answered(in, m, k.answer(in, m.end, m.mode, key{in.Dir.Other(), m.mode - 1, m.origin}))
		return
	case modeActive:
		if c, ok := k.Take(key{in.Dir.Other(), m.mode, m.origin}); ok {
			c.X.Response(in, 0, m.end)
			c.Row.ResponseMode = table.Some(modes[m.mode])
			k.answered(in, m, c)
			return
		}
	}
	c := k.begin(in, m.end, m.mode)
	c.Row.read(m)
	k.Await(key{in.Dir, m.mode, m.transmit}, c, 0)
}

// answered ends a call with a response.
func (k *conn) answered(in *dissect.Input, m *message, c *call) {
	c.Row.read(m)
	measure(k.Conn, c, in.Instant(0), m)
	k.End(c, "")
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.Some(row.Mode)
	if row.Operation.OK {
		row.Method = row.Operation
	}
	if c.X.HasResponse() {
		row.judge()
	}
	row.Summary = row.summary(c.X.HasResponse(), why)
}
