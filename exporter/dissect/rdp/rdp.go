// Package rdp reads how connections of the Remote Desktop Protocol begin [MS-RDPBCGR]: the X.224
// connection request with its cookie, in TPKT (RFC 1006, RFC 2126), the security that both sides
// choose, and the client's name in the MCS connect that follows.
//
// A row is a connection request with its confirm, or an MCS connect. If TLS follows, it is read as
// TLS. Bytes after an MCS connect are counted and not cited.
package rdp

import (
	_ "embed" // names.txt
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

//go:embed names.txt
var namesText string

var tables = names.Lazy(namesText)

// Row is a connection request with its confirm, or an MCS connect.
type Row struct {
	table.Call
	User        table.Opt[string] `col:"rdp_user" enc:"dict" doc:"cookie mstshash of the request: the user's name, which clients cut to 9 characters; not proven"`
	Token       table.Opt[string] `col:"rdp_routing_token" doc:"cookie msts of the request: the server that a load balancer must choose"`
	Requested   []string          `col:"rdp_requested" doc:"security that the client offers: tls, credssp (with NLA), credssp-ex, rdstls, rdsaad; rdp alone is RDP's own security; null if the request has no negotiation"`
	Selected    table.Opt[string] `col:"rdp_selected" enc:"dict" doc:"security that the server chose; rdp if it does not negotiate"`
	Restricted  bool              `col:"rdp_restricted_admin" doc:"the client requires a login without credentials on the server (restricted administration or remote guard)"`
	ClientName  table.Opt[string] `col:"rdp_client_name" enc:"dict" doc:"name of the client's machine in MCS connect"`
	Version     table.Opt[string] `col:"rdp_client_version" enc:"dict" doc:"version of RDP of the client, such as 10.7"`
	Build       table.Opt[int64]  `col:"rdp_client_build" doc:"build number of the client"`
	Keyboard    table.Opt[int64]  `col:"rdp_keyboard_layout" doc:"input locale of the client, such as 1033 (English, United States)"`
	Desktop     table.Opt[string] `col:"rdp_desktop" doc:"width and height of the client's desktop, such as 1920x1080"`
	ClientBytes int64             `col:"rdp_client_bytes" unit:"bytes" doc:"bytes of the client after its MCS connect; not in request_bytes and not cited"`
	ServerBytes int64             `col:"rdp_server_bytes" unit:"bytes" doc:"bytes of the server after its MCS connect; not in response_bytes and not cited"`
}

// Protocol is RDP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "rdp",
		Doc:          "Remote Desktop Protocol: connection requests, chosen security, the client's name",
		Versions:     "4.0 to 10.12",
		Depth:        "X.224 connection request and confirm, MCS connect; TLS after them is read as TLS",
		Transports:   []dissect.Transport{dissect.TCP},
		Ports:        []uint16{3389},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		New:          newConn,
		Row:          &Row{},
		Traits:       table.Traits{Encrypts: true},
	}
}

// Headers.
const (
	tpktSize  = 4
	dataSize  = 3          // of an X.224 data unit
	mcsSize   = 7          // TPKT and X.224 before MCS
	maxCookie = 255        // bytes of an X.224 header, whose length is one byte
	request   = 0xe0       // X.224 connection request
	confirm   = 0xd0       // X.224 connection confirm
	maxMCS    = 1<<16 - 1  // bytes of a TPKT
	mcsTags   = "\x65\x66" // of Connect-Initial and Connect-Response, after 0x7f
	dataHead  = "\x02\xf0\x80"
)

// phase is the next expected message of a connection.
type phase uint8

const (
	phaseRequest phase = iota
	phaseMCS
	phaseSession // only counted
)

// conn is the state of a connection.
type conn struct {
	c        *dissect.Conn
	phase    phase
	row      *Row // that waits; nil if none does
	x        dissect.Exchange
	answered bool   // of an MCS connect
	why      string // of a loss
	bytes    [2]int64
}

const connCost = int(unsafe.Sizeof(conn{})+unsafe.Sizeof(Row{})) + 4*maxCookie

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c} }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	if k.phase == phaseSession {
		k.bytes[in.Dir] += int64(len(b))
		return len(b), nil
	}
	if len(b) < mcsSize {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b[0] != 3 || n < mcsSize {
		return 0, fmt.Errorf("reading a TPKT: version %d with %d bytes", b[0], n)
	}
	if len(b) < n {
		k.c.Need(in.Dir, n)
		return 0, nil
	}
	b = b[:n]
	switch {
	case b[5]&0xf0 == request && in.Dir == dissect.ToServer && k.phase == phaseRequest && k.row == nil:
		q, err := parseRequest(b)
		if err != nil {
			return 0, err
		}
		k.row = q.row()
		k.x.Request(in, 0, n)
	case b[5]&0xf0 == confirm && in.Dir == dissect.ToClient && k.phase == phaseRequest:
		return k.confirmed(in, b)
	case string(b[4:7]) == dataHead:
		return k.mcs(in, b)
	default:
		return 0, fmt.Errorf("reading a TPKT: X.224 type 0x%02x is not expected from the %s", b[5], in.Dir.Sender())
	}
	return n, nil
}

