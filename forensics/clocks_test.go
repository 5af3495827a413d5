package forensics_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// directions splits the packets of a sample: those of the side of each conversation that sent first, and
// the others.
func directions(t *testing.T, name string) (list [2][]pcapng.Packet) {
	t.Helper()
	d := decode.New(decode.Options{})
	first := map[[2]netip.AddrPort]bool{}
	for _, p := range packets(t, filepath.Join("..", "samples", name)) {
		var f decode.Frame
		d.Decode(decode.Input{LinkType: p.LinkType, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
		src, dst := netip.AddrPortFrom(f.Src.Netip(), f.SrcPort), netip.AddrPortFrom(f.Dst.Netip(), f.DstPort)
		side := 1
		if !first[[2]netip.AddrPort{dst, src}] {
			first[[2]netip.AddrPort{src, dst}], side = true, 0
		}
		list[side] = append(list[side], p)
	}
	return list
}

// captured writes a file whose clock is ahead. A header makes it a segment.
func captured(t *testing.T, name, header string, ahead time.Duration, list []pcapng.Packet) string {
	t.Helper()
	list = slices.Clone(list)
	for i := range list {
		list[i].Time += int64(ahead)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := traffic.WriteSegment(path, header, list); err != nil {
		t.Fatal(err)
	}
	return path
}

// timed opens a bundle of files. It returns the durations of its calls, and what table clocks says.
func timed(t *testing.T, files ...string) (c *forensics.Case, calls, clocks string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "a.pcapsule")
	if _, err := exporter.Run(ctx, files, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	c = open(t, out)
	text := func(sql string) string {
		var b strings.Builder
		for _, row := range query(t, c, forensics.Query{SQL: sql, Limit: 1 << 20}).Rows {
			fmt.Fprintln(&b, row...)
		}
		return b.String()
	}
	return c, text("SELECT call_id, request_bytes, response_bytes, elapsed_us, waited_us, ttfb_us, wait_us, send_us, receive_us, anomalies, (SELECT string_agg(kind || ' ' || count, ' ' ORDER BY kind, count) FROM anomalies) FROM calls ORDER BY ALL"),
		text("SELECT count(DISTINCT same_as), string_agg(DISTINCT coalesce(node, '') || ' ' || coalesce(boot_id, '') || ' ' || coalesce(error_ns, -1) || ' ' || coalesce(synchronized, false), ', ') FROM clocks")
}

const segmentHeader = `{"version":1,"ring":"r%s","node":"%s","series":"interfaces","sequence":1,"boot_id":"b-%s","clocks":[{"max_error_ns":1200,"synchronized":true}]}`

// TestSlicesKeepClocks has calls whose packets two clocks stamped. A slice, what editcap and mergecap make of
// it, and a slice of that have the durations of the bundle, and none that compares two clocks.
func TestSlicesKeepClocks(t *testing.T) {
	for _, tool := range []string{"mergecap", "editcap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	run := func(tool string, args ...string) {
		t.Helper()
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v %s", tool, args, err, out)
		}
	}
	whole := func(c *forensics.Case) string {
		path, _ := slice(t, c, forensics.Selection{})
		return path
	}
	for _, name := range nightly.Some([]string{"dns.pcap", "http1.pcapng", "web.pcapng"}, 1) {
		d := directions(t, name)
		all := packets(t, filepath.Join("..", "samples", name))
		half := len(all) / 2
		header := func(node string) string { return fmt.Sprintf(segmentHeader, node, node, node) }
		for what, files := range map[string][]string{
			"two directions":     {captured(t, "a.pcapng", "", 0, d[0]), captured(t, "b.pcapng", "", 3*time.Millisecond, d[1])},
			"segments":           {captured(t, "a.pcapng", header("n1"), 0, d[0]), captured(t, "b.pcapng", header("n2"), 3*time.Millisecond, d[1])},
			"rotated, and other": {captured(t, "r_00001.pcapng", "", 0, all[:half]), captured(t, "r_00002.pcapng", "", 0, all[half:]), captured(t, "b.pcapng", "", time.Millisecond, d[1])},
		} {
			c, want, clocks := timed(t, files...)
			if what != "rotated, and other" && !strings.Contains(want, "two_clocks") {
				t.Fatalf("%s, %s: no call has two clocks", name, what)
			}
			first := whole(c)
			dir := t.TempDir()
			edited, merged, single := filepath.Join(dir, "edited.pcapng"), filepath.Join(dir, "merged.pcapng"), filepath.Join(dir, "single.pcapng")
			run("editcap", first, edited)
			run("mergecap", "-w", single, first)
			var parts []string
			for _, f := range files {
				part, _, _ := timed(t, f)
				parts = append(parts, whole(part))
			}
			run("mergecap", append([]string{"-w", merged}, parts...)...)
			again, _, _ := timed(t, edited)
			for way, file := range map[string]string{"slice": first, "editcap": edited, "mergecap": single, "slice of editcap's": whole(again), "mergecap of slices": merged} {
				if way == "mergecap of slices" && what == "rotated, and other" {
					continue // each slice is of one file, and says nothing of the others
				}
				_, got, after := timed(t, file)
				if got != want {
					t.Errorf("%s, %s, %s: calls\n%s\nwant\n%s", name, what, way, got, want)
				}
				if after != clocks {
					t.Errorf("%s, %s, %s: clocks %s, want %s", name, what, way, after, clocks)
				}
			}
		}
	}
}
