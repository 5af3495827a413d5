package dns

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.pending.Remove(c.entry)
	k.kept -= c.kept
	row := c.row
	hasRequest, hasResponse := c.x.HasRequest(), c.x.HasResponse()
	if why == "" && c.broken != "" {
		why = c.broken
	}
	// If one side is a group, or answers for a group, one message is the whole call.
	single := k.unpaired && hasRequest != hasResponse
	switch {
	case single:
		if why == "no_response" {
			why = ""
		}
	case !hasRequest && why == "":
		why = "no_request"
	}
	if why != "" {
		row.Error = table.Some(why)
	}
	row.Complete = why == "" && (hasRequest && hasResponse || single)
	if hasResponse {
		row.Outcome = outcome(c.rcode)
	}
	if !hasResponse {
		row.Flags = flagNames(make([]string, 0, maxFlags), c.flags, c.requested&requestedDO != 0, c.requested&requestedQU != 0)
	}
	row.Summary = k.summary(c, why)
	k.c.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.c.Emit(&c.x, row)
	*c = call{}
	k.spare = c
}

// summary returns "TYPE name → first value", with the number of further records.
func (k *conn) summary(c *call, why string) string {
	row := c.row
	buf := make([]byte, 0, 128)
	if row.Opcode != opQuery {
		buf = append(append(buf, row.Method.V...), ' ')
	}
	if len(row.Questions) > 0 {
		buf = append(append(buf, row.Types[0]...), ' ')
		buf = appendShort(buf, row.Questions[0])
		if n := len(row.Questions) - 1; n > 0 {
			buf = append(buf, " +"...)
			buf = strconv.AppendInt(buf, int64(n), 10)
		}
	} else if k.unpaired && len(row.AnswerNames) > 0 {
		buf = append(append(buf, row.AnswerTypes[0]...), ' ')
		buf = appendShort(buf, row.AnswerNames[0])
	} else {
		buf = append(buf, '?')
	}
	if !row.HasResponse && why == "" {
		return string(append(buf, ", to a group"...))
	}
	buf = append(buf, " → "...)
	switch {
	case !row.HasResponse && why == "no_response":
		return string(append(buf, "no response"...))
	case !row.HasResponse:
		return string(append(buf, why...))
	case c.rcode != 0:
		buf = append(buf, row.StatusText.V...)
	case c.records == 0 && row.Opcode == opQuery:
		buf = append(buf, "no records"...)
	case c.records == 0:
		buf = append(buf, row.StatusText.V...)
	default:
		buf = appendShort(buf, c.first)
		if c.records > 1 {
			buf = append(buf, " +"...)
			buf = strconv.AppendInt(buf, int64(c.records-1), 10)
		}
	}
	if why != "" && why != "no_request" {
		buf = append(append(buf, ", "...), why...)
	}
	return string(buf)
}

func appendShort(dst []byte, s string) []byte {
	if len(s) <= maxSummaryName {
		return append(dst, s...)
	}
	return append(append(dst, clip.Cut(s, maxSummaryName)...), "…"...)
}

// outcome maps a response code to an outcome (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
func outcome(rcode int) string {
	switch rcode {
	case 0:
		return ""
	case 2, 4: // SERVFAIL, NOTIMP
		return table.ServerError
	case 5:
		return table.Refused
	}
	return table.ClientError
}
