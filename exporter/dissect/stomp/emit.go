package stomp

import (
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	switch {
	case c.bad:
		why = "malformed"
	case c.gap:
		why = "gap"
	case !c.x.HasRequest(), why == "" && c.unheard:
		why = "no_request"
	case c.may && c.whole:
		why = k.c.Optional(&c.x, why) // the client need not acknowledge
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && (c.answered || c.alone) && c.whole
	httpfield.Trace(&row.Call, row.Headers)
	if !row.RequestID.OK {
		row.RequestID = row.Correlation
	}
	row.Summary = c.summary(why)
	k.c.Emit(&c.x, row)
}

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	switch s {
	case "CONNECT", "STOMP":
		if row.Host.OK {
			s += " " + row.Host.V
		}
		if row.User.OK {
			s += " as " + row.User.V
		}
	case "BEGIN", "COMMIT", "ABORT":
		s += " " + row.Transaction.V
	case "ACK", "NACK":
		s += " " + row.MessageID.V
	case "RECEIPT":
		s += " " + row.Receipt.V
	default:
		if row.Destination.OK {
			s += " " + row.Destination.V
		}
	}
	if m := row.Method.V; m == "SEND" || m == "MESSAGE" {
		s += " (" + message.Size(c.size) + ")"
	}
	switch {
	case row.Method.V == "ERROR":
		return s + " " + row.ErrorText.V
	case row.ErrorText.OK:
		return s + " → " + row.ErrorText.V
	case row.Ack.OK && c.sent && c.answered:
		return s + " → " + row.Ack.V
	case why != "":
		return s + " → " + why
	case c.may:
		return s + " → delivered"
	case row.Server.OK && (row.Method.V == "CONNECT" || row.Method.V == "STOMP"):
		return s + " → " + row.Server.V
	case c.answered:
		return s + " → ok"
	}
	return s
}
