package all_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestCoverageGaps reads damaged captures and one with counters of losses.
func TestCoverageGaps(t *testing.T) {
	for name, want := range map[string]string{
		"hard/drops.pcapng":         "medium: 2 coverage gaps with the reason drop, with 17 packets known to be lost or left out 2026-01-01T00:00:00.000000000Z to 2026-01-01T00:00:00.007000000Z, eth0: the interface statistics report lost packets, but not when they were lost",
		"hard/truncated.pcap":       "medium: 1 coverage gap with the reason damaged, with 0 packets known to be lost or left out 2026-01-01T00:00:00.006000000Z to 2026-01-01T00:00:00.006000000Z, truncated.pcap: 40 bytes at 707",
		"hard/corrupt-block.pcapng": "medium: 1 coverage gap with the reason damaged, with 0 packets known to be lost or left out 2026-01-01T00:00:00.007000000Z to",
		"dns.pcap":                  "",
	} {
		c := open(t, false, name)
		got := of(t, c, "coverage-gap")
		if want == "" {
			hold(t, got)
			continue
		}
		hold(t, got, want)
	}
}

// TestClocksThatWereNotSynchronized has segments of three nodes, one of which had a good clock, and another file.
func TestClocksThatWereNotSynchronized(t *testing.T) {
	var files []string
	for i, header := range []string{`"node":"n1","clocks":[{"synchronized":true}]`, `"node":"n2","clocks":[{"synchronized":false}]`, `"node":"","clocks":[{"synchronized":false}]`, ""} {
		var w traffic.Capture
		w.Ping(time.Duration(i)*time.Second, "10.0.0.1", "10.0.0.2", true)
		if header != "" {
			header = fmt.Sprintf(`{"version":1,"ring":"r%d","series":"interfaces","sequence":1,"boot_id":"b%d",%s}`, i, i, header)
		}
		files = append(files, segment(t, header, &w))
	}
	out := filepath.Join(t.TempDir(), "a.pcapsule")
	if _, err := exporter.Run(ctx, files, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{out}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	finding.Bind(c, all.Analyzers())
	var clocks []string
	for _, line := range of(t, c, "coverage-gap") {
		if strings.Contains(line, "clock") {
			clocks = append(clocks, line)
		}
	}
	hold(t, clocks, "low: the clock of a node without a name was not synchronized while recording: 1 interface of a file", "low: the clock of node n2 was not synchronized while recording: 1 interface of a file")
}

// segment writes a file with a header as those of a ring have.
func segment(t *testing.T, header string, c *traffic.Capture) string {
	t.Helper()
	var list []pcapng.Packet
	c.Packets(func(ns int64, data []byte) {
		list = append(list, pcapng.Packet{LinkType: 1, Time: ns, Data: data, OrigLen: uint32(len(data))})
	})
	path := filepath.Join(t.TempDir(), "s.pcapng")
	if err := traffic.WriteSegment(path, header, list); err != nil {
		t.Fatal(err)
	}
	return path
}
