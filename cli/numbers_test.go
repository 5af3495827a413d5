package cli_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/flagtest"
)

func TestNumbersHaveLimits(t *testing.T) {
	if checked := flagtest.Numbers(t, cli.Root()); checked < 50 {
		t.Errorf("only %d flags were checked", checked)
	}
}
