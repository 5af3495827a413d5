package postgresql

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummaryQuery = 120 // bytes of a query in a summary

// emit emits a call. why is the value of column error, empty if the call ended normally. in is
// the current input, or nil.
func (k *conn) emit(c *call, in *dissect.Input, why string) {
	k.flush(in)
	switch s := k.stream; {
	case s == nil:
	case s.start == c:
		k.end(in, "cut")
		k.stream = nil
	case s.part == c:
		s.part, s.block = nil, false
	}
	for _, p := range [...]**call{&k.open, &k.last, &k.orphan, &k.req.call, &k.rep.call} {
		if *p == c {
			*p = nil
		}
	}
	k.live = max(k.live-1, 0)
	k.c.Release(c.size)
	c.size = 0
	row := &Row{Kind: c.kind, Ahead: c.ahead, Database: table.NonEmpty(k.database), User: table.NonEmpty(k.user),
		Application: table.NonEmpty(k.application), Notices: c.notices, Suspended: c.suspended,
		PID: c.pid, Version: table.NonEmpty(c.version), Channel: table.NonEmpty(c.channel)}
	hasRequest := c.x.HasRequest()
	unsolicited := c.unsolicited()
	switch {
	case c.bad:
		why = "malformed"
	case c.gap:
		why = "gap"
	case (!hasRequest || c.kind == kindReply) && !unsolicited:
		why = "no_request"
	case (c.kind == kindPrepare || c.kind == kindClose) && !c.skipped:
		c.answered = c.answered || why == ""
	case c.skipped && !c.answered:
		why, row.Outcome = table.SkippedBatch, table.Skipped
	case why == "" && !c.answered:
		why = "no_response"
	}
	if why != "" {
		row.Error = table.Some(why)
	}
	row.Complete = why == ""
	row.Success = c.answered && c.err == nil
	k.fill(c, row)
	switch {
	case c.err != nil && c.gaveUp:
		row.Outcome = table.ClientError
	case c.err != nil && (c.err.code != "" || why != "gap"): // else the code, which says whose error it is, may be in the gap
		row.Outcome = outcome(row.ErrCode.V)
	}
	row.Summary = k.summary(c, row, why)
	if c.stream == nil || hasRequest || c.x.HasResponse() { // else all bytes are those of transactions
		if c.kind != kindStartup {
			k.c.Unaffected(&c.x, dissect.ToServer)
		}
		k.c.Emit(&c.x, row)
	}
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
	if c.parts > 1 {
		row.Index = table.Some(c.part)
	}
	if c.stmt != nil {
		row.Statement = table.NonEmpty(c.stmt.name)
		row.Params = c.params.text(c.stmt.oids)
	}
	if c.portal != nil {
		row.Portal = table.NonEmpty(c.portal.name)
	}
	cols := c.cols
	if cols == nil && c.stmt != nil && c.rows > 0 {
		cols = c.stmt.cols
	}
	if cols != nil {
		row.Columns = cols.names
	}
	switch {
	case c.tagRows.OK:
		row.Rows = c.tagRows
	case c.rows > 0 || c.suspended:
		row.Rows = table.Some(c.rows)
	}
	if len(c.preview) > 0 {
		row.Preview = table.Some(string(c.preview))
	}
	if c.copied {
		row.CopyBytes = table.Some(c.copyBytes)
	}
	k.replicated(c, row)
	if e := c.err; e != nil {
		row.Severity, row.ErrCode, row.ErrMessage, row.ErrDetail = table.NonEmpty(e.severity), table.NonEmpty(e.code), table.NonEmpty(e.message), table.NonEmpty(e.detail)
		row.StatusText = table.NonEmpty(e.code)
	}
	switch c.tx {
	case 'I':
		row.Transaction = table.Some("idle")
	case 'T':
		row.Transaction = table.Some("transaction")
	case 'E':
		row.Transaction = table.Some("failed")
	}
	if c.proved || c.auth == "trust" { // else the client gave up before it sent what the server asked for
		row.AuthKind = table.NonEmpty(c.auth)
	}
	k.verbs(c, row)
}

