// Package ident reads the Identification Protocol, RFC 1413: a server asks a client's machine for
// the user of a TCP connection.
//
// It is the example of docs/guide/new-protocol.md. No list of protocols has it.
package ident

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const maxLine = 1000 // bytes of a line, RFC 1413 section 4

// Row is one question with its reply.
type Row struct {
	table.Call
	Ports table.Opt[string] `col:"ident_ports" doc:"ports of the connection that the request is about: on the server's machine, and on the client's"`
	User  table.Opt[string] `col:"ident_user" enc:"dict" doc:"user of the connection"`
}

// Protocol is the Identification Protocol.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ident",
		Doc:        "Identification Protocol, RFC 1413",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{113},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

var (
	request = regexp.MustCompile(`^\s*(\d{1,5})\s*,\s*(\d{1,5})\s*$`)
	reply   = regexp.MustCompile(`^\s*(\d{1,5}\s*,\s*\d{1,5})\s*:\s*(USERID|ERROR)\s*:([^:]*)(?::\s*(.*?))?\s*$`)
)

// detect accepts whole lines. Other protocols may send two numbers, but hardly the reply.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	line, _, whole := bytes.Cut(head, []byte("\n"))
	switch {
	case !whole && len(head) < maxLine && len(bytes.Trim(line, " ,0123456789")) == 0:
		return dissect.More
	case !whole && dir == dissect.ToClient && len(head) < maxLine && (len(head) == 0 || head[0] >= '0' && head[0] <= '9'):
		return dissect.More
	case !whole:
		return dissect.No
	case dir == dissect.ToServer && request.Match(line):
		return dissect.Likely
	case dir == dissect.ToClient && reply.Match(line):
		return dissect.Yes
	}
	return dissect.No
}

// call is a question that waits for its reply, or a reply whose question was not captured.
type call struct {
	x     dissect.Exchange
	asked dissect.QueuedRequest
	row   Row
}

const callCost = int(unsafe.Sizeof(call{})) + maxLine // memory of a question

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return true }

// conn has Resync, Kept, Shed and Close from its queue.
type conn struct{ dissect.Queue[*call] }

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Queue = dissect.Queue[*call]{Conn: c, Emit: k.emit}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	n := bytes.IndexByte(in.Data, '\n') + 1
	if n == 0 && len(in.Data) <= maxLine {
		return 0, nil
	}
	line := in.Data[:n]
	if in.Dir == dissect.ToServer {
		m := request.FindSubmatch(line)
		if m == nil {
			return 0, fmt.Errorf("reading a question: expected two ports, got %.40q", in.Data)
		}
		c := &call{}
		c.x.Request(in, 0, n)
		c.row.Ports = table.Some(string(m[1]) + ", " + string(m[2]))
		k.Push(c, in.Packet(0).Ack, callCost)
		return n, nil
	}
	m := reply.FindSubmatch(line)
	if m == nil {
		return 0, fmt.Errorf("reading a reply: expected two ports, USERID or ERROR, got %.40q", in.Data)
	}
	c := k.Answer(in.Seq(0))
	if c == nil {
		c = &call{}
	}
	c.x.Response(in, 0, n)
	if string(m[2]) == "ERROR" {
		c.row.StatusText, c.row.Outcome = table.Some(text(m[3])), table.ClientError
	} else {
		c.row.User = table.Some(text(m[4]))
	}
	k.emit(c, "")
	return n, nil
}

// Gap implements dissect.Dissector: a line with a gap has lost its meaning.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.Remove(c)
	row := &c.row
	if !c.x.HasRequest() {
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method = table.Some("IDENT")
	answer := row.User.V + row.StatusText.V
	if answer == "" {
		answer = why
	}
	row.Summary = strings.TrimSpace("IDENT "+row.Ports.V) + " → " + answer
	k.Conn.Emit(&c.x, row)
}

// text is the readable part of b; other bytes become U+FFFD.
func text(b []byte) string { return strings.ToValidUTF8(strings.TrimSpace(string(b)), "\uFFFD") }
