// Package fastcgi reads FastCGI: the requests that a web server passes to an application, with parameters, bodies and results.
//
// A row is a request with its response.
package fastcgi

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one request.
const (
	headSize  = 8
	maxParams = 64 << 10 // bytes of parameters, and of the head of a response
	maxListed = 128      // parameters of a row
	maxText   = 1 << 10
)

// Types of records, specification section 8.
const (
	beginRequest = 1
	abortRequest = 2
	endRequest   = 3
	params       = 4
	stdin        = 5
	stdout       = 6
	stderr       = 7
	data         = 8
	unknownType  = 11
)

// Row is a request with its response.
type Row struct {
	table.Call
	ID        int32             `col:"fastcgi_request_id" doc:"identifier of the request in its connection"`
	Role      table.Opt[string] `col:"fastcgi_role" enc:"dict" doc:"RESPONDER, AUTHORIZER or FILTER"`
	Script    table.Opt[string] `col:"fastcgi_script" enc:"dict" doc:"SCRIPT_FILENAME: the file that the application runs"`
	Remote    table.Opt[string] `col:"fastcgi_remote_addr" enc:"dict" doc:"REMOTE_ADDR: the client of the web server"`
	Params    []string          `col:"fastcgi_params" doc:"parameters but those of HTTP's headers, NAME=value; at most 128"`
	Errors    table.Opt[string] `col:"fastcgi_stderr" doc:"what the application wrote to its error stream, at most 1 KiB"`
	AppStatus table.Opt[int32]  `col:"fastcgi_app_status" doc:"exit code of the application"`
	Status    table.Opt[string] `col:"fastcgi_protocol_status" enc:"dict" doc:"REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED or UNKNOWN_ROLE"`
}

// Protocol is FastCGI.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "fastcgi",
		Doc:        "FastCGI: requests of a web server to an application",
		Versions:   "1.0",
		Depth:      "parameters, headers and bodies of both sides, error stream, status",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{9000},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Serves: true},
	}
}

// call is a request in progress.
type call struct {
	x      dissect.Exchange
	row    *Row
	params []byte
	head   []byte // of the response, before its body
	begun  bool   // its head is complete
	gap    bool
}

const callCost = int(unsafe.Sizeof(call{})+unsafe.Sizeof(Row{})) + 512

type conn struct {
	byid.Table[uint16, *call]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Table = byid.Table[uint16, *call]{Conn: c, Emit: k.emit}
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() (n int) {
	for c := range k.Oldest(64) {
		n += cap(c.params) + cap(c.head)
	}
	return n
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	for c := range k.Oldest(k.Len()) {
		c.gap = true
	}
}

// record is the head of a record, specification section 3.3.
type record struct {
	kind    uint8
	id      uint16
	content int
	size    int
}

func readHead(b []byte) (r record, err error) {
	r = record{b[1], binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:])), 0}
	r.size = headSize + r.content + int(b[6])
	if b[0] != 1 || r.kind < beginRequest || r.kind > unknownType || b[7] != 0 || r.id == 0 && r.kind <= data {
		return r, fmt.Errorf("reading a record: version %d, type %d and request %d are not those of FastCGI", b[0], r.kind, r.id)
	}
	return r, nil
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < headSize {
		return 0, nil
	}
	r, err := readHead(b)
	switch {
	case err != nil:
		return 0, err
	case len(b) < r.size:
		k.Conn.Need(in.Dir, r.size)
		return 0, nil
	}
	content := b[headSize : headSize+r.content]
	if r.id == 0 { // values of the application, not of a request
		return r.size, nil
	}
	c, known := k.Get(r.id)
	if !known || r.kind == beginRequest {
		c = &call{row: &Row{ID: int32(r.id)}, gap: r.kind != beginRequest}
	}
	c.x.Add(in, 0, r.size)
	if old, waits := k.Get(r.id); waits && old != c {
		old.gap = true // a server uses an identifier again only after the end of its request
	}
	if !known || r.kind == beginRequest {
		k.Put(r.id, c, callCost)
	}
	switch r.kind {
	case beginRequest:
		if r.content >= 2 {
			c.row.Role = table.Some(named(roles, int(binary.BigEndian.Uint16(content))))
		}
	case params:
		if r.content == 0 {
			c.read()
		} else if len(c.params)+r.content <= maxParams {
			c.params = append(c.params, content...)
		} else {
			c.x.HideRest(in, headSize, headSize+r.content)
			k.Conn.Anomaly("limit", "a request has more than 64 KiB of parameters", 0)
		}
	case stdin, data:
		k.request(c, content)
	case stdout:
		k.response(c, content)
	case stderr:
		text := c.row.Errors.V + string(content[:min(r.content, maxText)])
		c.row.Errors = table.NonEmpty(clip.Text(text, maxText))
	case endRequest:
		if r.content >= 5 {
			c.row.AppStatus = table.Some(int32(binary.BigEndian.Uint32(content)))
			c.row.Status = table.Some(named(statuses, int(content[4])))
		}
		k.Take(r.id)
		k.emit(c, "")
	}
	return r.size, nil
}

var (
	roles    = []string{"", "RESPONDER", "AUTHORIZER", "FILTER"}
	statuses = []string{"REQUEST_COMPLETE", "CANT_MPX_CONN", "OVERLOADED", "UNKNOWN_ROLE"}
)

// named is the name of a number, or the number.
func named(list []string, n int) string {
	if n < len(list) && list[n] != "" {
		return list[n]
	}
	return fmt.Sprint(n)
}

// request adds to the body of the request.
func (k *conn) request(c *call, content []byte) {
	if len(content) > 0 {
		if c.x.ReqBody == nil {
			c.x.ReqBody = k.Conn.NewBody(c.row.RequestContentType.V, "")
		}
		c.x.ReqBody.Write(content)
	} else if c.x.ReqBody != nil {
		c.x.ReqBody.Complete = !c.gap
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	if len(c.params) > 0 {
		c.read()
	}
	if len(c.head) > 0 { // the response has no body
		c.headers(c.head)
	}
	switch {
	case !c.x.HasRequest():
		why = "no_request"
	case c.gap:
		why = string(dissect.LossGap)
	case c.x.RespBody != nil:
		c.x.RespBody.Complete = why == ""
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	switch row.Status.V {
	case "OVERLOADED", "CANT_MPX_CONN":
		row.Outcome, row.StatusText = table.Refused, row.Status
	case "UNKNOWN_ROLE":
		row.Outcome, row.StatusText = table.ClientError, row.Status
	default:
		if row.Outcome = table.HTTPOutcome(row.StatusCode.V); row.Outcome == "" && row.AppStatus.V != 0 {
			row.Outcome = table.ServerError
		}
	}
	s := strings.TrimSpace(row.Method.V + " " + row.Path.V)
	if s == "" {
		s = fmt.Sprintf("request %d", row.ID)
	}
	switch {
	case row.StatusCode.OK:
		s += fmt.Sprintf(" → %d %s", row.StatusCode.V, row.StatusText.V)
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case row.AppStatus.V != 0:
		s += fmt.Sprintf(" → exit code %d", row.AppStatus.V)
	case why != "":
		s += " → " + why
	}
	row.Summary = strings.TrimSpace(s)
	k.Conn.Emit(&c.x, row)
}