// verbs sets the method and the command.
func (k *conn) verbs(c *call, row *Row) {
	switch c.kind {
	case kindQuery, kindExecute, kindReply:
		verb := sqltext.Verb(c.query)
		if verb == "" {
			verb, _, _ = strings.Cut(c.tag, " ")
		}
		row.Method = table.NonEmpty(verb)
		if row.Command = table.NonEmpty(c.tag); c.tag == "" {
			row.Command = table.NonEmpty(verb)
		}
	case kindReplication:
		row.Method = table.Some(c.changes.command)
		row.Command = row.Method
	case kindPrepare:
		row.Method = table.Some("PREPARE")
	case kindNotify:
		row.Method = table.Some("NOTIFY")
	default:
		row.Method = table.Some(strings.ToUpper(c.kind))
	}
}

// summary is the statement → its tag, its error, or the reason why there is none.
func (k *conn) summary(c *call, row *Row, why string) string {
	b := k.scratch[:0]
	switch c.kind {
	case kindStartup:
		b = append(b, "startup "...)
		b = append(b, clip.Text(k.user, 60)...)
		b = append(b, '@')
		b = append(b, clip.Text(k.database, 60)...)
		if c.auth != "" {
			b = append(b, ", "...)
			b = append(b, c.auth...)
		}
	case kindCancel:
		b = strconv.AppendInt(append(b, "cancel request for process "...), c.pid.V, 10)
		k.scratch = b
		return string(b)
	case kindNotify:
		b = append(append(append(b, "notification "...), clip.Text(c.channel, 60)...), ' ')
		b = append(b, clip.Text(c.text, maxSummaryQuery)...)
	case kindNotice:
		b = append(append(b, "notice "...), clip.Text(strings.Join(c.notices, " "), maxSummaryQuery)...)
	case kindStatus:
		b = append(append(b, "parameter "...), clip.Text(c.text, maxSummaryQuery)...)
	case kindReplication:
		b = c.replicated(b)
	case kindSSL, kindGSS:
		b = append(b, strings.ReplaceAll(c.kind, "_", " ")...)
	case kindPrepare:
		b = sqltext.AppendLine(append(b, "prepare "...), c.query)
	case kindClose:
		b = append(append(b, "close "...), clip.Text(c.text, 60)...)
	default:
		switch b = sqltext.AppendLine(b, c.query); {
		case len(b) == 0 && c.empty:
			b = append(b, "empty statement"...)
		case len(b) == 0:
			b = append(b, '?')
		}
	}
	if c.unsolicited() {
		k.scratch = b
		return string(bytes.TrimSpace(b))
	}
	b = append(bytes.TrimRight(b, " "), " → "...)
	b = c.outcome(b, row, why)
	k.scratch = b
	return string(b)
}

// outcome appends the result of the call.
func (c *call) outcome(b []byte, row *Row, why string) []byte {
	switch {
	case c.err != nil:
		b = append(append(b, c.err.severity...), ' ')
		b = append(append(b, c.err.code...), ' ')
		return append(b, clip.Text(c.err.message, maxSummaryQuery)...)
	case c.tag != "":
		b = append(b, c.tag...)
		if row.Rows.OK {
			b = strconv.AppendInt(append(b, ' '), row.Rows.V, 10)
		}
	case c.kind == kindSSL || c.kind == kindGSS:
		if c.text != "" {
			return append(b, c.text...)
		}
	case c.suspended:
		b = strconv.AppendInt(append(b, "suspended after "...), c.rows, 10)
	case c.skipped:
		return append(b, "skipped after an error"...)
	case c.answered && (c.stream == nil || why == ""):
		return append(b, "ok"...)
	}
	if c.tag == "" && why != "" {
		b = append(b, why...)
	}
	return b
}

// outcome maps an SQLSTATE to an outcome by its class (appendix A of PostgreSQL's manual) and the rule of data stores in
// docs/format/calls.md.
func outcome(state string) string {
	if len(state) < 2 {
		return table.ServerError
	}
	switch state[:2] {
	case "08", "40", "53", "54", "55", "57", "58", "F0", "HV", "XX":
		return table.ServerError
	}
	return table.ClientError
}
