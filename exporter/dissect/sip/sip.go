// Package sip reads SIP version 2 (RFC 3261) over UDP and TCP, with the media that SDP (RFC 8866) offers and
// answers.
//
// A row is a request with its final response and the provisional ones before it, or one ACK. They are paired by
// Call-ID, CSeq and the branch of the topmost Via. Either side sends requests. The answer to a challenge,
// passwords in URIs, keys of media and bodies are in no column.
package sip

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/media"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Row is a request with its responses.
type Row struct {
	table.Call
	URI         table.Opt[string] `col:"sip_uri" enc:"bloom" doc:"address of the request, such as sip:ann@shop.example; at most 512 bytes; a password in it is ***, as in all addresses here"`
	From        table.Opt[string] `col:"sip_from" enc:"bloom" doc:"address of the caller"`
	To          table.Opt[string] `col:"sip_to" enc:"bloom" doc:"address of the callee"`
	CallID      table.Opt[string] `col:"sip_call_id" enc:"bloom" doc:"Call-ID, which all requests of a dialog share; at most 255 bytes"`
	CSeq        table.Opt[int64]  `col:"sip_cseq" doc:"number of the request in its dialog"`
	Contact     table.Opt[string] `col:"sip_contact" doc:"address of the first Contact of the request"`
	Answered    table.Opt[string] `col:"sip_response_contact" doc:"address of the first Contact of the response"`
	Hops        table.Opt[int32]  `col:"sip_hops" doc:"number of Via in the request, else in the response"`
	Provisional []string          `col:"sip_provisional" doc:"codes of provisional responses, such as 100 and 180; the first 16"`
	Ringing     table.Opt[int64]  `col:"sip_ringing_us" unit:"us" doc:"from the first byte of the request to the first response with 180 or 183"`
	Expires     table.Opt[int64]  `col:"sip_expires_s" unit:"s" doc:"Expires of the response, else of the request"`
	User        table.Opt[string] `col:"sip_auth_user" enc:"dict" doc:"user that the request authenticates"`
	Realm       table.Opt[string] `col:"sip_auth_realm" enc:"dict" doc:"realm of the request's credentials, else of the response's challenge"`
	Agent       table.Opt[string] `col:"sip_server" enc:"dict" doc:"Server, else User-Agent, of the response"`
	Reason      table.Opt[string] `col:"sip_reason" doc:"Reason of the request, else Warning or Reason of the response"`
	Media       []string          `col:"sip_media" doc:"media of the SDP in the request: kind, address and port, transport, formats; at most 16, as in audio 192.0.2.1:49170 RTP/AVP PCMU/8000"`
	AnswerMedia []string          `col:"sip_response_media" doc:"media of the last SDP in a response; at most 16"`

	offers []media.Offer // for NameIDs
}

// Protocol is SIP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "sip",
		Doc:        "SIP: calls and registrations, with the media of SDP",
		Versions:   "2.0",
		Depth:      "requests with responses, parties, media of SDP, authentication without secrets",
		Transports: []dissect.Transport{dissect.UDP, dissect.TCP},
		Ports:      []uint16{5060, 5061},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

// Limits of a connection.
const (
	maxHead        = 64 << 10
	maxBody        = 256 << 10
	maxProvisional = 16
	wait           = int64(240e9) // ns; a phone may ring for three minutes, RFC 3261 section 16.6
)

// key identifies a transaction, RFC 3261 section 17.
type key struct {
	dir dissect.Dir
	id  [16]byte
}

// call is a request that waits for its final response, or a message without one.
type call = byid.Call[*Row, struct{}]

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	k.Steps = true // provisional responses
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	blank := len(b) - len(bytes.TrimLeft(b, "\r\n\x00"))
	if blank == len(b) {
		k.keepAlive(in)
		return len(b), nil
	}
	end := bytes.Index(b[blank:], []byte("\r\n\r\n"))
	switch {
	case blank > maxHead:
		return 0, fmt.Errorf("reading a message: %d bytes of keep-alive before it", blank)
	case end < 0 && in.Datagram: // a head without an end, as some send it
		end = len(b) - blank
	case end < 0 && len(b)-blank > maxHead:
		return 0, fmt.Errorf("reading a message: no end of the head in %d bytes", maxHead)
	case end < 0:
		return 0, check(b[blank:])
	default:
		end += 4
	}
	m, err := parse(b[blank : blank+end])
	if err != nil {
		return 0, err
	}
	at, size := blank+end, m.length
	switch rest := len(b) - at; {
	case in.Datagram && (!m.sized || size > rest):
		if m.sized {
			m.odd = fmt.Sprintf("Content-Length is %d, and %d bytes follow", size, rest)
		}
		size = rest
	case size > maxBody:
		return 0, fmt.Errorf("reading a message: Content-Length %d is greater than %d", size, maxBody)
	case rest < size:
		k.Conn.Need(in.Dir, at+size)
		return 0, nil
	}
	if m.odd != "" {
		k.Conn.Anomaly("malformed", m.odd, 0)
	}
	if m.sdp {
		m.media, m.offers = describe(b[at : at+size])
	}
	k.message(in, &m, at, at+size)
	return at + size, nil
}

// keepAlive emits bytes that only keep a connection open, RFC 5626 section 3.5.1.
func (k *conn) keepAlive(in *dissect.Input) {
	c := k.Request(in, len(in.Data), &Row{})
	c.Row.Method = table.Some("keep-alive")
	k.End(c, "")
}

