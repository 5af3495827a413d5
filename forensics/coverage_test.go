package forensics_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// TestPausesBetweenRecordings has two recordings of 60 s with a packet every second, and a pause between
// them. Whether it is a coverage gap does not depend on the question, or on how many files and bundles
// there are.
func TestPausesBetweenRecordings(t *testing.T) {
	all := packets(t, filepath.Join("..", "samples", "dns.pcap"))
	const year = 365 * 24 * time.Hour
	for _, x := range []struct {
		name           string
		pause, silence time.Duration
		sequence       [2]int // of segments of a ring; 0: captures
		gap            bool
		quiet          int // long times without a packet that are no gaps
	}{
		{"a file that continues another", time.Second, time.Second, [2]int{}, false, 0},
		{"files that rotate on a quiet link", 9 * time.Second, time.Second, [2]int{}, false, 0},
		{"a silence as within the files", 18 * time.Minute, 10 * time.Minute, [2]int{}, false, 3},
		{"a pause", 12 * time.Second, time.Second, [2]int{}, true, 0},
		{"a pause longer than silences", 21 * time.Minute, 10 * time.Minute, [2]int{}, true, 2},
		{"years", 7 * year, time.Second, [2]int{}, true, 0},
		{"segments of a recorder that ran on", time.Hour, time.Second, [2]int{3, 4}, false, 0},
		{"segments with a missing one between them", time.Hour, time.Second, [2]int{3, 5}, true, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			first := aMinute(all, all[0].Time, x.silence)
			pause := [2]int64{first[len(first)-1].Time + 1}
			second := aMinute(all, first[len(first)-1].Time+int64(x.pause), x.silence)
			pause[1] = second[0].Time - 1
			var headers [2]string
			for i, n := range x.sequence {
				if n > 0 {
					headers[i] = fmt.Sprintf(`{"version":1,"ring":"r","node":"n","series":"s","sequence":%d}`, n)
				}
			}
			a, b := captured(t, "a.pcapng", headers[0], 0, first), captured(t, "b.pcapng", headers[1], 0, second)
			cases := map[string][]string{"one bundle": {bundled(t, a, b)}}
			if x.sequence == [2]int{} {
				cases["two bundles"] = []string{bundled(t, a), bundled(t, b)}
				cases["one file"] = []string{bundled(t, joined(t, a, b))}
				cases["one file, the later capture first"] = []string{bundled(t, joined(t, b, a))}
			}
			for name, paths := range cases {
				c := open(t, paths...)
				for _, w := range [][2]int64{{}, {first[0].Time, second[len(second)-1].Time}} {
					cov, err := c.Coverage(w[0], w[1])
					if err != nil {
						t.Fatal(err)
					}
					got, want := string(cov.State), "complete"
					for _, h := range cov.Holes {
						got += fmt.Sprint(" ", h.Reason, h.From, h.To)
					}
					if x.gap {
						want = fmt.Sprint("partial not_recorded", pause[0], pause[1])
					}
					if got != want || len(cov.Quiet) != x.quiet {
						t.Errorf("%s, window %v: %s, want %s; quiet %v", name, w, got, want, cov.Quiet)
					}
				}
			}
		})
	}
}

// aMinute has 60 packets from a time on, with a silence before the last one.
func aMinute(list []pcapng.Packet, from int64, silence time.Duration) []pcapng.Packet {
	out := slices.Clone(slices.Repeat(list, 60/len(list)+1)[:60])
	for i := range out {
		out[i].Time = from + int64(i)*int64(time.Second)
	}
	out[59].Time = out[58].Time + int64(silence)
	return out
}

func bundled(t *testing.T, files ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "b.pcapsule")
	if _, err := exporter.Run(ctx, files, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return out
}

// joined is a file with the bytes of several.
func joined(t *testing.T, files ...string) string {
	t.Helper()
	var all []byte
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	out := filepath.Join(t.TempDir(), "joined.pcapng")
	if err := os.WriteFile(out, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}
