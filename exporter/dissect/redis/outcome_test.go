package redis

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestWhoseFaultAnErrorIs has the rule of data stores: states, limits and other sessions are faults of the server, the rest of the
// statement or its user.
func TestWhoseFaultAnErrorIs(t *testing.T) {
	for text, want := range map[string]string{"OOM command not allowed": table.ServerError, "READONLY You cannot write": table.ServerError, "ERR max number of clients reached": table.ServerError,
		"ERR unknown command": table.ClientError, "WRONGPASS invalid": table.ClientError, "NOAUTH Authentication required.": table.ClientError, "MOVED 1 10.0.0.1:1": table.OK} {
		word, _, _ := strings.Cut(text, " ")
		if got := outcome(word, text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}