// message handles a message, in.Data[:n], whose head is in.Data[:head].
func (k *conn) message(in *dissect.Input, m *message, head, n int) {
	id := key{in.Dir, m.id()}
	if m.status > 0 {
		id.dir = in.Dir.Other()
		k.response(in, m, id, head, n)
		return
	}
	if c, ok := k.Get(id); ok && !c.X.HasRequest() { // it was captured after a provisional response
		c.X.Request(in, 0, n)
		m.hide(in, &c.X, head, n)
		c.Row.asked(m)
		k.Grow(id, m.cost())
		return
	}
	c := k.Request(in, n, &Row{})
	m.hide(in, &c.X, head, n)
	c.Row.asked(m)
	if m.method == "ACK" {
		k.End(c, "")
		return
	}
	if m.unpaired {
		k.End(c, "malformed")
		return
	}
	if old, ok := k.Get(id); ok {
		c.Row.Attempt = table.Some(max(old.Row.Attempt.V, 1) + 1)
	}
	k.Await(id, c, 2<<10+m.cost())
}

func (k *conn) response(in *dissect.Input, m *message, id key, head, n int) {
	c, ok := k.Get(id)
	c = k.Response(in, n, c, &Row{})
	m.hide(in, &c.X, head, n)
	if !ok {
		c.Row.common(m)
	}
	c.Row.answered(m)
	if m.status < 200 {
		if !ok {
			k.Await(id, c, 2<<10+m.cost())
			return
		}
		if first, _ := c.X.RequestTime(); c.X.HasRequest() && (m.status == 180 || m.status == 183) && !c.Row.Ringing.OK {
			c.Row.Ringing = k.Conn.Micros(first, in.Instant(0))
		}
		k.Grow(id, m.cost())
		return
	}
	if ok {
		k.Take(id)
	}
	c.Row.StatusCode, c.Row.StatusText = table.Some(int32(m.status)), table.NonEmpty(m.reason)
	c.Row.judge(m.status)
	k.End(c, "")
}

// common sets what both messages have.
func (r *Row) common(m *message) {
	r.Method = table.Some(m.method)
	r.From, r.To, r.CallID, r.CSeq, r.Hops = m.address("from"), m.address("to"), m.text("call-id"), m.cseq, table.Some(m.hops)
}

// asked sets the fields of the request.
func (r *Row) asked(m *message) {
	r.common(m)
	r.URI, r.Contact, r.Media = table.NonEmpty(address([]byte(m.uri))), m.address("contact"), m.media
	r.offers = append(m.offers, r.offers...) // those of an earlier response, if it was captured first
	r.Host, r.UserAgent, r.RequestContentType = table.NonEmpty(host(m.uri)), m.text("user-agent"), m.text("content-type")
	r.Expires, r.Reason = m.number("expires"), m.text("reason")
	r.AuthKind, r.User, r.Realm = m.credentials("authorization")
	if !r.AuthKind.OK {
		r.AuthKind, r.User, r.Realm = m.credentials("proxy-authorization")
	}
}

// answered adds the fields of a response.
func (r *Row) answered(m *message) {
	if m.status < 200 && len(r.Provisional) < maxProvisional {
		r.Provisional = append(r.Provisional, fmt.Sprint(m.status))
	}
	if m.media != nil {
		r.AnswerMedia = m.media
		r.offers = append(r.offers[:min(len(r.offers), maxMedia*maxFormats)], m.offers...)
	}
	if c := m.address("contact"); c.OK {
		r.Answered = c
	}
	for _, p := range [...]struct {
		to   *table.Opt[string]
		from []string
	}{{&r.Agent, []string{"server", "user-agent"}}, {&r.Reason, []string{"warning", "reason"}}, {&r.ResponseContentType, []string{"content-type"}}} {
		for _, name := range p.from {
			if v := m.text(name); v.OK && (!p.to.OK || p.to != &r.Reason) {
				*p.to = v
				break
			}
		}
	}
	if n := m.number("expires"); n.OK {
		r.Expires = n
	}
	for _, name := range [...]string{"www-authenticate", "proxy-authenticate"} {
		if _, _, realm := m.credentials(name); !r.Realm.OK {
			r.Realm = realm
		}
	}
}

// judge sets the outcome of a final response. A challenge is the normal answer to a request without
// credentials, and 487 to one that was cancelled.
func (r *Row) judge(status int) {
	switch {
	case (status == 401 || status == 407) && !r.AuthKind.OK && r.URI.OK, status == 487:
	case status >= 600:
		r.Outcome = table.Refused
	case status >= 500:
		r.Outcome = table.ServerError
	case status >= 400:
		r.Outcome = table.ClientError
	}
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	s := row.Method.V
	switch {
	case row.URI.OK:
		s += " " + row.URI.V
	case row.To.OK:
		s += " " + row.To.V
	}
	switch {
	case row.StatusCode.OK:
		s += fmt.Sprintf(" → %d %s", row.StatusCode.V, row.StatusText.V)
	case len(row.Provisional) > 0:
		s += " → " + row.Provisional[len(row.Provisional)-1] + ", " + why
	case why != "":
		s += " → " + why
	}
	row.Summary = clip.Line([]byte(s), 300)
}

// id is a hash of what identifies a transaction.
func (m *message) id() (id [16]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00%s", m.fields["call-id"], m.cseq.V, m.method, m.branch)
	copy(id[:], h.Sum(nil))
	return id
}