// confirmed reads the server's confirm, which ends the first row.
func (k *conn) confirmed(in *dissect.Input, b []byte) (int, error) {
	kind, code, err := parseConfirm(b)
	if err != nil {
		return 0, err
	}
	if k.row == nil {
		k.row = &Row{}
		k.row.Method = table.Some("CONNECT")
	}
	k.x.Response(in, 0, len(b))
	t, row := tables(), k.row
	if kind == negFailure {
		row.StatusCode, row.StatusText = table.Some(int32(code)), table.Some(t["failures"].Name(int64(code), "failure_"))
		row.Outcome = table.Refused
		k.emit("")
		k.phase = phaseMCS
		return len(b), nil
	}
	row.Selected = table.Some(t["protocols"].Name(int64(code), "protocol_"))
	k.emit("")
	if k.phase = phaseMCS; code != 0 {
		k.c.Upgrade("tls", nil)
	}
	return len(b), nil
}

// mcs reads Connect-Initial or Connect-Response, ITU-T T.125 section 7. The row waits for the end of the
// connection.
func (k *conn) mcs(in *dissect.Input, b []byte) (int, error) {
	m := b[mcsSize:]
	if len(m) < 2 || m[0] != 0x7f || m[1] != mcsTags[in.Dir] || k.phase == phaseRequest && k.row != nil {
		return 0, fmt.Errorf("reading MCS: expected a connect of the %s, got %d bytes that begin with %x", in.Dir.Sender(), len(m), m[:min(len(m), 2)])
	}
	if k.phase == phaseRequest {
		k.phase = phaseMCS // inside TLS, or the beginning was not captured
	}
	if k.row == nil {
		k.row = &Row{}
		k.row.Method = table.Some("MCS_CONNECT")
	}
	if in.Dir == dissect.ToServer {
		if k.x.HasRequest() {
			return 0, fmt.Errorf("reading MCS: a second connect")
		}
		k.row.client(m)
		k.x.Request(in, 0, len(b))
		return len(b), nil
	}
	k.x.Response(in, 0, len(b))
	if result, ok := parseResponse(m); ok {
		k.row.StatusCode, k.row.StatusText = table.Some(int32(result)), table.Some(tables()["results"].Name(int64(result), "result_"))
		if result != 0 {
			k.row.Outcome = table.Refused
		}
	}
	k.answered, k.phase = true, phaseSession
	k.c.Confirm()
	return len(b), nil
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, _ int64) bool {
	if k.phase != phaseSession {
		return false
	}
	k.bytes[in.Dir] += int64(len(in.Data))
	k.why = string(dissect.LossGap)
	return true
}

// Resync implements dissect.Dissector: after a loss, only messages that begin a connection can be
// read.
func (k *conn) Resync(_ dissect.Dir, why dissect.Loss) {
	if !k.c.Starting() {
		k.why = string(why)
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return connCost }

// Shed implements dissect.Dissector: it emits the row, and later bytes are only counted.
func (k *conn) Shed() bool {
	if k.row == nil {
		return false
	}
	k.emit("cut")
	k.phase = phaseSession
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if k.row == nil {
		return
	}
	if k.why == "" && !k.answered {
		k.why = why.CallError()
	}
	k.emit(k.why)
}

// emit emits the row. why is empty if it ended normally.
func (k *conn) emit(why string) {
	row := k.row
	if why == "" && !k.x.HasRequest() {
		why = "no_request"
	}
	row.ClientBytes, row.ServerBytes = k.bytes[dissect.ToServer], k.bytes[dissect.ToClient]
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.summarize(why)
	k.c.Emit(&k.x, row)
	k.row, k.x = nil, dissect.Exchange{}
}

func (row *Row) summarize(why string) {
	s := row.Method.V
	for _, v := range [...]table.Opt[string]{row.User, row.Token, row.ClientName} {
		if v.OK {
			s += " " + v.V
		}
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case row.Selected.OK:
		s += " → " + row.Selected.V
	case why != "":
		s += " → " + why
	}
	row.Summary = clip.Line([]byte(s), 300)
}
