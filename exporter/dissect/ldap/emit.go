package ldap

import (
	_ "embed" // for names.txt
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	c.gap = k.parts.Forget(c) || c.gap
	row := c.row
	if c.losses != k.losses && row.Type == "search" && !c.single {
		c.gap = true // entries may be missing
	}
	alone := c.single || row.Type == "notification"
	switch {
	case c.bad:
		why = string(dissect.LossMalformed)
	case c.gap && (why == "" || c.done):
		why = string(dissect.LossGap)
	case !c.x.HasRequest() && !alone:
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method, row.Path = table.Some(strings.ToUpper(row.Type)), row.DN
	if row.OID.V == startTLS && row.Type == "extended" {
		row.Method = table.Some("STARTTLS")
	}
	if !row.DN.OK || row.DN.V == "" {
		row.Path = row.OID
	}
	if code := row.Result; code.OK {
		row.StatusCode = code
		row.StatusText = table.Some(tables()["result"].Name(int64(code.V), "result_"))
		row.Outcome = outcome(code.V)
	}
	row.Summary = c.summary(why)
	k.Conn.Emit(&c.x, row)
}

// outcome returns the outcome of a result code.
func outcome(code int32) string {
	is := func(kind string) bool { return tables()[kind][int64(code)] != "" }
	switch {
	case is(table.OK):
		return "" // unless something is missing
	case is(table.ServerError):
		return table.ServerError
	case is(table.Refused):
		return table.Refused
	}
	return table.ClientError
}

const maxSummary = 120 // bytes of a text in a summary

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	for _, part := range []string{row.DN.V, row.OID.V, row.Mechanism.V, row.Auth.V, row.Scope.V, row.Filter.V, strings.Join(row.Changes, ", "), row.NewName.V} {
		if part != "" && !(part == row.OID.V && row.Method.V == "STARTTLS") {
			s += " " + clip.Text(part, maxSummary)
		}
	}
	switch {
	case row.Type == "sealed":
		return "SEALED messages that SASL encrypted"
	case c.single:
		return s
	}
	s += " → "
	entries := ""
	if row.Entries.OK {
		entries = clip.Count(int64(row.Entries.V), "entry", "entries")
	}
	switch {
	case row.Abandoned:
		return s + "abandoned"
	case row.Result.OK && (row.Result.V != 0 || entries == ""):
		s += row.StatusText.V
	case row.Result.OK:
		return s + entries
	default:
		return s + why
	}
	if row.Entries.V > 0 {
		s += ", " + entries
	}
	return s
}
