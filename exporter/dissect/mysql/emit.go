package mysql

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummary = 120 // bytes of a text in a summary

func someInt(v int64, ok bool) table.Opt[int64] {
	if !ok {
		return table.Opt[int64]{}
	}
	return table.Some(v)
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	if k.acc.call == c {
		k.flush()
	}
	k.drop(c)
	switch {
	case c.bad:
		why = "malformed"
	case c.gap:
		why = "gap"
	case c.kind == kindReply || c.kind == kindConnect && !c.x.HasRequest() && !c.answered:
		why = "no_request"
	case why == "" && !c.answered:
		why = "no_response"
	}
	row := &Row{Database: table.NonEmpty(k.database), User: table.NonEmpty(k.user), Application: table.NonEmpty(k.app), Ahead: c.ahead}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Success = c.answered && c.err == nil
	k.fill(c, row)
	k.verbs(c, row)
	if c.err != nil {
		row.Outcome = outcome(c.err)
	} else if c.answered {
		if k.succeeded(c, row); why == "gap" {
			row.Outcome = table.OK // what is missing does not change the result
		}
	}
	row.Summary = k.summary(c, row, why)
	if !c.x.HasRequest() && !c.x.HasResponse() {
		return // its bytes were dropped
	}
	k.c.Emit(&c.x, row)
	if len(k.spare) < maxSpare {
		*c = call{preview: c.preview[:0]}
		k.spare = append(k.spare, c)
		k.spareBytes += callCost + cap(c.preview)
	}
}

// fill sets the columns for the statement and its result.
func (k *conn) fill(c *call, row *Row) {
	if c.known {
		row.SQL = table.Some(c.query)
	}
	if row.Statement, row.Thread = c.stmtID, c.thread; c.stmt != nil && c.stmt.numbered {
		row.Statement = table.Some(int64(c.stmt.id))
	}
	row.Params, row.ParamTypes, row.Attributes = c.params.texts(), c.params.typeNames(), c.attrs.named()
	cols := c.first
	if cols == nil {
		cols = c.cols
	}
	if cols != nil {
		row.Columns = cols.names
	}
	row.Rows, row.Results = c.rows, c.results
	if len(c.preview) > 0 {
		row.Preview = table.Some(string(c.preview))
	}
	row.Affected, row.LastInsertID, row.Warnings, row.Info = c.affected, c.insertID, c.warnings, table.NonEmpty(c.info)
	if e := c.err; e != nil {
		row.ErrCode, row.ErrState, row.ErrMessage = table.Some(int32(e.code)), table.NonEmpty(e.state), table.NonEmpty(e.message)
		row.StatusText = table.Some(strconv.Itoa(e.code))
		if e.state != "" {
			row.StatusText.V += " (" + e.state + ")"
		}
	}
	if c.ended && c.kind != kindConnect {
		row.Transaction = table.Some("idle")
		if c.status&statusInTransaction != 0 {
			row.Transaction.V = "transaction"
		}
	}
	row.File, row.AuthKind = table.NonEmpty(c.file), table.NonEmpty(c.auth)
	if c.kind == kindConnect || c.kind == kindSSL {
		row.Version, row.User, row.Database = table.NonEmpty(c.version), table.NonEmpty(c.user), table.NonEmpty(c.use)
		for bit := range 64 {
			if k.agreed(1<<bit) == yes {
				row.Capabilities = append(row.Capabilities, strings.TrimPrefix(nameOf("capability", bit), "capability "))
			}
		}
	}
	if c.kind == kindConnect {
		row.Compression = table.NonEmpty(k.compression)
	}
}

// verbs sets the command and the method.
func (k *conn) verbs(c *call, row *Row) {
	switch {
	case c.kind == kindConnect:
		row.Command, row.Method = table.Some("CONNECT"), table.Some("CONNECT")
	case c.kind == kindSSL:
		row.Command, row.Method = table.Some("SSL_REQUEST"), table.Some("SSL_REQUEST")
	case c.kind != kindCommand || c.command == 0:
	default:
		row.Command = table.Some(nameOf("command", int(c.command)))
		row.Method = table.Some(strings.TrimPrefix(strings.TrimPrefix(row.Command.V, "COM_"), "STMT_"))
		if c.command == comQuery || c.command == comExecute || c.command == comBulkExecute {
			row.Method = table.NonEmpty(sqltext.Verb(c.query))
		}
	}
}

