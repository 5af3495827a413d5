package amqp

import (
	_ "embed" // for names.txt
	"math"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

type cursorT = cursor.Cursor

func newReader(b []byte) *reader { return &reader{cursor.New(b)} }

// text is a field's number.
func text(kind byte, n uint64) string {
	switch kind {
	case 't':
		return strconv.FormatBool(n != 0)
	case 'f':
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(n))), 'g', -1, 32)
	case 'd':
		return strconv.FormatFloat(math.Float64frombits(n), 'g', -1, 64)
	case 'b', 's', 'I', 'l', 'L':
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(n, 10)
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	k.settle(c)
	switch {
	case c.bad:
		why = "malformed"
	case c.gap, c.row.Mandatory && k.unsureOf(c): // it may have come back
		why = "gap"
	case !c.x.HasRequest(), why == "" && !c.known && (c.id == ack || c.id == nack || c.id == reject): // of what was not captured
		why = "no_request"
	case c.may && c.whole:
		why = k.c.Optional(&c.x, why) // the consumer need not acknowledge
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

// settle records that a message no longer waits for its acknowledgement.
func (k *conn) settle(c *call) {
	if ch := k.channels[c.channel]; c.awaits && ch != nil {
		c.awaits = false
		ch.waits[c.side]--
	}
}

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	switch {
	case c.id == connStart, c.id == connStartOK:
		if row.Product.OK {
			s += " " + row.Product.V
		}
		if row.User.OK && c.id == connStartOK {
			s += " as " + row.User.V
		}
	case c.id == connOpen:
		s += " " + row.Host.V
	case row.Path.V != "":
		s += " " + row.Path.V
	}
	switch c.id {
	case publish, deliver, returned:
		s += " (" + message.Size(c.size) + ")"
	case ack, nack, reject:
		s += " " + strconv.FormatInt(row.Tag.V, 10)
	}
	switch {
	case row.ReplyCode.OK:
		s += " → " + strconv.Itoa(int(row.ReplyCode.V)) + " " + row.ReplyText.V
	case row.Ack.OK && c.answered:
		s += " → " + row.Ack.V
	case why != "":
		s += " → " + why
	case c.id == get && c.x.RespBody == nil:
		s += " → empty"
	case c.id == get:
		s += " → message (" + message.Size(c.size) + ")"
	case c.may:
		s += " → delivered"
	case !c.alone:
		s += " → ok"
	}
	return s
}
