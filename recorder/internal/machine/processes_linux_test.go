package machine

import (
	"testing"

	"github.com/pcapsule/pcapsule/bpf"
)

// TestAProcessEndsOnce has the last two threads of a process end at the same time, and then
// another process with its number.
func TestAProcessEndsOnce(t *testing.T) {
	p := NewProcesses(&Clock{})
	exit := func(start uint64) *bpf.Event { return &bpf.Event{Kind: bpf.EventExit, TGID: 7, Start: start} }
	for _, step := range []struct {
		e    *bpf.Event
		know bool
	}{
		{&bpf.Event{Kind: bpf.EventFork, TGID: 7, Start: 100}, false},
		{exit(100), false},
		{exit(100), true},
		{&bpf.Event{Kind: bpf.EventFork, TGID: 7, Start: 200}, false},
		{exit(200), false},
		{exit(300), false}, // nobody saw it start
		{exit(300), true},
	} {
		if step.e.Kind == bpf.EventExit && p.Ended(step.e) != step.know {
			t.Errorf("exit of the process started at %d: known %v, want %v", step.e.Start, !step.know, step.know)
		}
		step.e.Time = step.e.Start + 10
		p.Add(step.e)
	}
}
