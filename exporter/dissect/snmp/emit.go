package snmp

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.Some(row.PDU)
	if c.X.HasResponse() {
		row.judge()
	}
	row.Summary = row.summary(c.X.HasRequest(), why)
}

// judge sets the outcome of a response.
func (r *Row) judge() {
	if r.Report.OK {
		r.StatusText = r.Report
		switch r.Report.V {
		case "usmStatsUnknownEngineIDs", "usmStatsNotInTimeWindows": // how a client learns the engine and its time
		case "usmStatsUnknownUserNames", "usmStatsWrongDigests", "usmStatsUnsupportedSecLevels":
			r.Outcome = table.Refused
		default:
			r.Outcome = table.ClientError
		}
		return
	}
	if !r.ErrorStatus.OK {
		r.Outcome = table.Unread // encrypted, or malformed before its error status
		return
	}
	r.StatusCode, r.StatusText = r.ErrorStatus, table.Some(tables()["status"].Name(int64(r.ErrorStatus.V), "error_"))
	switch r.ErrorStatus.V {
	case 0:
	case 5, 13, 14, 15: // genErr, resourceUnavailable, commitFailed, undoFailed
		r.Outcome = table.ServerError
	case 6, 16: // noAccess, authorizationError
		r.Outcome = table.Refused
	default:
		r.Outcome = table.ClientError
	}
}

func (r *Row) summary(asked bool, why string) string {
	s := "SNMPv" + r.Version + " " + r.PDU
	for _, part := range []string{r.User.V, r.Trap.V} {
		if part != "" {
			s += " " + part
		}
	}
	if len(r.OIDs) > 0 && !r.Trap.OK {
		s += " " + r.OIDs[0]
		if more := len(r.OIDs) - 1; more > 0 {
			s += fmt.Sprintf(" +%d", more)
		}
	}
	switch {
	case r.ResponsePDU.OK && asked && r.StatusText.OK && r.StatusText.V != "noError":
		s += " → " + r.StatusText.V
	case r.ResponsePDU.OK && asked && r.Variables.V == 1 && len(r.Values) == 1:
		s += " → " + r.Values[0]
	case r.ResponsePDU.OK && asked && r.ResponsePDU.V == "Response":
		s += " → " + clip.Count(r.Variables.V, "variable", "variables")
	case r.ResponsePDU.OK && asked:
		s += " → " + r.ResponsePDU.V
	case why != "":
		s += " → " + why
	}
	return clip.Line([]byte(s), maxSummary)
}
