package join_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestPinWithoutSegments checks that a node that recorded nothing, or could not be asked, has a
// bundle that says so.
func TestPinWithoutSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	gap := ring.Hole{Reason: "not_scheduled", From: 1_700_000_000_000_000_000, To: 1_700_000_060_000_000_000, Packets: -1, Detail: "node b: no recorder runs there"}
	if err := ring.Absent(dir, "b", "test", gap); err != nil {
		t.Fatal(err)
	}
	_, rows := exportertest.Proven(t, exporter.Options{FromNs: int64(gap.From), ToNs: int64(gap.To)}, []string{dir},
		"select string_agg(concat_ws('|', kind, reason, from_ns, to_ns, packets, detail), '; ') from coverage")
	got := strings.Join(rows, "\n")
	if want := "hole|not_scheduled|1700000000000000000|1700000060000000000|"; !strings.Contains(got, want) || !strings.Contains(got, gap.Detail) || len(rows) != 1 {
		t.Errorf("coverage %s, want %s", got, want)
	}
}
