// Package radius reads RADIUS over UDP: authentication (RFC 2865), accounting (RFC 2866) and dynamic
// authorization (RFC 5176).
//
// A row is a request with its response, paired by the identifier. Passwords, challenges, keys and the
// content of EAP are in no column: of an attribute that no column names, only its name is kept.
package radius

import (
	_ "embed" // for names.txt
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a request with its response. The response's values complete the request's.
type Row struct {
	table.Call
	Code           int32             `col:"radius_code" doc:"code of the request, of the response if only that was captured; the response's is status_code"`
	Type           string            `col:"radius_code_name" enc:"dict" doc:"request, such as Access-Request, Accounting-Request or CoA-Request; the response if only that was captured"`
	ResponseType   table.Opt[string] `col:"radius_response_code_name" enc:"dict" doc:"response, such as Access-Accept, Access-Reject or Access-Challenge"`
	Identifier     int32             `col:"radius_identifier" doc:"number that pairs request and response"`
	User           table.Opt[string] `col:"radius_user" enc:"bloom" doc:"User-Name, of the request if it has one; at most 253 bytes"`
	NAS            table.Opt[string] `col:"radius_nas" enc:"dict" doc:"access server: NAS-Identifier, else NAS-IP-Address or NAS-IPv6-Address"`
	NASAddress     table.Opt[string] `col:"radius_nas_address" enc:"dict" doc:"NAS-IP-Address, else NAS-IPv6-Address"`
	NASPort        table.Opt[int64]  `col:"radius_nas_port" doc:"NAS-Port"`
	NASPortType    table.Opt[string] `col:"radius_nas_port_type" enc:"dict" doc:"NAS-Port-Type, such as Ethernet or Wireless-802.11"`
	Called         table.Opt[string] `col:"radius_called" enc:"dict" doc:"Called-Station-Id: what the user dialled or connected to, such as the address of an access point with its SSID"`
	Calling        table.Opt[string] `col:"radius_calling" enc:"bloom" doc:"Calling-Station-Id: origin of the user, such as the hardware address of the device"`
	ServiceType    table.Opt[string] `col:"radius_service_type" enc:"dict" doc:"Service-Type of the response, else of the request"`
	FramedIP       table.Opt[string] `col:"radius_framed_ip" doc:"Framed-IP-Address: the user's address"`
	EAP            table.Opt[string] `col:"radius_eap" enc:"dict" doc:"method of EAP in the request, else in the response, such as identity, md5, peap or tls"`
	EAPResult      table.Opt[string] `col:"radius_eap_result" enc:"dict" doc:"success or failure, if the response ends EAP"`
	Acct           table.Opt[string] `col:"radius_acct_status" enc:"dict" doc:"Acct-Status-Type: Start, Stop, Interim-Update, …"`
	Session        table.Opt[string] `col:"radius_acct_session" enc:"bloom" doc:"Acct-Session-Id"`
	SessionSeconds table.Opt[int64]  `col:"radius_acct_session_s" unit:"s" doc:"Acct-Session-Time: how long the session has lasted"`
	Input          table.Opt[int64]  `col:"radius_acct_input_bytes" unit:"bytes" doc:"bytes from the user, Acct-Input-Octets with its gigawords"`
	Output         table.Opt[int64]  `col:"radius_acct_output_bytes" unit:"bytes" doc:"bytes to the user, Acct-Output-Octets with its gigawords"`
	Terminated     table.Opt[string] `col:"radius_acct_terminate_cause" enc:"dict" doc:"Acct-Terminate-Cause, such as User-Request"`
	Timeout        table.Opt[int64]  `col:"radius_session_timeout_s" unit:"s" doc:"Session-Timeout"`
	Message        table.Opt[string] `col:"radius_message" doc:"Reply-Message; at most 1 KiB"`
	ErrorCause     table.Opt[string] `col:"radius_error_cause" enc:"dict" doc:"Error-Cause of a response, such as Session-Context-Not-Found"`
	Authenticated  table.Opt[bool]   `col:"radius_message_authenticator" doc:"whether the request has a Message-Authenticator"`
	Answered       table.Opt[bool]   `col:"radius_response_message_authenticator" doc:"whether the response has a Message-Authenticator; without it, an Access-Request can be answered by anybody on the path (CVE-2024-3596)"`
	Attributes     []string          `col:"radius_attributes" doc:"attributes of the request in order; at most 128"`
	Response       []string          `col:"radius_response_attributes" doc:"attributes of the response in order; at most 128"`
}

// Protocol is RADIUS.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "radius",
		Doc:          "RADIUS: authentication, accounting and dynamic authorization",
		Versions:     "RFC 2865, 2866, 5176",
		Depth:        "requests with responses, users, addresses, sessions, EAP types; passwords are not kept",
		Transports:   []dissect.Transport{dissect.UDP},
		Ports:        []uint16{1812, 1813, 1645, 1646, 3799, 1700},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		New:          newConn,
		Row:          &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// wait is how long, in ns, a request may be answered.
const wait = int64(60e9)

// call is a request with its response; its note is the authenticator of the request.
type call = byid.Call[*Row, [16]byte]

// key identifies a request.
type key struct {
	dir dissect.Dir
	id  uint8
}

type conn struct {
	byid.Pairs[key, *Row, [16]byte]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 { // the end
		return 0, nil
	}
	m, err := parse(in.Data)
	if err != nil {
		return 0, err
	}
	if m.odd != "" {
		k.Conn.Anomaly("malformed", m.odd, 0)
	}
	if answers[m.code] == nil {
		k.response(in, &m)
	} else {
		k.request(in, &m)
	}
	return m.size, nil
}

// request begins a call. A request with the identifier and the authenticator of one that waits is the
// same one, sent again.
func (k *conn) request(in *dissect.Input, m *message) {
	c := k.Request(in, m.size, m.row)
	m.hide(in, &c.X)
	c.Note = m.authenticator
	m.row.Code, m.row.Type, m.row.Attributes = int32(m.code), m.name(), m.attributes
	m.row.Authenticated, m.row.AuthKind = table.Some(m.signed), m.auth
	id := key{in.Dir, m.id}
	if old, ok := k.Get(id); ok && old.Note == m.authenticator {
		m.row.Attempt = table.Some(max(old.Row.Attempt.V, 1) + 1)
	}
	k.Await(id, c, 2*maxMessage)
}

func (k *conn) response(in *dissect.Input, m *message) {
	id := key{in.Dir.Other(), m.id}
	c, ok := k.Get(id)
	if ok && fits(uint8(c.Row.Code), m.code) {
		k.Take(id)
		c.Row.merge(m.row)
	} else {
		c = nil
		m.row.Code, m.row.Type = int32(m.code), m.name()
	}
	c = k.Response(in, m.size, c, m.row)
	m.hide(in, &c.X)
	row := c.Row
	row.ResponseType, row.Response, row.Answered = table.Some(m.name()), m.attributes, table.Some(m.signed)
	row.StatusCode, row.StatusText = table.Some(int32(m.code)), row.ResponseType
	switch m.code {
	case accessReject:
		row.Outcome = table.Refused
	case disconnectNAK, coaNAK:
		row.Outcome = table.ClientError
		if m.cause >= 500 {
			row.Outcome = table.ServerError
		}
		if m.cause == 501 { // Administratively-Prohibited
			row.Outcome = table.Refused
		}
		if row.ErrorCause.OK {
			row.StatusText = row.ErrorCause
		}
	}
	k.End(c, "")
}

// merge adds the fields of the response.
func (r *Row) merge(s *Row) {
	for _, p := range [...]struct {
		to, from *table.Opt[string]
		prefer   bool // the response's value
	}{{&r.User, &s.User, false}, {&r.ServiceType, &s.ServiceType, true}, {&r.FramedIP, &s.FramedIP, true}, {&r.EAP, &s.EAP, false}, {&r.EAPResult, &s.EAPResult, true},
		{&r.Message, &s.Message, true}, {&r.ErrorCause, &s.ErrorCause, true}, {&r.Session, &s.Session, false}, {&r.NAS, &s.NAS, false}, {&r.NASAddress, &s.NASAddress, false}} {
		if p.from.OK && (p.prefer || !p.to.OK) {
			*p.to = *p.from
		}
	}
	if s.Timeout.OK {
		r.Timeout = s.Timeout
	}
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.Some(row.Type)
	row.Summary = summary(row, c.X.HasRequest(), why)
}

func summary(row *Row, asked bool, why string) string {
	s := row.Type
	for _, part := range []string{row.Acct.V, row.User.V, row.AuthKind.V} {
		if part != "" {
			s += " " + part
		}
	}
	if row.EAP.OK {
		s += "/" + row.EAP.V
	}
	if row.NAS.OK {
		s += fmt.Sprintf(" from %s", row.NAS.V)
	}
	switch {
	case row.ResponseType.OK && asked:
		s += " → " + row.ResponseType.V
		if row.ErrorCause.OK {
			s += " " + row.ErrorCause.V
		}
		if row.Message.OK {
			s += ": " + row.Message.V
		}
	default:
		s += " → " + why
	}
	return clipLine(s)
}
