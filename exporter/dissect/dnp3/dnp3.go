// Package dnp3 reads DNP3 (IEEE 1815) over TCP: functions with their objects, internal indications and results of controls.
//
// A row is a request of the application layer with its response, a message without a response, or a request of the link layer
// with its reply.
package dnp3

import (
	_ "embed" // for names.txt
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxObjects = 32 // headers of objects in a row

// Row is a request with its response.
type Row struct {
	table.Call
	Source      int32            `col:"dnp3_source" doc:"link address of the station that sent the request"`
	Destination int32            `col:"dnp3_destination" doc:"link address of the station that it is for"`
	Function    table.Opt[int32] `col:"dnp3_function" doc:"function code of the application layer; null for messages of the link layer"`
	Sequence    table.Opt[int32] `col:"dnp3_sequence" doc:"sequence number of the application layer, 0 to 15"`
	Objects     []string         `col:"dnp3_objects" doc:"headers of objects in the request, such as g12v1 5: group, variation and range or count; of requests with values, only the first one; at most 32"`
	Answers     []string         `col:"dnp3_response_objects" doc:"the first header of objects in the response"`
	IIN         []string         `col:"dnp3_iin" doc:"internal indications of the response, such as DEVICE_RESTART"`
	Fragments   int32            `col:"dnp3_fragments" doc:"number of fragments of the response, which the other side may confirm one by one"`
}

// Protocol is DNP3 over TCP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "dnp3",
		Doc:        "DNP3 over TCP: functions, objects, internal indications",
		Versions:   "IEEE 1815-2012",
		Depth:      "frames, functions with headers of objects, indications, results of controls",
		Transports: []dissect.Transport{dissect.TCP},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a request: by the stations, and the sequence number of the application layer or -1 for the link layer.
type key struct {
	asks, answers uint16
	sequence      int8
}

type call = byid.Call[*Row, note]

// note is what a call needs until its message ends.
type note struct {
	key   key
	waits bool // for a response
	ends  bool // the message that is being read ends the call
}

type conn struct {
	byid.Pairs[key, *Row, note]
	cur [2]*call // whose message has more segments, by direction
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, 0, fill)
	k.Steps = true
	return k
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Pairs.Resync(dir, why)
	if c := k.cur[dir]; c != nil {
		k.cur[dir] = nil
		k.finish(c, string(why))
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for dir, c := range k.cur {
		if c != nil {
			k.cur[dir] = nil
			k.finish(c, "cut")
		}
	}
	k.Pairs.Close(why)
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for dir, c := range k.cur {
		if c != nil {
			k.cur[dir] = nil
			k.finish(c, "cut")
			return true
		}
	}
	return k.Pairs.Shed()
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	f, data, err := readFrame(in.Data)
	switch {
	case err != nil:
		return 0, err
	case f.size == 0:
		return 0, nil
	case len(in.Data) < f.size:
		k.Conn.Need(in.Dir, f.size)
		return 0, nil
	}
	if f.damaged {
		k.Conn.Anomaly("malformed", "reading a frame: a checksum of its data is wrong", 0)
	}
	switch c := k.cur[in.Dir]; {
	case !f.carries():
		k.link(in, &f)
	case len(data) == 0:
		return 0, fmt.Errorf("reading a frame: data without a head of the transport layer")
	case data[0]&first == 0 && c != nil: // another segment of a message
		c.X.AddTo(c.Note.ends, in, 0, f.size)
		hide(in, c, f.size)
		if data[0]&last != 0 {
			k.cur[in.Dir] = nil
			k.finish(c, "")
		}
	case data[0]&first != 0 && len(data) >= 3:
		if c != nil {
			k.cur[in.Dir] = nil
			k.finish(c, string(dissect.LossGap))
		}
		if c = k.message(in, &f, data[1:]); c != nil {
			hide(in, c, f.size)
			if data[0]&last == 0 {
				k.cur[in.Dir] = c
			} else {
				k.finish(c, "")
			}
		}
	}
	return f.size, nil
}

// link reads a message of the link layer.
func (k *conn) link(in *dissect.Input, f *frame) {
	if f.primary() {
		row := &Row{Source: int32(f.source), Destination: int32(f.destination)}
		row.Method = table.Some(tables()["link"].Name(int64(f.control&15), "link_"))
		k.Await(key{f.source, f.destination, -1}, k.Request(in, f.size, row), 0)
		return
	}
	c, _ := k.Take(key{f.destination, f.source, -1})
	row := &Row{Source: int32(f.destination), Destination: int32(f.source)}
	row.Method = table.Some("LINK")
	c = k.Response(in, f.size, c, row)
	name := tables()["reply"].Name(int64(f.control&15), "link_")
	c.Row.StatusText = table.Some(name)
	if name == "NACK" || name == "NOT_SUPPORTED" {
		c.Row.Outcome = table.Refused
	}
	k.End(c, "")
}

// message reads the first segment of a message of the application layer, and returns its call.
func (k *conn) message(in *dissect.Input, f *frame, b []byte) *call {
	control, function := b[0], b[1]
	sequence := int8(control & 15)
	if function < response {
		row := &Row{Source: int32(f.source), Destination: int32(f.destination), Function: table.Some(int32(function)), Sequence: table.Some(int32(sequence))}
		row.Method = table.Some(tables()["function"].Name(int64(function), "function_"))
		row.Objects, row.AuthKind = objects(b[2:], function == read), credentials[function]
		c := k.Request(in, f.size, row)
		c.Note = note{key{f.source, f.destination, sequence}, waits(function), false}
		return c
	}
	row := &Row{Source: int32(f.source), Destination: int32(f.destination), Function: table.Some(int32(function)), Sequence: table.Some(int32(sequence)), Fragments: 1}
	row.Method = table.Some(tables()["function"].Name(int64(function), "function_"))
	if function == unsolicited {
		c := k.Request(in, f.size, row)
		row.answered(b[2:])
		row.Objects, row.Answers = row.Answers, nil
		c.Note.ends = true
		c.X.Reversed = in.Dir == dissect.ToClient
		return c
	}
	id := key{f.destination, f.source, sequence}
	c, _ := k.Take(id)
	if c == nil {
		row.Source, row.Destination = row.Destination, row.Source
	} else {
		c.Row.Fragments++
	}
	c = k.Response(in, f.size, c, row)
	c.Row.answered(b[2:])
	c.Note = note{id, control&fragmentEnd == 0, true}
	c.Note.key.sequence = (sequence + 1) & 15 // of the next fragment
	return c
}

// credentials are the functions whose messages have some.
var credentials = map[uint8]table.Opt[string]{29: table.Some("password"), 32: table.Some("challenge"), 33: table.Some("challenge")}

// hide hides all of a frame behind its head, with its checksums, if its call has credentials.
func hide(in *dissect.Input, c *call, size int) {
	if c.Row.AuthKind.OK {
		c.X.Hide(in, headSize, size)
	}
}

// finish ends a message, of which all segments came unless why says otherwise.
func (k *conn) finish(c *call, why string) {
	if c.Note.waits && why == "" {
		k.Await(c.Note.key, c, 16*len(c.Row.Objects))
		return
	}
	k.End(c, why)
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	s := fmt.Sprintf("%s %d to %d", row.Method.V, row.Source, row.Destination)
	if len(row.Objects) > 0 {
		s += ", " + strings.Join(row.Objects[:min(len(row.Objects), 4)], ", ")
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case len(row.Answers) > 0:
		s += " → " + row.Answers[0]
	case row.Fragments > 0 && c.X.HasResponse():
		s += " → " + clip.Count(int64(row.Fragments), "fragment", "fragments")
	case why != "":
		s += " → " + why
	}
	row.Summary = s
}
