package tds

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummary = 120 // bytes of an error in a summary

// serverClass is the least class of an error that the request did not cause.
const serverClass = 17

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	s := c.s
	s.queue.Remove(c)
	if s.request.call == c {
		s.request.call, s.request.buf, s.request.rows = nil, nil, tokens{}
	}
	if s.response.call == c {
		s.response.call, s.response.words.c = nil, nil
	}
	row := c.row
	switch {
	case c.bad:
		why = "malformed"
	case c.gap:
		why = "gap"
	case !c.x.HasRequest():
		why = "no_request"
	}
	row.Call.Error = table.NonEmpty(why)
	row.Complete = why == "" && c.whole
	row.Success = c.answered && row.Errors == 0
	if len(c.preview) > 0 {
		row.Preview = table.Some(strings.TrimSuffix(string(c.preview), "\n"))
	}
	row.Method = c.verb()
	if row.Errors > 0 {
		row.Outcome = outcome(row)
		if row.ErrNumber.OK {
			row.StatusCode = table.Some(int32(row.ErrNumber.V))
			row.StatusText = table.Some("ERROR " + strconv.FormatInt(row.ErrNumber.V, 10))
		}
	}
	row.Summary = c.summary(why)
	k.c.Emit(&c.x, row)
}

// outcome follows the rule of data stores in docs/format/calls.md.
func outcome(row *Row) string {
	if row.Class.V >= serverClass || tables()["server"][row.ErrNumber.V] != "" {
		return table.ServerError
	}
	return table.ClientError
}

func (c *call) summary(why string) string {
	row := c.row
	var b []byte
	switch {
	case !row.Type.OK:
		b = append(b, '?')
	case row.SQL.OK && (strings.HasSuffix(row.Procedure.V, "prepare")):
		b = sqltext.AppendLine(append(append(b, row.Procedure.V...), ": "...), row.SQL.V)
	case row.SQL.OK:
		b = sqltext.AppendLine(b, row.SQL.V)
	case row.Procedure.OK:
		b = append(append(b, "EXEC "...), row.Procedure.V...)
		if row.Handle.OK {
			b = strconv.AppendInt(append(b, ' '), row.Handle.V, 10)
		}
	case row.Transaction.OK:
		b = append(append(b, "transaction "...), row.Transaction.V...)
	case c.kind == typeBulk:
		b = append(b, "bulk load of "+clip.Count(row.Bulk.V, "row", "rows")...)
	case c.kind == typeLogin && c.sealed:
		b = append(b, "LOGIN7 in TLS"...)
	case c.kind == typeLogin:
		b = append(append(b, "LOGIN7 "...), row.User.V...)
	default:
		b = append(b, row.Type.V...)
	}
	b = append(b, " → "...)
	switch {
	case row.ErrNumber.OK:
		b = append(append(b, row.StatusText.V...), ": "...)
		b = append(b, clip.Line([]byte(row.Message.V), maxSummary)...)
	case row.Errors > 0:
		b = append(b, "error"...)
	case why != "":
		b = append(b, why...)
	case row.Cancelled:
		b = append(b, "cancelled"...)
	case row.Rows.OK:
		b = append(b, clip.Count(row.Rows.V, "row", "rows")...)
	case row.Affected.OK:
		b = append(b, clip.Count(row.Affected.V, "row affected", "rows affected")...)
	case c.kind == typePrelogin:
		b = append(b, ("encryption " + row.Encryption.V)...)
	default:
		b = append(b, "ok"...)
	}
	return string(b)
}
