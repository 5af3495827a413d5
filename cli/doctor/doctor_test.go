package doctor

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder"
)

func TestRowsForPeople(t *testing.T) {
	var out strings.Builder
	printRows(&out, rows([]recorder.Check{
		{Name: "kernel", State: recorder.Good, Detail: "Linux 6.1.0 x86_64"},
		{Name: "hook cgroup ingress", State: recorder.Good, Detail: "for packets"},
		{Name: "hook cgroup egress", State: recorder.Good, Detail: "for packets"},
		{Name: "hook tracepoint inet_sock_set_state", State: recorder.Partial, Detail: "no such tracepoint", Change: "its events are missing"},
		{Name: "rights", State: recorder.Bad, Detail: "missing: CAP_BPF", Change: "run as root, or: setcap cap_bpf,cap_perfmon,cap_net_admin+ep on the program"},
		{Name: "odd\x1b[31m", State: recorder.Good, Detail: "two\nlines\x07"},
	}))
	want := `ok        kernel             Linux 6.1.0 x86_64
ok        hooks for packets  2 attached
degraded  hook tracepoint inet_sock_set_state
                             no such tracepoint
                             → its events are missing
missing   rights             missing: CAP_BPF
                             → run as root, or: setcap
                               cap_bpf,cap_perfmon,cap_net_admin+ep on the
                               program
ok        odd.[31m           two
                             lines.
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLastLine(t *testing.T) {
	for _, tt := range []struct {
		r    report
		want string
	}{
		{report{Works: true}, "Recording works on this machine."},
		{report{Works: true, Degraded: 1}, "Recording works on this machine, with 1 degradation."},
		{report{Works: true, Degraded: 2}, "Recording works on this machine, with 2 degradations."},
		{report{Missing: 1}, "Recording does not work on this machine: 1 requirement is missing."},
		{report{Missing: 2, Degraded: 1}, "Recording does not work on this machine: 2 requirements are missing, with 1 degradation."},
		{report{Missing: 1, Degraded: 3}, "Recording does not work on this machine: 1 requirement is missing, with 3 degradations."},
	} {
		if got := tt.r.summary(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
