package ask_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

func TestOutcome(t *testing.T) {
	for _, row := range [][2]string{{"no_response", "no response"}, {"nca_s_fault_ndr", "nca_s_fault_ndr"}, {"200 NOT_FOUND", "200 NOT_FOUND"}, {"NFS4ERR_NOENT", "NFS4ERR_NOENT"},
		{"destination_unreachable port_unreachable", "destination unreachable port unreachable"}, {"reset by the server", "reset by the server"}, {"", ""}} {
		if got := ask.Outcome(row[0]); got != row[1] {
			t.Errorf("%q is %q, want %q", row[0], got, row[1])
		}
	}
}
