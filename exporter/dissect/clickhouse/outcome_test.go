package clickhouse

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestWhoseFaultAnErrorIs has the rule of data stores: states, limits and other sessions are faults of the server, the rest of the
// statement or its user.
func TestWhoseFaultAnErrorIs(t *testing.T) {
	for code, want := range map[int32]string{473: table.ServerError, 202: table.ServerError, 203: table.ServerError, 241: table.ServerError, 60: table.ClientError, 516: table.ClientError, 497: table.ClientError, 201: table.ClientError} {
		if got := outcome(code); got != want {
			t.Errorf("%d is %s, want %s", code, got, want)
		}
	}
}
