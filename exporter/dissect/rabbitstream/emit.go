package rabbitstream

import (
	_ "embed" // for names.txt

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	k.framed.Forget(c)
	switch {
	case c.bad:
		why = "malformed"
	case why == "" && !c.x.HasRequest() && !c.alone:
		why = "no_request"
	}
	if !row.Method.OK {
		row.Method = table.Some(command(c.key))
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && (c.asked || c.alone)
	row.Path = row.Stream
	if row.Outcome != "" {
		row.StatusText = row.ResponseCode
	}
	row.Summary = c.summary(why)
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	if row.Messages.OK {
		s += " " + clip.Count(row.Messages.V, "message", "messages") + " of"
	}
	switch {
	case row.Stream.OK:
		s += " " + row.Stream.V
	case numbered(c.key):
		s += " ?"
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case why != "":
		s += " → " + why
	case row.ResponseCode.OK:
		s += " → " + row.ResponseCode.V
	case c.x.HasResponse():
		s += " → confirmed"
	}
	return s
}
