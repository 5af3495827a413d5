package failures

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// TestFewReportsExplainFewFailures has ICMP errors about some of the connections that failed.
func TestFewReportsExplainFewFailures(t *testing.T) {
	port := int64(80)
	f := &Answer{ICMP: []ask.Undelivered{{Src: "a", Dst: "b", Protocol: "tcp", Port: &port, What: "destination_unreachable host_unreachable", By: []string{"router"}, Reports: 2}}}
	for failures, want := range map[int64]string{2: "", 1: "", 0: "", 10: " 2 times"} {
		if got := f.reportWords(failures, connecting("a", "b", 80)); got != ": router reported 'host unreachable' by ICMP"+want {
			t.Errorf("of %d: %s", failures, got)
		}
	}
	if got := f.reportWords(10, connecting("a", "b", 81)); got != "" {
		t.Errorf("another port: %s", got)
	}
}
