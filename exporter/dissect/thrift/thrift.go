// Package thrift reads Apache Thrift: calls of methods in TBinaryProtocol and TCompactProtocol,
// framed and unframed, on TCP and in datagrams.
//
// A row is a call with its reply. Arguments and result are shown as text with the numbers of their
// fields, because their names are only in the interface's source. LIMIT: TJSONProtocol, TZlibTransport, SASL
// transports, Finagle's trace headers, and fbthrift's Rocket are not read.
package thrift

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is one call.
type Row struct {
	table.Call
	Invocation
	Framed     bool     `col:"thrift_framed" doc:"each message follows its length (TFramedTransport)"`
	Header     bool     `col:"thrift_header" doc:"each message has a header (THeaderTransport); its pairs are in headers"`
	Transforms []string `col:"thrift_transforms" doc:"transforms of the messages that have a header, such as zlib"`
}

// Invocation is what a call and its reply say, on TCP and inside HTTP.
type Invocation struct {
	Service   table.Opt[string] `col:"thrift_service" enc:"dict" doc:"service before the colon of a multiplexed call (TMultiplexedProtocol)"`
	Name      table.Opt[string] `col:"thrift_method" enc:"dict" doc:"name of the method; empty if its message cannot be read"`
	Type      table.Opt[string] `col:"thrift_type" enc:"dict" doc:"call, or oneway if no reply follows; reply or exception if only that was captured"`
	Sequence  table.Opt[int32]  `col:"thrift_sequence" doc:"number that connects a call with its reply, of the header if there is one; many clients always send 0"`
	Encoding  table.Opt[string] `col:"thrift_encoding" enc:"dict" doc:"binary, compact, or over HTTP, json"`
	Arguments table.Opt[string] `col:"thrift_arguments" doc:"arguments with the numbers of their fields, such as 1: 5, 2: \"abc\"; at most 1 KiB"`
	Result    table.Opt[string] `col:"thrift_result" doc:"result: field 0 is the value, others are exceptions that the method declares; at most 1 KiB"`
	Exception table.Opt[int32]  `col:"thrift_exception" doc:"number of the field of a declared exception"`
	Message   table.Opt[string] `col:"thrift_message" doc:"message of the exception: its first text"`
}

// Protocol is Thrift.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "thrift",
		Doc:        "Apache Thrift: calls of methods with arguments, results and exceptions",
		Versions:   "TBinaryProtocol with and without a version, TCompactProtocol 1, framed and unframed, THeaderTransport",
		Depth:      "calls with results, the fields of arguments and results, exceptions",
		Transports: []dissect.Transport{dissect.TCP, dissect.UDP},
		Ports:      []uint16{9090},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

// maxAhead is how many waiting calls are compared with a reply that is not the oldest one's.
const maxAhead = 1024

// call is a call that waits for its reply, or a reply without a call.
type call struct {
	x     dissect.Exchange
	asked dissect.QueuedRequest
	row   Row
	ended bool // the call was read whole
	gap   bool
	odd   bool  // a message of it cannot be read
	no    int64 // of the calls of the connection, from 1; 0 for a reply without a call
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(values{}))

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return true }

// side is the state of one direction.
type side struct {
	call   *call // whose message is being read
	head   head
	frame  int64 // bytes of the frame that are not read yet
	values values
	gap    bool
}

// conn is the state of a connection.
type conn struct {
	dissect.Queue[*call]
	sides    [2]side
	newest   int32 // number of the newest call
	called   bool  // there is one
	numbered bool  // numbers differ between calls
	calls    int64 // number of calls
	answered int64 // call.no of the newest call that has a reply
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Busy: func(c *call) bool { return c == k.sides[0].call || c == k.sides[1].call }}
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() (n int) {
	for i := range k.sides {
		if h := k.sides[i].head.header; h != nil {
			n += h.texts
		}
		v := &k.sides[i].values
		n += cap(v.text) + len(v.message) + cap(v.stack)*int(unsafe.Sizeof(level{}))
	}
	return n
}

