package report

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestReportsShowWhatWasNotDelivered has refused connections, ICMP errors and unanswered datagrams, and no call that a
// server answered: the reports that somebody reads to find out why list them with their packets.
func TestReportsShowWhatWasNotDelivered(t *testing.T) {
	var w traffic.Capture
	for i := range 20 {
		w.Attempt(time.Duration(i)*time.Millisecond, "10.0.0.1", "10.0.0.7:"+[]string{"22", "23"}[i%2], true)
	}
	w.Attempt(time.Second, "10.0.0.1", "203.0.113.8:443", false)
	w.Datagram(time.Second, "10.0.0.1", "10.0.0.9:53", "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01")
	w.Unreachable(time.Second+time.Millisecond, "10.0.0.9", "10.0.0.1")
	w.Ping(2*time.Minute, "10.0.0.1", "10.0.0.2", true)
	file := filepath.Join(t.TempDir(), "made.pcap")
	if err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	c := open(t, makeBundle(t, exporter.Options{}, "made", file))
	for name, ids := range map[string][]string{"overview": {"connections-table", "icmp-errors-table"}, "incident": {"connections-table", "icmp-errors-table"}, "vendor": {"connections-table", "icmp-errors-table"}, "egress": {"icmp-errors-table"}} {
		r, err := Build(t.Context(), c, known(Options{Name: name}))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			tab := findTable(r, id)
			if tab == nil {
				t.Errorf("%s has no table %s", name, id)
				continue
			}
			for _, row := range tab.Rows {
				if len(row.Cite) == 0 || row.Cite[0].Packets == "" {
					t.Errorf("%s: a row of %s cites no packets: %+v", name, id, row.Cells)
				}
			}
		}
		if name == "incident" {
			texts := ""
			for _, s := range r.Sections {
				for _, x := range s.Statements {
					texts += x.Text + "\n"
				}
			}
			if want := "Of the 1 failed call, 1 was a datagram without an answer in the capture."; !strings.Contains(texts, want) {
				t.Errorf("the incident report lacks %q:\n%s", want, texts)
			}
		}
	}
}

// TestReportsSayWhatArrived has the same request without an answer in four ways.
func TestReportsSayWhatArrived(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made.pcap")
	if err := traffic.Fates().Write(file); err != nil {
		t.Fatal(err)
	}
	r, err := Build(t.Context(), open(t, makeBundle(t, exporter.Options{}, "made", file)), known(Options{Name: "incident"}))
	if err != nil {
		t.Fatal(err)
	}
	texts := ""
	for _, s := range r.Sections {
		for _, x := range s.Statements {
			texts += x.Text + "\n"
		}
	}
	const want = "Failed calls without a response: 1 not delivered (the network, or the receiving machine), 1 delivered and not answered (the server), 1 answered too late (the caller had given up), 1 of unknown delivery (the capture does not show it)."
	if !strings.Contains(texts, want) {
		t.Errorf("the incident report lacks %q:\n%s", want, texts)
	}
}
