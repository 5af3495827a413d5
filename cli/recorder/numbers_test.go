package recorder

import (
	"testing"

	"github.com/pcapsule/pcapsule/cli/flagtest"
)

func TestNumbersHaveLimits(t *testing.T) {
	if checked := flagtest.Numbers(t, command(nil, nil, nil)); checked < 8 {
		t.Errorf("only %d flags were checked", checked)
	}
}
