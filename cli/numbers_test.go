package cli

import (
	"testing"

	"github.com/pcapsule/pcapsule/cli/flagtest"
)

func TestNumbersHaveLimits(t *testing.T) {
	if checked := flagtest.Numbers(t, (&env{}).root()); checked < 50 {
		t.Errorf("only %d flags were checked", checked)
	}
}
