package kerberos

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummary = 300

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method, row.Path = table.Some(row.Type), row.Service
	if service, host, ok := strings.Cut(row.Service.V, "/"); ok && service != "krbtgt" {
		row.Host = table.NonEmpty(host)
	}
	if code := row.ErrorCode; code.OK {
		row.StatusCode, row.StatusText = code, table.Some(tables()["error"].Name(int64(code.V), "error_"))
		row.Outcome = outcome(int64(code.V))
	}
	row.Summary = row.summary(c.X.HasRequest(), why)
}

// outcome returns the outcome of an error code.
func outcome(code int64) string {
	for _, kind := range [...]string{table.ServerError, table.Refused} {
		if tables()[kind][code] != "" {
			return kind
		}
	}
	if tables()["ok"][code] != "" {
		return ""
	}
	return table.ClientError
}

func (r *Row) summary(asked bool, why string) string {
	s := r.Type
	if r.Client.OK {
		s += " " + r.Client.V
		if r.ClientRealm.OK {
			s += "@" + r.ClientRealm.V
		}
	}
	if r.Service.OK {
		s += " for " + r.Service.V
	}
	switch {
	case r.ResponseType.OK && r.StatusText.OK:
		s += " → " + r.StatusText.V
	case r.ResponseType.OK && asked:
		s += " → " + r.ResponseType.V
		if r.Weak.OK {
			s += " (" + r.Weak.V + ")"
		}
	default:
		s += " → " + why
	}
	return clip.Line([]byte(s), maxSummary)
}
