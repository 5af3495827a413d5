package mysql

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestWhoseFaultAnErrorIs has the rule of data stores: states, limits and other sessions are faults of the server, the rest of the
// statement or its user.
func TestWhoseFaultAnErrorIs(t *testing.T) {
	for _, x := range []struct {
		code        int
		state, want string
	}{{1205, "HY000", table.ServerError}, {1213, "40001", table.ServerError}, {1040, "08004", table.ServerError}, {1203, "42000", table.ServerError}, {1317, "70100", table.ServerError},
		{1064, "42000", table.ClientError}, {1062, "23000", table.ClientError}, {1045, "28000", table.ClientError}, {3118, "HY000", table.ClientError}, {1226, "42000", table.ClientError}} {
		if got := outcome(&serverError{code: x.code, state: x.state}); got != x.want {
			t.Errorf("%d is %s, want %s", x.code, got, x.want)
		}
	}
}
