package exporter

import "testing"

// TestUnfinishedChecksumsAreReportedOnce has connections of all shards on one interface.
func TestUnfinishedChecksumsAreReportedOnce(t *testing.T) {
	m, _ := made(t, Options{Stdin: floods["SYNs from random addresses"].make(500)}, "-")
	if got := m.Accounts.Counters["link"]["unfinished_checksums"]; got != 1 {
		t.Errorf("told %d times, want once: %v", got, m.Accounts.Counters)
	}
}
