// Package dubbo reads the dubbo2 protocol of Apache Dubbo: services, methods and results, serialized by Hessian 2.
//
// A row is a request with its response.
package dubbo

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one message.
const (
	headSize = 16
	maxRead  = headSize + 8<<10 // bytes of a message that are read
	maxBody  = 1 << 30
	maxText  = 1 << 10
)

// Bits of the third byte.
const (
	isRequest = 0x80
	twoWay    = 0x40
	isEvent   = 0x20
)

// Row is a request with its response.
type Row struct {
	table.Call
	ID            int64             `col:"dubbo_request_id" doc:"identifier that pairs request and response"`
	Version       table.Opt[string] `col:"dubbo_version" enc:"dict" doc:"version of Dubbo's protocol that the request states"`
	Service       table.Opt[string] `col:"dubbo_service" enc:"dict" doc:"path of the service, usually its interface"`
	ServiceVer    table.Opt[string] `col:"dubbo_service_version" enc:"dict" doc:"version of the service"`
	Name          table.Opt[string] `col:"dubbo_method" enc:"dict" doc:"method"`
	Types         table.Opt[string] `col:"dubbo_parameter_types" enc:"dict" doc:"types of the parameters as a JVM descriptor"`
	Serialization string            `col:"dubbo_serialization" enc:"dict" doc:"serialization of the bodies, such as hessian2; only its texts are read"`
	Oneway        bool              `col:"dubbo_oneway" doc:"the request wants no response"`
	Exception     table.Opt[string] `col:"dubbo_exception" enc:"dict" doc:"class of the exception that the method threw"`
	Message       table.Opt[string] `col:"dubbo_error" doc:"text of an error, at most 1 KiB"`
}

// Protocol is dubbo2.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "dubbo",
		Doc:        "Apache Dubbo: calls of services over the dubbo2 protocol",
		Versions:   "dubbo2 with Hessian 2",
		Depth:      "heads, services, methods, statuses and exceptions; not arguments and results",
		Transports: []dissect.Transport{dissect.TCP},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Serves: true},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a request. Both sides send heartbeats.
type key struct {
	from dissect.Dir
	id   uint64
}

// call is a request with its response.
type call struct {
	x     dissect.Exchange
	row   *Row
	from  dissect.Dir // of the request
	alone bool
	asked bool // the request was captured completely
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil {
		c.x.AddTo(in.Dir != c.from, in, from, to)
	}
}

const callCost = int(unsafe.Sizeof(call{})+unsafe.Sizeof(Row{})) + 512

type conn struct {
	byid.Table[key, *call]
	framed framed.Reader[*call]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Conn, k.Emit = c, k.emit
	k.framed = framed.Reader[*call]{Conn: c, Handler: k, Most: maxRead, Least: headSize}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) { return k.framed.Read(in) }

// head is the head of a message.
type head struct {
	flags, status uint8
	id            uint64
	size          int64 // of the whole message
}

func readHead(b []byte) (h head, err error) {
	h = head{b[2], b[3], binary.BigEndian.Uint64(b[4:]), int64(binary.BigEndian.Uint32(b[12:])) + headSize}
	ok := b[0] == 0xda && b[1] == 0xbb && tables()["serialization"][int64(h.flags&0x1f)] != "" && h.size <= maxBody
	if h.flags&isRequest != 0 {
		ok = ok && h.status == 0
	} else {
		ok = ok && h.flags&twoWay == 0 && tables()["status"][int64(h.status)] != ""
	}
	if !ok {
		return h, fmt.Errorf("reading a head: magic %#x, flags %#x, status %d and length %d are not those of Dubbo", b[:2], h.flags, h.status, h.size)
	}
	return h, nil
}

// detect accepts a whole head. The client sends most requests.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < headSize {
		if len(b) > 0 && b[0] != 0xda || len(b) > 1 && b[1] != 0xbb {
			return dissect.No
		}
		return dissect.More
	}
	h, err := readHead(b)
	if err == nil && (h.flags&isRequest != 0) != (dir == dissect.ToServer) {
		return dissect.Likely
	}
	return dissect.Yes.If(err == nil)
}

// Size implements framed.Handler.
func (k *conn) Size(_ dissect.Dir, b []byte) (int64, error) {
	if len(b) < headSize {
		return 0, nil
	}
	h, err := readHead(b)
	return h.size, err
}

// Message implements framed.Handler.
func (k *conn) Message(in *dissect.Input, at int, b []byte, _ bool) (*call, error) {
	h, err := readHead(b)
	if err != nil {
		return nil, err
	}
	row := &Row{ID: int64(h.id), Serialization: tables()["serialization"][int64(h.flags&0x1f)]}
	r := texts{b: b[headSize:]}
	if h.flags&isRequest == 0 {
		c, ok := k.Take(key{in.Dir.Other(), h.id})
		if !ok {
			c = &call{row: row, from: in.Dir.Other()}
			c.x.Reversed = in.Dir == dissect.ToServer
		}
		if h.flags&isEvent != 0 {
			c.row.Method = table.Some("HEARTBEAT")
		}
		c.row.answered(&h, &r)
		return c, nil
	}
	c := &call{row: row, from: in.Dir, alone: h.flags&twoWay == 0}
	c.x.Reversed = in.Dir == dissect.ToClient
	if row.Oneway = c.alone; h.flags&isEvent != 0 {
		row.Method = table.Some("HEARTBEAT")
	} else if h.flags&0x1f == hessian2 {
		row.Version, row.Service, row.ServiceVer, row.Name, row.Types = r.next(), r.next(), r.next(), r.next(), r.next()
		row.Method, row.Path = row.Name, row.Service
		if !row.Name.OK {
			k.Conn.Anomaly("malformed", "reading a request: it does not begin with the texts of a request", 0)
		}
		c.hide(in, at+len(b)-len(r.b), r.b)
	}
	if !c.alone {
		k.Put(key{in.Dir, h.id}, c, callCost)
	}
	return c, nil
}

// Ended implements framed.Handler.
func (k *conn) Ended(dir dissect.Dir, c *call, why string) {
	if c.alone || dir != c.from {
		k.emit(c, why)
	} else {
		c.asked = why == ""
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool { return k.framed.Gap(in, missing) }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.framed.Resync(dir, why)
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.framed.Close(why)
	k.Table.Close(why)
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	k.framed.Forget(c)
	if why == "" && !c.x.HasRequest() {
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == "" && (c.asked || c.alone)
	s := row.Service.V
	if row.Name.OK {
		s += "." + row.Name.V
	} else if s = row.Method.V; s == "" {
		s = fmt.Sprintf("request %d", row.ID)
	}
	switch {
	case row.Exception.OK:
		s += " → " + row.Exception.V
	case row.Outcome != "":
		s += " → " + row.StatusText.V
		if row.Message.OK {
			s += ": " + clip.Text(row.Message.V, 200)
		}
	case why != "":
		s += " → " + why
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	}
	row.Summary = s
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}
