package mongodb

import (
	_ "embed" // for names.txt
	"strconv"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummary = 160 // bytes of a statement or an error in a summary

//go:embed names.txt
var namesText string

type nameTables struct {
	op, compressor, code, server names.Table
	secret, elsewhere            map[string]bool
}

var tables = sync.OnceValue(func() nameTables {
	t := names.Read(namesText)
	return nameTables{t["operation"], t["compressor"], t["error"], t["server"], set(t["secret"]), set(t["elsewhere"])}
})

func set(t names.Table) map[string]bool {
	m := map[string]bool{}
	for _, name := range t {
		m[name] = true
	}
	return m
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.framed.Forget(c)
	row := c.row
	switch {
	case c.bad:
		why = "malformed"
	case !c.x.HasRequest() && !c.pushed:
		why = "no_request"
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && (c.pushed || c.asked)
	row.Success = row.Success && c.x.HasResponse()
	row.Method = row.Command
	if row.Command.OK && row.Database.OK {
		row.Path = table.NonEmpty(row.namespace())
	}
	if row.Errors > 0 {
		row.StatusCode = row.ErrCode
		row.StatusText = row.ErrName
		if !row.StatusText.OK {
			row.StatusText = table.Some("error")
		}
		if row.Outcome = outcome(row.ErrCode.V); row.Partial && !row.ErrCode.OK {
			row.Outcome = table.Unread
		}
	} else if c.x.HasResponse() && row.Success {
		row.StatusCode = table.Some[int32](0)
	}
	row.Summary = c.summary(why)
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}

// outcome returns the outcome of an error code.
func outcome(code int32) string {
	if code == 0 || tables().server[int64(code)] != "" {
		return table.ServerError
	}
	return table.ClientError
}

func (c *call) summary(why string) string {
	row := c.row
	s := "?"
	if row.Query.OK {
		s = clip.Text(row.Query.V, maxSummary)
	} else if row.Command.OK {
		s = strings.TrimSpace(row.Command.V + " " + row.namespace())
	}
	if c.pushed {
		s += " (exhaust)"
	}
	switch strings.ToLower(row.Command.V) {
	case "saslstart", "authenticate":
		s = strings.TrimSpace(s + " " + row.Mechanism.V + " " + row.User.V)
	}
	if row.Documents.OK {
		s += ", " + row.count(row.Documents.V, c.noun())
	}
	s += " → "
	switch {
	case row.Errors > 0:
		s += row.StatusText.V
		if row.ErrMessage.OK {
			s += ": " + clip.Text(row.ErrMessage.V, maxSummary)
		}
	case why != "":
		s += why
	case c.silent:
		s += "no reply requested"
	case row.Rows.OK:
		s += row.count(row.Rows.V, "document")
	case row.Affected.OK:
		s += "n=" + strconv.FormatInt(row.Affected.V, 10)
	default:
		s += "ok"
	}
	return s
}

func (c *call) noun() string {
	switch c.row.Command.V {
	case "update", "delete":
		return c.row.Command.V
	}
	return "document"
}
