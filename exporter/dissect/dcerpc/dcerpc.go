// Package dcerpc reads DCE/RPC over TCP (C706 chapter 12, MS-RPCE): the remote calls of Windows and Samba.
//
// A row is a request with its response, paired by the call id, or a step in which client and server agree on
// interfaces and authentication. Arguments, which only the interface's definition explains, are counted; the return
// value at the end of a response is read. Tokens of a
// login are in no column.
package dcerpc

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/msrpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ntlm"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Row is a request with its response, or a step of the agreement.
type Row struct {
	table.Call
	Message    string            `col:"dcerpc_message" enc:"dict" doc:"bind, alter_context, auth3, request or co_cancel; the response's kind if there is no request"`
	Interface  table.Opt[string] `col:"dcerpc_interface" enc:"dict" doc:"interface, such as samr; its UUID if it has no known name"`
	Operation  table.Opt[string] `col:"dcerpc_operation" enc:"dict" doc:"operation of the interface, such as DsGetNCChanges; op_ and its number if it has no known name; null if its interface is not known"`
	Opnum      table.Opt[int32]  `col:"dcerpc_opnum" doc:"number of the operation within the interface"`
	Status     table.Opt[int64]  `col:"dcerpc_status" doc:"return value of the operation (NTSTATUS, Win32 error or HRESULT), or code of the fault; null if the operation returns none, or if it is encrypted or its kind is not known"`
	Object     table.Opt[string] `col:"dcerpc_object" enc:"bloom" doc:"UUID of the object that the request is for"`
	CallID     int64             `col:"dcerpc_call_id" doc:"number that pairs request and response"`
	Interfaces []string          `col:"dcerpc_interfaces" doc:"interfaces that a bind or alter_context names; at most 64"`
	Results    []string          `col:"dcerpc_results" doc:"the server's result for each proposed interface and encoding: acceptance, or why not; at most 64"`
	Endpoint   table.Opt[string] `col:"dcerpc_endpoint" enc:"dict" doc:"second address that the server states, mostly its port"`
	Auth       table.Opt[string] `col:"dcerpc_auth" enc:"dict" doc:"how messages are authenticated: ntlm, kerberos, negotiate, netlogon or schannel"`
	Level      table.Opt[string] `col:"dcerpc_auth_level" enc:"dict" doc:"what is protected: none, connect, call, packet, integrity or privacy (encrypted)"`
	User       table.Opt[string] `col:"dcerpc_user" enc:"dict" doc:"user of the login that protects the message, as NTLM states it"`
	Domain     table.Opt[string] `col:"dcerpc_domain" enc:"dict" doc:"domain of the user"`
	Station    table.Opt[string] `col:"dcerpc_workstation" enc:"dict" doc:"name of the client, as NTLM states it"`
	Requested  table.Opt[int64]  `col:"dcerpc_request_bytes" unit:"bytes" doc:"arguments of the request, without heads and signatures"`
	Returned   table.Opt[int64]  `col:"dcerpc_response_bytes" unit:"bytes" doc:"results of the response, without heads and signatures"`
	Fragments  table.Opt[int32]  `col:"dcerpc_fragments" doc:"messages that carried the request and the response, if one of them took several"`
}

// Protocol is DCE/RPC.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "dcerpc",
		Doc:        "DCE/RPC over TCP: remote calls of Windows and Samba",
		Versions:   "5.0, 5.1",
		Depth:      "interfaces, operations, return values, faults, authentication; arguments are counted",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{135, 593, 49152, 49153, 49154, 49155},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('BIND', 'ALTER_CONTEXT', 'AUTH3')"},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a request. A server calls its client back with ids of its own.
type key struct {
	dir dissect.Dir
	id  uint32
}

// note is what a call needs until its last fragment.
type note struct {
	fragments [2]int32 // of the request and the response
	gaps      [2]int64 // in the direction, when the first of them was read
	sent      bool     // the last fragment of the request was seen
	cut       bool     // a fragment is missing
	object    bool     // it calls a method of an object
	cancelled bool     // the client cancelled it
	tail      msrpc.Tail
	result    msrpc.Result
}

type call = byid.Call[*Row, note]

type conn struct {
	byid.Pairs[key, *Row, note]
	bound     map[uint16]string      // interfaces by context id
	logins    map[uint32]*ntlm.Login // by the id of their security context
	connected *ntlm.Login            // at level connect
	gaps      [2]int64
	kept      int // memory of both maps
}

// maxKnown is how many interfaces and logins of a connection are remembered.
const maxKnown = 64

const (
	textCost  = 2*maxList*24 + 1<<10 // memory that the row of a request refers to
	boundCost = 128                  // an entry of the maps
)

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Steps = true
	k.Start(c, 0, fill)
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return k.kept }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < headSize {
		return 0, nil
	}
	m, err := readHead(b)
	if err != nil {
		return 0, err
	}
	if len(b) < m.size {
		k.Conn.Need(in.Dir, m.size)
		return 0, nil
	}
	m.b = b[:m.size]
	m.stubEnd()
	if m.asks() {
		k.request(in, &m)
	} else {
		k.response(in, &m)
	}
	return m.size, nil
}

