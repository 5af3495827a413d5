package clickhouse

import (
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.Remove(c)
	if k.stray == c {
		k.stray = nil
	}
	for i := range k.sides {
		s := &k.sides[i]
		if s.call == c {
			s.call = nil
		}
		if s.block != nil && s.block.call == c {
			s.block.call = nil
		}
	}
	row := c.row
	switch {
	case c.lost != "":
		why = c.lost
	case !c.x.HasRequest():
		why = "no_request"
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && c.whole && !row.Partial.V
	row.Success, row.Partial = table.Some(c.answered && !row.ErrCode.OK), table.Some(row.Partial.V)
	if row.Inserted.OK && row.Rows.V == 0 { // the server showed the columns of the table only
		row.Rows = table.Opt[int64]{}
	}
	row.Method = row.Kind
	if verb := sqltext.Verb(row.SQL.V); verb != "" {
		row.Method = table.Some(verb)
	}
	if row.ErrCode.OK {
		row.StatusCode, row.StatusText = row.ErrCode, row.ErrName
		row.Outcome = outcome(row.ErrCode.V)
	}
	row.Summary = c.summary(why)
	k.Conn.Emit(&c.x, row)
}

// outcome follows the rule of data stores in docs/format/calls.md.
func outcome(code int32) string {
	if tables()["server"][int64(code)] != "" {
		return table.ServerError
	}
	return table.ClientError
}

func (c *call) summary(why string) string {
	row := c.row
	var b []byte
	switch {
	case row.SQL.OK:
		b = sqltext.AppendLine(b, row.SQL.V)
	case row.Kind.V == "HELLO":
		b = append(append(b, "HELLO "...), row.User.V...)
	case row.Kind.OK:
		b = append(b, row.Kind.V...)
	default:
		b = append(b, '?')
	}
	b = append(b, " → "...)
	switch {
	case row.ErrCode.OK:
		b = append(b, row.problem()...)
	case why != "":
		b = append(b, why...)
	case row.Inserted.OK, row.Rows.OK:
		b = append(b, row.count()...)
	case row.Kind.V == "HELLO" && row.Server.OK:
		b = append(b, row.Server.V...)
	default:
		b = append(b, "ok"...)
	}
	return string(b)
}
