package mqtt

import (
	_ "embed" // for names.txt
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	if c.ping {
		k.pings.Remove(c)
	}
	row := c.row
	switch {
	case c.bad:
		why = "malformed"
	case c.gap:
		why = "gap"
	case !c.x.HasRequest(), c.kind == pubrel && why == "": // of a message that was not captured
		why = "no_request"
	}
	row.Error = table.NonEmpty(why)
	alone := c.kind == disconnect || c.kind == publish && row.QoS.V == 0
	row.Complete = why == "" && c.whole && !c.unsure && (c.answered || alone)
	if c.kind == disconnect && row.StatusText.OK && c.x.Reversed && row.Outcome == table.ClientError {
		row.Outcome = table.Refused // the server ends the connection
	}
	httpfield.Trace(&row.Call, row.Headers)
	row.Summary = c.summary(why)
	k.c.Emit(&c.x, row)
}

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	switch c.kind {
	case connect:
		s = strings.TrimSpace(s + " " + row.Client.V)
		if row.User.OK {
			s += " as " + row.User.V
		}
	case publish:
		size := message.Size(c.size)
		if c.unsure {
			size = "at most " + size
		}
		s = strings.TrimSpace(s+" "+row.Topic.V) + " (" + size + ")"
		if !row.Topic.OK {
			s += " to ?"
		}
		if row.QoS.V == 0 && why == "" {
			return s
		}
	case pubrel:
		s += " of ?"
	case subscribe, unsubscribe:
		s += " " + few(row.Filters)
	case disconnect:
		if row.ReasonText.OK {
			s += ": " + row.ReasonText.V
		}
		return s
	}
	switch {
	case row.StatusText.OK:
		return s + " → " + row.StatusText.V
	case why != "":
		return s + " → " + why
	case c.kind == subscribe:
		return s + " → " + few(row.Granted)
	case c.kind == pingreq:
		return s + " → PINGRESP"
	}
	return s + " → ok"
}

// few joins the first elements of a list.
func few(list []string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:most], ", ") + ", …"
}
