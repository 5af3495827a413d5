package cassandra

import (
	_ "embed" // for names.txt
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummary = 120 // bytes of an error in a summary

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.framed.Forget(c)
	for i := range k.sides {
		if k.sides[i].call == c {
			k.sides[i].call = nil
		}
	}
	row := c.row
	switch {
	case c.bad:
		why = "malformed"
	case !c.x.HasRequest() && !c.event:
		why = "no_request"
	case why == "" && c.gap:
		why = string(dissect.LossGap)
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && (c.event || c.asked)
	row.Method = row.Opcode
	if row.CQL.OK && c.opcode != opPrepare {
		if verb := sqltext.Verb(row.CQL.V); verb != "" {
			row.Method = table.Some(verb)
		}
	}
	if c.opcode == opBatch {
		row.Method = row.Opcode
	}
	if row.ErrCode.OK {
		row.StatusCode, row.StatusText = row.ErrCode, row.ErrName
		if row.Outcome = table.ClientError; tables()["server"][int64(row.ErrCode.V)] != "" {
			row.Outcome = table.ServerError
		}
	}
	row.Summary = c.summary(why)
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}

func (c *call) summary(why string) string {
	row := c.row
	if c.event {
		return "event " + row.Change.V
	}
	var b []byte
	switch {
	case !row.Opcode.OK:
		b = append(b, '?')
	case c.opcode == opPrepare:
		b = sqltext.AppendLine(append(b, "prepare "...), row.CQL.V)
	case c.opcode == opBatch:
		b = sqltext.AppendLine(append(b, "batch of "+strconv.FormatInt(row.Statements.V, 10)+": "...), row.CQL.V)
	case row.CQL.OK:
		b = sqltext.AppendLine(b, row.CQL.V)
	default:
		b = append(b, strings.ToLower(strings.ReplaceAll(row.Opcode.V, "_", " "))...)
		if c.opcode == opAuthResponse {
			b = append(append(b, ' '), row.User.V...)
		} else if row.Prepared.OK {
			b = append(append(b, ' '), clip.Text(row.Prepared.V, 16)...)
		}
	}
	b = append(b, " → "...)
	switch {
	case row.ErrName.OK:
		b = append(append(append(b, row.ErrName.V...), ": "...), clip.Text(row.ErrMessage.V, maxSummary)...)
	case why != "":
		b = append(b, why...)
	case row.Rows.OK:
		b = append(strconv.AppendInt(b, row.Rows.V, 10), " row"...)
		if row.Rows.V != 1 {
			b = append(b, 's')
		}
	case row.Change.OK && c.opcode != opRegister:
		b = append(b, row.Change.V...)
	default:
		b = append(b, "ok"...)
	}
	return string(b)
}
