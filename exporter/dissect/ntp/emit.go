package ntp

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// judge sets the outcome of a response.
func (row *Row) judge() {
	switch {
	case row.Status.OK:
		row.Outcome = table.ClientError
		if row.StatusText.V == "administratively prohibited" || row.StatusText.V == "authentication failure" {
			row.Outcome = table.Refused
		}
	case row.Kiss.OK:
		row.StatusText = row.Kiss
		switch row.Kiss.V {
		case "DENY", "RSTR":
			row.Outcome = table.Refused
		case "RATE", "NTSN":
			row.Outcome = table.ClientError
		default:
			row.Outcome = table.ServerError
		}
	case row.Leap.V == leaps[3] || row.Stratum.V == unsynchronized:
		row.StatusText, row.Outcome = table.Some(leaps[3]), table.ServerError
	}
}

func (row *Row) summary(answered bool, why string) string {
	s := fmt.Sprintf("NTPv%d %s", row.Version, row.Mode)
	if row.Operation.OK {
		s = fmt.Sprintf("NTPv%d %s %s", row.Version, row.Mode, row.Operation.V)
	}
	switch {
	case row.Mode == modes[modeBroadcast]:
		return s + fmt.Sprintf(": stratum %d", row.Stratum.V)
	case !answered:
		return s + " → " + why
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case row.Operation.OK:
		s += " → ok"
	default:
		s += fmt.Sprintf(" → stratum %d", row.Stratum.V)
		if row.Reference.OK {
			s += " " + row.Reference.V
		}
		if row.Offset.OK {
			s += fmt.Sprintf(", offset %.3f ms", float64(row.Offset.V)/1000)
		}
	}
	if why != "" {
		s += ", " + why
	}
	return s
}
