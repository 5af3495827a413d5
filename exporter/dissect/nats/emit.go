package nats

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.order.Remove(c)
	if c.waitsMsg {
		if other, ok := k.asked.Get(c.reply); ok && other == c {
			k.asked.Take(c.reply)
		}
	}
	row := c.row
	switch {
	case c.bad:
		why = "malformed"
	case c.gap, c.pull && c.no <= k.doubted:
		why = "gap"
	case !c.x.HasRequest() && !c.delivered:
		why = "no_request"
	case !k.begun && !c.delivered && !c.answered && unique(c.subject) && row.Method.V == "PUB":
		why = "no_request" // it answers a message that may be lost
	case c.delivered && c.whole:
		why = k.c.Optional(&c.x, why) // nobody must answer a delivery
	case c.waitsMsg && !c.waitsOK && c.whole && why == "no_response" && !c.listens && !k.listens(c.reply):
		if k.begun {
			why = "" // the answer goes elsewhere
		} else { // perhaps, because its subscription may be older than the capture
			why, row.Outcome = "cut", table.Cut
		}
	}
	row.Error = table.NonEmpty(why)
	// A delivery to an inbox answers something else, unless it confirms an acknowledgement.
	row.Complete = why == "" && (c.answered || c.whole && (c.reply == "" || row.Status.OK) && (!c.delivered || c.confirms || !unique(c.subject)))
	row.finish()
	row.Summary = c.summary(why)
	k.c.Emit(&c.x, row)
}

// finish takes columns from the headers.
func (row *Row) finish() {
	httpfield.Trace(&row.Call, row.Headers)
	for _, h := range row.Headers {
		if strings.EqualFold(h.Name, "Nats-Msg-Id") && !row.MessageID.OK {
			row.MessageID = table.Some(h.Value)
		}
	}
	if row.Status.OK && !row.StatusCode.OK {
		row.StatusCode = table.Some(row.Status.V)
	}
}

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	switch {
	case s == "INFO":
		return strings.TrimSpace(s + " " + row.Server.V + " " + row.StatusText.V)
	case s == "CONNECT":
		s = strings.TrimSpace(s + " " + row.Client.V)
		if row.User.V != "" {
			s += " as " + row.User.V
		}
	case s == "-ERR" || why == "no_request" && !c.x.HasRequest():
		return strings.TrimSpace(s + " " + row.ErrorText.V)
	case row.Subject.V != "":
		s += " " + row.Subject.V
	case s == "UNSUB":
		s += " " + row.SID.V + " of ?"
	}
	if row.Queue.V != "" {
		s += " in group " + row.Queue.V
	}
	if row.Method.V == "PUB" || row.Method.V == "MSG" {
		s += " (" + message.Size(c.size) + ")"
	}
	return s + " → " + c.result(why)
}

// result is the answer in a summary.
func (c *call) result(why string) string {
	row := c.row
	switch {
	case row.ErrorText.OK:
		return row.ErrorText.V
	case row.Ack.OK && c.answered:
		return row.Ack.V
	case row.StatusText.OK:
		return row.StatusText.V
	case why != "":
		return why
	case row.Method.V == "PING":
		return "PONG"
	case row.Sequence.OK && !c.delivered:
		return row.Stream.V + "/" + strconv.FormatInt(row.Sequence.V, 10)
	case c.answer != "":
		return c.answer
	case c.answered && c.x.RespBody != nil:
		return "answer (" + message.Size(c.x.RespBody.Size()) + ")"
	case c.confirms:
		return "acknowledgement confirmed"
	case c.delivered:
		return "delivered"
	case c.waitsMsg:
		return "answer goes elsewhere"
	}
	return "ok"
}
