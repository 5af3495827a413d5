package tds

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestWhoseFaultAnErrorIs has the rule of data stores: states, limits and other sessions are faults of the server, the rest of the
// statement or its user.
func TestWhoseFaultAnErrorIs(t *testing.T) {
	for number, want := range map[int64]string{1205: table.ServerError, 1222: table.ServerError, 3960: table.ServerError, 10928: table.ServerError, 208: table.ClientError, 2627: table.ClientError, 18456: table.ClientError, 229: table.ClientError} {
		if got := outcome(&Row{ErrNumber: table.Some(number), Class: table.Some[int32](14)}); got != want {
			t.Errorf("%d is %s, want %s", number, got, want)
		}
	}
	if got := outcome(&Row{ErrNumber: table.Some[int64](701), Class: table.Some[int32](17)}); got != table.ServerError {
		t.Errorf("class 17 is %s", got)
	}
}