// request reads a message that asks, or a further fragment of it.
func (k *conn) request(in *dissect.Input, m *pdu) {
	id := key{in.Dir, m.id}
	if q, ok := k.Get(id); ok && m.flags&flagFirst == 0 && m.kind == kindRequest && q.Row.Message == "request" && !q.Note.sent {
		q.X.Request(in, 0, m.size)
		k.more(in, q, m)
		return
	}
	row := &Row{Message: m.name(), CallID: int64(m.id)}
	q := k.Request(in, m.size, row)
	k.authenticate(in, q, m)
	switch m.kind {
	case kindRequest:
		k.operation(q, m)
		k.more(in, q, m)
		if m.flags&flagMaybe != 0 && q.Note.sent {
			k.end(q)
			return
		}
	case kindBind, kindAlter:
		k.propose(row, m)
	default: // nothing answers these
		if p, ok := k.Get(id); ok && (m.kind == kindCancel || m.kind == kindOrphaned) {
			p.Note.cancelled = true
		}
		k.end(q)
		return
	}
	k.Await(id, q, textCost)
}

// more counts a fragment of the request.
func (k *conn) more(in *dissect.Input, q *call, m *pdu) {
	k.fragment(in, q, m, 0)
	q.Note.sent = q.Note.sent || m.flags&flagLast != 0
	q.Row.Requested = table.Some(q.Row.Requested.V + int64(m.stub()))
}

// fragment counts a message of a request (part 0) or a response (1), and notices if one before it is missing.
func (k *conn) fragment(in *dissect.Input, q *call, m *pdu, part int) {
	n := &q.Note
	if n.fragments[part]++; n.fragments[part] == 1 {
		n.gaps[part] = k.gaps[in.Dir]
	}
	n.cut = n.cut || (n.fragments[part] == 1) != (m.flags&flagFirst != 0) || n.gaps[part] != k.gaps[in.Dir]
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.gaps[dir]++
	k.Pairs.Resync(dir, why)
}

// response reads a message that answers, or a fragment of it.
func (k *conn) response(in *dissect.Input, m *pdu) {
	id := key{in.Dir.Other(), m.id}
	q, ok := k.Get(id)
	if !ok || !m.answers(q.Row.Message) {
		q = nil
	}
	lone := q == nil
	q = k.Response(in, m.size, q, &Row{Message: m.name(), CallID: int64(m.id)})
	k.fragment(in, q, m, 1)
	k.authenticate(in, q, m)
	switch m.kind {
	case kindResponse:
		q.Row.Returned = table.Some(q.Row.Returned.V + int64(m.stub()))
		q.Note.tail.Add(m.b[m.end-m.stub() : m.end])
		q.Note.tail.Sealed = q.Note.tail.Sealed || m.sealed()
		if m.flags&flagLast != 0 && q.X.HasRequest() && !(q.Note.cut && m.stub() < 4) { // else its end is not known
			readResult(q, m.order)
		}
	case kindFault:
		r := msrpc.Fault(m.u32(24), q.Note.cancelled)
		q.Row.Status, q.Row.StatusText, q.Row.Outcome = r.Value, table.Some(r.Name), r.Outcome
	case kindBindAck, kindAlterResp:
		q.Row.results(m)
	case kindBindNak:
		q.Row.StatusText, q.Row.Outcome = table.Some(tables()["reject"].Name(int64(m.u16(16)), "reject_")), table.Refused
	}
	if m.kind == kindResponse && m.flags&flagLast == 0 {
		if lone { // it waits for the rest like a call with its request
			k.Await(id, q, textCost)
		}
		return
	}
	if !lone {
		k.Take(id)
	}
	k.end(q)
}

// end emits a call whose last message was read.
func (k *conn) end(q *call) {
	why := ""
	if q.Note.cut || q.Note.fragments[0] > 0 && !q.Note.sent && q.Row.Returned.OK {
		why = "gap"
	}
	k.End(q, why)
}

// readResult reads the operation's own result at the end of a response.
func readResult(q *call, order binary.ByteOrder) {
	row, r := q.Row, &q.Note.result
	*r = msrpc.Call{Interface: row.Interface.V, Operation: int(row.Opnum.V), Object: q.Note.object}.Result(&q.Note.tail, order)
	row.Status, row.StatusText, row.Outcome = r.Value, table.NonEmpty(r.Name), r.Outcome
}

// operation names what a request calls.
func (k *conn) operation(q *call, m *pdu) {
	row := q.Row
	opnum := m.u16(22)
	row.Opnum = table.Some(int32(opnum))
	row.Interface = table.NonEmpty(k.bound[m.u16(20)])
	if row.Interface.OK {
		row.Operation = table.Some(msrpc.Operation(row.Interface.V, int(opnum)))
	}
	if m.flags&flagObject != 0 && len(m.b) >= requestHead+16 {
		row.Object = table.Some(msrpc.UUID(m.b[requestHead:], m.order))
		q.Note.object = msrpc.IsORPC(m.b[m.end-m.stub():m.end], m.order)
	}
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.NonEmpty(method(row))
	row.Path = row.Interface
	if n := c.Note.fragments; n[0] > 1 || n[1] > 1 {
		row.Fragments = table.Some(n[0] + n[1])
	}
	s := row.Method.V
	switch {
	case row.Interface.V != "":
		s = row.Interface.V + " " + s
	case row.Message == "request":
		s = fmt.Sprintf("op_%d ?", row.Opnum.V) // its bind was not captured
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case why != "":
		s += " → " + why
	case c.Note.result.Why != "":
		s += " → " + c.Note.result.Why
	case c.X.HasResponse():
		s += " → ok"
	}
	row.Summary = clip.Line([]byte(s), 300)
}