// Gap implements dissect.Dissector: a frame, and a long text, may have gaps.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	lost := missing + int64(len(in.Data))
	switch {
	case s.call == nil:
		return false
	case s.head.framed && s.frame >= lost:
		s.values.done = true // the rest of the frame is skipped
		s.frame -= lost
	case !s.head.framed && s.values.skip >= lost:
		s.values.skip -= lost
		if s.values.skip == 0 {
			s.values.settle()
		}
	default:
		return false
	}
	s.call.gap, s.gap = true, true
	s.values.put("…")
	s.values.full = true
	if s.head.framed && s.frame == 0 {
		k.ended(in.Dir)
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Queue.Resync(dir, why)
	c := k.sides[dir].call
	k.sides[dir] = side{}
	if c != nil && (dir == dissect.ToClient || c.row.Type.V == oneway) {
		k.emit(c, string(why))
	} else if c != nil {
		c.ended, c.gap = true, true
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.sides[dissect.ToClient].call; c != nil {
		k.emit(c, why.CallError())
	}
	k.Queue.Close(why)
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (n int, err error) {
	s := &k.sides[in.Dir]
	if s.call == nil {
		h, size, err := readHead(in.Data)
		if size != more && err == nil && h.packed() {
			size, err = k.unpack(in, &h, size)
		}
		switch {
		case len(in.Data) == 0:
			return 0, nil
		case err != nil:
			return 0, err
		case size == more && in.Datagram:
			return 0, fmt.Errorf("reading a message: its head does not fit into the datagram")
		case size == more:
			return 0, nil
		}
		if err := k.begin(in, h, size); err != nil {
			return 0, err
		}
		n = size
		if h.packed() {
			if err := s.unpacked(); err != nil {
				return n, err
			}
		}
	}
	return k.rest(in, n)
}

// rest reads the fields of a message, from in.Data[n] on.
func (k *conn) rest(in *dissect.Input, n int) (int, error) {
	s := &k.sides[in.Dir]
	data := in.Data[n:]
	if s.head.framed {
		data = data[:min(int64(len(data)), s.frame)]
	}
	took, err := s.values.read(data)
	if s.values.done && s.head.framed { // what follows the fields in their frame
		took = len(data)
	}
	k.cite(in, n, n+took)
	s.frame -= int64(took)
	n += took
	switch {
	case err != nil:
		return n, err
	case s.head.framed && !s.values.done && (s.frame == 0 || len(data)-took > 0 && int64(len(data)-took) == s.frame):
		return n, errFields
	case s.values.done && (!s.head.framed || s.frame == 0):
		k.ended(in.Dir)
	case in.Datagram:
		return n, fmt.Errorf("reading a message: its fields are longer than the datagram")
	}
	return n, nil
}

var errFields = errors.New("reading a message: its fields are longer than its frame")

func (k *conn) cite(in *dissect.Input, from, to int) {
	if c := k.sides[in.Dir].call; in.Dir == dissect.ToServer {
		c.x.Request(in, from, to)
	} else {
		c.x.Response(in, from, to)
	}
}

// begin begins a message whose head has n bytes.
func (k *conn) begin(in *dissect.Input, h head, n int) error {
	if h.fromClient() != (in.Dir == dissect.ToServer) {
		return fmt.Errorf("reading a message: a %s of the other side", typeNames[h.kind])
	}
	s := &k.sides[in.Dir]
	c := &call{}
	if in.Dir == dissect.ToServer {
		k.calls++
		c.no = k.calls
		k.Push(c, in.Packet(0).Ack, callCost)
		k.numbered = k.numbered || k.called && k.newest != h.sequence
		k.newest, k.called = h.sequence, true
	} else {
		c = k.answers(h, in.Seq(0))
		k.answered = max(k.answered, c.no)
	}
	row := &c.row
	if row.Name.V == "" {
		row.begins(h)
	}
	if !c.x.HasRequest() {
		row.Framed = h.framed
		row.describe(h)
	}
	k.headers(in.Dir, c, &h)
	*s = side{call: c, head: h, values: newValues(h.compact), frame: h.frame}
	k.cite(in, 0, n)
	return nil
}

// headers adds what the header of a message states.
func (k *conn) headers(dir dissect.Dir, c *call, h *head) {
	if h.header == nil {
		return
	}
	row := &c.row
	row.Header = true
	row.Headers = append(row.Headers, h.header.headers(dir == dissect.ToClient)...)
	for _, t := range h.header.transforms {
		if !slices.Contains(row.Transforms, t.name) {
			row.Transforms = append(row.Transforms, t.name)
		}
	}
	if why := h.header.unread; why != "" {
		c.odd = true
		k.Conn.Anomaly("transform", "a message is not read: "+why, 0)
	}
}

// answers finds the call of a reply: the oldest, if its name and number are the same, else another
// one with both.
func (k *conn) answers(h head, seq uint32) *call {
	same := func(c *call) bool {
		service, name := split(h.name)
		if h.header != nil && (name == "" || c.row.Name.V == "") { // only the header of one of them is known
			return c.row.Header && c.row.Sequence.V == h.sequence
		}
		return c.row.Sequence.V == h.sequence && c.row.Name.V == name && (!service.OK || c.row.Service == service)
	}
	find := func() *call {
		list := k.All()
		for _, c := range list[:min(len(list), maxAhead)] {
			if c.ended && same(c) && !c.asked.Follows(seq) {
				return c
			}
		}
		return &call{}
	}
	if f := k.Front(); k.numbered && f != nil && (k.Lost() || f.asked.After) { // its number is better evidence than the order
		return find()
	}
	if c := k.Answer(seq); c != nil && same(c) {
		return c
	}
	return find()
}

// ended ends a message.
func (k *conn) ended(dir dissect.Dir) {
	s := &k.sides[dir]
	c, v := s.call, &s.values
	row, text := &c.row, table.NonEmpty(string(v.text))
	if dir == dissect.ToServer {
		row.Arguments, c.ended = text, true
		n := len(text.V) + len(row.Name.V)
		if h := s.head.header; h != nil {
			n += h.texts
		}
		k.Grow(c, n)
	} else {
		row.Result = text
		k.judge(c, s)
	}
	h := s.head
	*s = side{}
	if dir == dissect.ToClient || h.kind == kindOneway {
		k.emit(c, "")
	}
}

// judge reads how a call ended.
func (k *conn) judge(c *call, s *side) {
	row, v := &c.row, &s.values
	switch {
	case c.odd && !v.any: // its fields cannot be read
	case s.head.kind != kindException && !v.any && s.gap: // the kind of the result is unknown
	case s.head.kind != kindException && v.first == 0:
		if c.gap {
			row.Outcome = table.OK
		}
	default:
		text, outcome := row.fail(s.head.kind, v)
		if row.StatusText, row.Outcome = table.Some(text), outcome; s.head.kind == kindException {
			row.StatusCode = table.Some(v.code)
		}
		if row.StatusCode.OK && s.gap && v.code == 0 { // its type was not captured
			row.StatusCode, row.StatusText, row.Outcome = table.Opt[int32]{}, table.Some("exception"), table.Unread
		}
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.Remove(c)
	row := &c.row
	if why == "" && c.gap {
		why = string(dissect.LossGap)
	}
	if c.odd {
		why = "unread"
	}
	if !c.x.HasRequest() {
		if why = "no_request"; c.odd {
			row.Outcome = table.Unread
		}
	}
	if c.no < k.answered && !c.x.HasResponse() && (why == "no_response" || why == "reset" || why == "timeout") {
		row.Outcome = table.Unread // it may be a oneway call, which clients in Go send with the type of others
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	httpfield.Trace(&row.Call, row.Headers)
	row.Method = table.NonEmpty(row.method())
	row.Summary = row.asked()
	if end := row.ends(row.StatusText.V); end != "" {
		row.Summary += " → " + end
	}
	if why != "" {
		row.Summary += " → " + why
	}
	k.Conn.Unaffected(&c.x, dissect.ToServer)
	k.Conn.Emit(&c.x, row)
}
