// Package diameter reads Diameter over TCP and SCTP (RFC 6733): the base protocol, and the sessions of its applications.
//
// A row is a request with its answer, paired by the hop-by-hop identifier. Either side sends requests. Passwords,
// keys and the content of EAP are in no column: of an AVP that no column names, only its name is kept.
package diameter

import (
	_ "embed" // for names.txt
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Row is a request with its answer.
type Row struct {
	table.Call
	Command          int64             `col:"diameter_command" doc:"code of the command, such as 257"`
	CommandName      string            `col:"diameter_command_name" enc:"dict" doc:"name of the command, such as Capabilities-Exchange or Credit-Control"`
	Application      int64             `col:"diameter_application" doc:"number of the application; 0 is the base protocol"`
	ApplicationName  string            `col:"diameter_application_name" enc:"dict" doc:"name of the application, such as Credit Control or 3GPP S6a"`
	HopByHop         int64             `col:"diameter_hop_by_hop" doc:"identifier that pairs request and answer"`
	EndToEnd         int64             `col:"diameter_end_to_end" doc:"identifier that stays the same through agents"`
	Session          table.Opt[string] `col:"diameter_session" enc:"bloom" doc:"Session-Id; texts have at most 255 bytes"`
	OriginHost       table.Opt[string] `col:"diameter_origin_host" enc:"dict" doc:"Origin-Host of the request"`
	OriginRealm      table.Opt[string] `col:"diameter_origin_realm" enc:"dict" doc:"Origin-Realm of the request"`
	DestinationHost  table.Opt[string] `col:"diameter_destination_host" enc:"dict" doc:"Destination-Host"`
	DestinationRealm table.Opt[string] `col:"diameter_destination_realm" enc:"dict" doc:"Destination-Realm"`
	AnswerHost       table.Opt[string] `col:"diameter_response_host" enc:"dict" doc:"Origin-Host of the answer"`
	User             table.Opt[string] `col:"diameter_user" enc:"bloom" doc:"User-Name of the request, else of the answer"`
	Subscription     table.Opt[string] `col:"diameter_subscription" enc:"bloom" doc:"last Subscription-Id-Data of the request: number or address of the subscriber"`
	Step             table.Opt[string] `col:"diameter_request_type" enc:"dict" doc:"CC-Request-Type or Accounting-Record-Type, such as INITIAL_REQUEST or START_RECORD"`
	Number           table.Opt[int64]  `col:"diameter_request_number" doc:"CC-Request-Number or Accounting-Record-Number"`
	Product          table.Opt[string] `col:"diameter_product" enc:"dict" doc:"Product-Name of the request"`
	Applications     []string          `col:"diameter_applications" doc:"applications that the request names; at most 64"`
	AnswerApps       []string          `col:"diameter_response_applications" doc:"applications that the answer names; at most 64"`
	ErrorMessage     table.Opt[string] `col:"diameter_error_message" doc:"Error-Message of the answer"`
	FailedAVP        table.Opt[string] `col:"diameter_failed_avp" enc:"dict" doc:"AVP that the answer blames"`
	AVPs             []string          `col:"diameter_avps" doc:"AVPs of the request in order, those of a vendor as vendor:code; at most 64"`
	AnswerAVPs       []string          `col:"diameter_response_avps" doc:"AVPs of the answer in order; at most 64"`
}

// Protocol is Diameter.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "diameter",
		Doc:        "Diameter: authentication, accounting and credit control",
		Versions:   "RFC 6733",
		Depth:      "commands with answers, the usual attributes of authentication, accounting and credit control",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{3868, 5868},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a request.
type key struct {
	dir dissect.Dir
	id  uint32
}

type call = byid.Call[*Row, struct{}]

const textCost = 2*maxAVPs*24 + 4<<10 // memory that the row of a request refers to

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, 0, fill)
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < headSize {
		return 0, nil
	}
	h, err := readHead(b)
	if err != nil {
		return 0, err
	}
	if len(b) < h.size {
		k.Conn.Need(in.Dir, h.size)
		return 0, nil
	}
	c := content{row: &Row{Command: h.command, CommandName: tables()["command"].Name(h.command, "command_"), Application: h.application,
		ApplicationName: tables()["application"].Name(h.application, "application_"), HopByHop: int64(h.hopByHop), EndToEnd: int64(h.endToEnd)}}
	if c.read(b[headSize:h.size], 0); c.odd != "" {
		k.Conn.Anomaly("malformed", c.odd, 0)
	}
	if h.flags&isRequest != 0 {
		k.request(in, &h, &c)
	} else {
		k.answer(in, &h, &c)
	}
	return h.size, nil
}

func (k *conn) request(in *dissect.Input, h *head, c *content) {
	q := k.Request(in, h.size, c.row)
	q.Row.AVPs, q.Row.AuthKind, q.Row.Host = c.names, c.auth, c.row.DestinationHost
	if h.flags&isRepeated != 0 {
		q.Row.Attempt = table.Some(int32(2))
	}
	k.Await(key{in.Dir, h.hopByHop}, q, textCost)
}

func (k *conn) answer(in *dissect.Input, h *head, c *content) {
	id := key{in.Dir.Other(), h.hopByHop}
	q, ok := k.Get(id)
	if ok && q.Row.Command == h.command {
		k.Take(id)
		q.Row.merge(c.row)
	} else {
		q = nil
		c.row.AnswerHost, c.row.OriginHost, c.row.OriginRealm = c.row.OriginHost, table.Opt[string]{}, table.Opt[string]{}
		c.row.AnswerApps, c.row.Applications = c.row.Applications, nil
	}
	q = k.Response(in, h.size, q, c.row)
	q.Row.AnswerAVPs = c.names
	q.Row.judge(c)
	k.End(q, "")
}

// merge adds the fields of the answer.
func (r *Row) merge(a *Row) {
	r.AnswerHost, r.ErrorMessage, r.FailedAVP, r.AnswerApps = a.OriginHost, a.ErrorMessage, a.FailedAVP, a.Applications
	for _, p := range [...][2]*table.Opt[string]{{&r.User, &a.User}, {&r.Session, &a.Session}, {&r.Step, &a.Step}} {
		if !p[0].OK {
			*p[0] = *p[1]
		}
	}
	if !r.Number.OK {
		r.Number = a.Number
	}
}

// judge sets the result of an answer, RFC 6733 section 7.1.
func (r *Row) judge(c *content) {
	n := c.result.V
	if !c.result.OK || n > 1<<31-1 {
		return
	}
	r.StatusCode = table.Some(int32(n))
	r.StatusText = table.Some(tables()["result"].Name(n, "result_"))
	if c.vendor {
		r.StatusText = table.Some(fmt.Sprintf("experimental_%d", n))
	}
	switch {
	case n < 3000:
	case !c.vendor && tables()["refused"][n] != "":
		r.Outcome = table.Refused
	case !c.vendor && tables()["server"][n] != "":
		r.Outcome = table.ServerError
	default:
		r.Outcome = table.ClientError
	}
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.Some(row.CommandName)
	s := row.CommandName
	for _, part := range [...]string{row.Step.V, row.User.V, row.DestinationRealm.V} {
		if part != "" {
			s += " " + part
		}
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case why != "":
		s += " → " + why
	}
	row.Summary = clip.Line([]byte(s), 300)
}
