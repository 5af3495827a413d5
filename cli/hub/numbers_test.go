package hub

import (
	"bytes"
	"testing"

	"github.com/pcapsule/pcapsule/cli/flagtest"
)

func TestNumbersHaveLimits(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	if checked := flagtest.Numbers(t, command(none, &bytes.Buffer{})); checked < 4 {
		t.Errorf("only %d flags were checked", checked)
	}
}
