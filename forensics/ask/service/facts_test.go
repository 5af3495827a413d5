package service

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/chain"
)

func TestWaitingForOneAfterTheOther(t *testing.T) {
	call := func(from, to int64) *chain.Step { return &chain.Step{Start: from, End: to, Protocol: "http1"} }
	s := call(0, 100)
	for _, row := range []struct {
		name     string
		children []*chain.Step
		alone    int64
		sequence int
		saves    int64
	}{
		{"in sequence", []*chain.Step{call(0, 30), call(30, 60), call(60, 90)}, 90, 3, 60},
		{"side by side", []*chain.Step{call(0, 40), call(1, 41), call(2, 42)}, 0, 1, 0},
		{"one", []*chain.Step{call(10, 90)}, 80, 1, 0},
		{"none", nil, 0, 0, 0},
		{"after its end", []*chain.Step{call(200, 300)}, 0, 0, 0},
	} {
		alone, sequence, saves := waitTimes(s, row.children)
		if alone != row.alone || sequence != row.sequence || saves != row.saves {
			t.Errorf("%s: %d, %d, %d", row.name, alone, sequence, saves)
		}
	}
}
