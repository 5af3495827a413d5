package machine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/bpf"
)

// TestAProcessEndsOnce makes the last two threads of a process end at the same time, and then
// starts another process with the same PID.
func TestAProcessEndsOnce(t *testing.T) {
	p := NewProcesses(&Clock{}, nil)
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
		{exit(300), false}, // its start was not seen
		{exit(300), true},
	} {
		if step.e.Kind == bpf.EventExit && p.Ended(step.e) != step.know {
			t.Errorf("exit of the process started at %d: known %v, want %v", step.e.Start, !step.know, step.know)
		}
		step.e.Time = step.e.Start + 10
		p.Add(step.e)
	}
}

// TestScanAfterLostEvents covers missed starts, missed ends, and reused PIDs.
func TestScanAfterLostEvents(t *testing.T) {
	var c Clock
	c.Calibrate()
	c.Tick()
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleep.Wait()
	defer sleep.Process.Kill()
	first := NewProcesses(&c, nil)
	first.Scan("/nowhere")
	me, its := uint32(os.Getpid()), uint32(sleep.Process.Pid)
	if first.By[me] == nil || first.By[its] == nil || first.By[its].From != 0 {
		t.Fatalf("%+v, %+v", first.By[me], first.By[its])
	}
	p := NewProcesses(&c, nil)
	began := int64(c.Now.Real)
	p.put(&Process{PID: its, Name: "sh", bootStart: first.By[its].bootStart})             // it was a shell before
	p.put(&Process{PID: me, Name: first.By[me].Name, bootStart: 1e7})                     // another process had our PID
	p.put(&Process{PID: 1 << 30, Name: "gone"})                                           // no process has this PID
	p.put(&Process{PID: 1, Name: first.By[1].Name, bootStart: first.By[1].bootStart + 5}) // init, with all digits of its start
	c.readAt = 0
	c.Tick()
	p.Scan("/nowhere")
	if got := p.By[its]; got.Name != "sleep" || got.From < began || p.Of(its, began-1).Name != "sh" {
		t.Errorf("another program: %+v", got)
	}
	if got := p.By[me]; got.bootStart != first.By[me].bootStart || got.From != got.Start {
		t.Errorf("another process: %+v", got)
	}
	if got := p.By[1<<30]; got.To < began {
		t.Errorf("an ended process: %+v", got)
	}
	if got := p.By[1]; got.before != nil || got.To != 0 || got.From != 0 {
		t.Errorf("an unchanged process: %+v", got)
	}
}

// TestArgumentsAreMasked starts a program with and without a function that masks.
func TestArgumentsAreMasked(t *testing.T) {
	event := &bpf.Event{Kind: bpf.EventExec, TGID: 7, Args: []byte("app\x00--password\x00hunter2\x00"), ArgsLen: 23}
	for want, mask := range map[string]func([]string) []string{
		"app *** ***":           nil,
		"app --password masked": func(args []string) []string { args[2] = "masked"; return args },
	} {
		if got := strings.Join(NewProcesses(&Clock{}, mask).Add(event).Args, " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
