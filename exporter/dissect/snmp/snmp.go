// Package snmp reads SNMP versions 1, 2c and 3 (RFC 1157, 3416, 3412) over UDP.
//
// A row is a request with its response, or one trap. Requests of versions 1 and 2c are paired by
// the request id, those of version 3 by the message id. Communities are passwords: no column has
// one, except well-known ones. Of an encrypted message, only the header is read.
package snmp

import (
	_ "embed" // for names.txt

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a request with its response, or a trap.
type Row struct {
	table.Call
	Version        string            `col:"snmp_version" enc:"dict" doc:"1, 2c or 3"`
	PDU            string            `col:"snmp_pdu" enc:"dict" doc:"kind of the request, such as GetRequest, GetBulkRequest, SetRequest, InformRequest, Trap or SNMPv2-Trap; the response's if only that was captured; encrypted if it is"`
	ResponsePDU    table.Opt[string] `col:"snmp_response_pdu" enc:"dict" doc:"kind of the response: Response, Report or encrypted"`
	RequestID      table.Opt[int64]  `col:"snmp_request_id" doc:"request id, of version 3 only if the message is not encrypted"`
	MessageID      table.Opt[int64]  `col:"snmp_message_id" doc:"message id of version 3"`
	Community      table.Opt[string] `col:"snmp_community" enc:"dict" doc:"community of versions 1 and 2c, if everybody knows it: public, private or nothing; any other one is ***"`
	User           table.Opt[string] `col:"snmp_user" enc:"dict" doc:"user of version 3"`
	Level          table.Opt[string] `col:"snmp_security_level" enc:"dict" doc:"security of the request of version 3: noAuthNoPriv, authNoPriv or authPriv"`
	Engine         table.Opt[string] `col:"snmp_engine_id" enc:"bloom" doc:"authoritative engine of version 3 in hexadecimal, of the response if there is one"`
	Boots          table.Opt[int64]  `col:"snmp_engine_boots" doc:"how often the authoritative engine was started, as the response states it, else the request"`
	Time           table.Opt[int64]  `col:"snmp_engine_time_s" unit:"s" doc:"time since the last start of the authoritative engine, as the response states it, else the request"`
	Context        table.Opt[string] `col:"snmp_context" enc:"dict" doc:"context name of version 3"`
	ErrorStatus    table.Opt[int32]  `col:"snmp_error_status" doc:"error status of the response; its name is in status_text"`
	ErrorIndex     table.Opt[int64]  `col:"snmp_error_index" doc:"number of the variable with the error, from 1"`
	Report         table.Opt[string] `col:"snmp_report" enc:"dict" doc:"counter that a Report returns, such as usmStatsWrongDigests"`
	NonRepeaters   table.Opt[int64]  `col:"snmp_non_repeaters" doc:"of a GetBulkRequest, variables that are read once"`
	MaxRepetitions table.Opt[int64]  `col:"snmp_max_repetitions" doc:"of a GetBulkRequest, how often the other variables are read"`
	OIDs           []string          `col:"snmp_oids" doc:"names of the variables of the request, else of the response; at most 64"`
	Values         []string          `col:"snmp_values" doc:"variables with their values, as in 1.3.6.1.2.1.1.5.0 = till: of the response, else of a set, inform or trap; at most 64 of at most 256 bytes; values that are keys, passwords or communities are ***"`
	Variables      table.Opt[int64]  `col:"snmp_variables" doc:"number of variables in the response, else in the request"`
	Trap           table.Opt[string] `col:"snmp_trap" enc:"dict" doc:"notification of a trap or inform: its OID, or its name if it is a generic one, such as linkDown; an enterprise's own trap of version 1 as RFC 3584 converts it"`
	Enterprise     table.Opt[string] `col:"snmp_enterprise" enc:"dict" doc:"enterprise of a trap of version 1"`
	Agent          table.Opt[string] `col:"snmp_agent" enc:"dict" doc:"address of the agent in a trap of version 1"`
	Uptime         table.Opt[int64]  `col:"snmp_uptime_ms" unit:"ms" doc:"how long the agent has run, as a trap or inform states it"`
}

// Protocol is SNMP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "snmp",
		Doc:        "SNMP: requests with their variables, traps, users and levels of security",
		Versions:   "1, 2c, 3",
		Depth:      "requests with responses, variables, traps, users; encrypted parts are counted",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{161, 162},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// wait is how long, in ns, a request may be answered.
const wait = int64(60e9)

type call = byid.Call[*Row, struct{}]

// key identifies a request: its message id in version 3, else its request id.
type key struct {
	dir dissect.Dir
	v3  bool
	id  int64
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
	id := key{in.Dir, m.row.Version == "3", m.id}
	if m.tag == tagResponse || m.tag == tagReport || m.tag == 0 && !m.reportable && in.Dir == dissect.ToClient {
		id.dir = in.Dir.Other()
		k.response(in, &m, id)
		return m.size, nil
	}
	c := k.Request(in, m.size, m.row)
	m.hide(in, &c.X)
	m.row.request(&m)
	if m.tag == tagTrap || m.tag == tagTrap2 || m.tag == 0 && !m.reportable { // nobody answers a trap
		k.End(c, "")
		return m.size, nil
	}
	if old, ok := k.Get(id); ok && old.Row.PDU == m.row.PDU {
		m.row.Attempt = table.Some(max(old.Row.Attempt.V, 1) + 1)
	}
	k.Await(id, c, m.row.cost())
	return m.size, nil
}

// hide records the secrets of a message.
func (m *message) hide(in *dissect.Input, x *dissect.Exchange) {
	x.Hide(in, 0, 0) // there may be none
	for _, secret := range m.secrets {
		x.HidePart(in, secret)
	}
}

// request sets the kind of the request.
func (r *Row) request(m *message) {
	r.PDU = m.name()
	if m.tag != tagSet && m.tag != tagTrap && m.tag != tagTrap2 && m.tag != tagInform {
		r.Values = nil // requests have no values
	}
}

func (k *conn) response(in *dissect.Input, m *message, id key) {
	c, ok := k.Take(id)
	if ok {
		c.Row.merge(m.row)
	} else {
		m.row.PDU = m.name()
	}
	c = k.Response(in, m.size, c, m.row)
	m.hide(in, &c.X)
	c.Row.ResponsePDU = table.Some(m.name())
	k.End(c, "")
}

// merge sets the fields of the response.
func (r *Row) merge(s *Row) {
	r.ErrorStatus, r.ErrorIndex, r.Report = s.ErrorStatus, s.ErrorIndex, s.Report
	if s.Variables.OK {
		r.Variables = s.Variables
	}
	if len(s.Values) > 0 {
		r.Values = s.Values
	}
	for _, p := range [...]struct{ to, from *table.Opt[string] }{{&r.Engine, &s.Engine}, {&r.Context, &s.Context}} {
		if p.from.OK {
			*p.to = *p.from
		}
	}
	if s.Engine.OK {
		r.Boots, r.Time = s.Boots, s.Time
	}
	if !r.RequestID.OK {
		r.RequestID = s.RequestID
	}
}

// cost is the memory of the texts of a row.
func (r *Row) cost() int {
	n := len(r.User.V) + len(r.Engine.V) + len(r.Context.V)
	for _, list := range [][]string{r.OIDs, r.Values} {
		for _, s := range list {
			n += len(s) + 16
		}
	}
	return n
}