// succeeded records what holds after a successful call.
func (k *conn) succeeded(c *call, row *Row) {
	switch {
	case c.command == comInitDB:
		k.database = c.use
		row.Database = table.NonEmpty(c.use)
	case c.command == comQuery && row.Method.V == "USE":
		if f := strings.Fields(c.query); len(f) > 1 {
			k.database = clip.Text(strings.Trim(f[len(f)-1], "`; \t\n"), maxParam)
			row.Database = table.NonEmpty(k.database)
		}
	case c.command == comResetSession:
		clear(k.statements)
		k.statements, k.latest, k.prepared.bytes = nil, nil, 0
	case c.command == comChangeUser:
		k.prepared = prepared{}
	}
}

// summary is the statement → its result, its error, or the reason why there is none.
func (k *conn) summary(c *call, row *Row, why string) string {
	b := k.scratch[:0]
	switch {
	case c.kind == kindConnect || c.command == comChangeUser:
		b = append(b, strings.ToLower(strings.ReplaceAll(row.Method.V, "_", " "))...)
		if c.user != "" || c.use != "" {
			b = append(append(append(append(b, ' '), clip.Text(c.user, 60)...), '@'), clip.Text(c.use, 60)...)
		}
		if c.auth != "" {
			b = append(append(b, ", "...), c.auth...)
		}
		if c.version != "" && !c.x.HasRequest() {
			b = append(append(b, ", server "...), c.version...)
		}
	case c.kind == kindSSL:
		b = append(b, "ssl request"...)
	case c.kind == kindNotice:
		b = append(b, "notice"...)
	case c.known && (c.command == comQuery || c.command == comExecute || c.command == comBulkExecute):
		b = sqltext.AppendLine(b, c.query)
	case row.Method.OK && (c.known || c.stmt != nil && c.stmt.known):
		b = append(append(b, strings.ToLower(strings.ReplaceAll(row.Method.V, "_", " "))...), ' ')
		if c.known {
			b = sqltext.AppendLine(b, c.query)
		} else {
			b = sqltext.AppendLine(b, c.stmt.query)
		}
	case row.Method.OK:
		b = append(b, strings.ToLower(strings.ReplaceAll(row.Method.V, "_", " "))...)
		if c.use != "" {
			b = append(append(b, ' '), clip.Text(c.use, 60)...)
		}
	}
	if len(b) == 0 {
		b = append(b, '?')
	}
	if c.silent && why == "" {
		k.scratch = b
		return string(b)
	}
	b = append(b, " → "...)
	b = c.result(b, why)
	k.scratch = b
	return string(b)
}

// result appends the result of the call.
func (c *call) result(b []byte, why string) []byte {
	switch {
	case c.err != nil:
		b = strconv.AppendInt(append(b, "ERROR "...), int64(c.err.code), 10)
		if c.err.state != "" {
			b = append(append(append(b, " ("...), c.err.state...), ')')
		}
		return append(append(b, ' '), clip.Text(c.err.message, maxSummary)...)
	case c.answered && c.rows.OK && c.results > 0:
		b = count(b, c.rows.V, " row")
		if c.results > 1 {
			b = count(append(b, " in "...), int64(c.results), " result")
		}
	case c.answered && c.affected.OK:
		b = append(count(b, c.affected.V, " row"), " affected"...)
	case c.answered:
		b = append(b, "ok"...)
	}
	if why != "" {
		if c.answered {
			b = append(b, ", "...)
		}
		b = append(b, why...)
	}
	return b
}

// count appends a number with its noun.
func count(b []byte, n int64, noun string) []byte {
	b = append(strconv.AppendInt(b, n, 10), noun...)
	if n != 1 {
		b = append(b, 's')
	}
	return b
}

// outcome maps an error to an outcome by the rule of data stores in docs/format/calls.md.
func outcome(e *serverError) string {
	if tables()["client_error"][int64(e.code)] != "" {
		return table.ClientError
	}
	switch s := e.state; {
	case e.partial:
		return table.Unread
	case len(s) < 2:
		return table.ServerError
	case s == "70100", e.code == userConnections: // another session ended the statement, or has the connection
		return table.ServerError
	case s[:2] == "HY" || s[:2] == "08" || s[:2] == "40" || s[:2] == "53" || s[:2] == "XA" || s[:2] == "HV":
		return table.ServerError
	}
	return table.ClientError
}
