package all

import (
	"bytes"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// TestCostStaysLinear compares hostile traffic with four times as much of it: no byte may be
// examined again and again as more arrive. The best of several runs counts, because other
// programs interfere.
func TestCostStaysLinear(t *testing.T) {
	const runs, most = 12, 8.0
	name := strings.Repeat("\x3f"+strings.Repeat("\xff", 63), 3) + "\x01t\x00"
	dns := "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + "\x00\x0a\x00\x01"
	line := "GET /" + strings.Repeat("a", 160_000)
	for _, tc := range []struct {
		name  string
		n     int
		kind  dissect.Transport
		roles bool
		part  func(i int) (dissect.Dir, string)
	}{
		{"text in segments of one byte", 40_000, dissect.TCP, false, func(int) (dissect.Dir, string) { return 0, "a" }},
		{"zeros in segments of one byte", 40_000, dissect.TCP, false, func(int) (dissect.Dir, string) { return 0, "\x00" }},
		{"a first line in segments of one byte", 40_000, dissect.TCP, true, func(i int) (dissect.Dir, string) { return 0, line[i : i+1] }},
		{"both sides in turns, a byte each", 40_000, dissect.TCP, false, func(i int) (dissect.Dir, string) { return dissect.Dir(i & 1), "\x7f" }},
		{"unknown data in large segments", 4000, dissect.TCP, false, func(i int) (dissect.Dir, string) { return dissect.Dir(i & 1), strings.Repeat("\x00\x01\x02\x03", 350) }},
		{"pipelined requests", 10_000, dissect.TCP, true, func(int) (dissect.Dir, string) { return 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" }},
		{"tiny frames of HTTP/2", 100_000, dissect.TCP, true, func(i int) (dissect.Dir, string) {
			if i == 0 {
				return 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
			}
			return 0, "\x00\x00\x00\x00\x00\x00\x00\x00\x01"
		}},
		{"a chunked body of bytes", 100_000, dissect.TCP, true, func(i int) (dissect.Dir, string) {
			if i == 0 {
				return 0, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			}
			return 0, "1\r\na\r\n"
		}},
		{"commands of Redis without a reply", 30_000, dissect.TCP, true, func(int) (dissect.Dir, string) { return 0, "*1\r\n$4\r\nPING\r\n" }},
		{"questions with the longest names", 5000, dissect.UDP, true, func(i int) (dissect.Dir, string) { return 0, string(rune('a'+i%20)) + dns[1:] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			best := [2]time.Duration{1 << 60, 1 << 60}
			ratio := most + 1
			for run := 0; run < 2 || ratio > most && run < runs; run++ {
				for k, n := range [2]int{tc.n, 4 * tc.n} {
					best[k] = min(best[k], cost(t, tc.kind, tc.roles, n, tc.part))
				}
				ratio = float64(best[1]) / float64(max(best[0], 10*time.Millisecond)) // less is noise
			}
			if t.Logf("%.1f, %v for %d", ratio, best[1], 4*tc.n); ratio > most {
				t.Errorf("four times as much takes %.1f times as long, %v instead of %v", ratio, best[1], best[0])
			}
		})
	}
}

// cost is the time that one connection of n packets takes.
func cost(t *testing.T, kind dissect.Transport, roles bool, n int, part func(int) (dissect.Dir, string)) time.Duration {
	t.Helper()
	e, err := dissect.NewEngine(Protocols(nil), nil, noSink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	parts := make([][]byte, n)
	dirs := make([]dissect.Dir, n)
	for i := range parts {
		var s string
		dirs[i], s = part(i)
		parts[i] = bytes.Clone([]byte(s))
	}
	c := e.NewConn(dissect.Info{Transport: kind, ClientPort: 40000, ServerPort: 50001, RolesKnown: roles, Began: [2]bool{roles, roles}, ConnectUs: -1})
	runtime.GC()
	start := used(t)
	for i, p := range parts {
		at := dissect.Packet{No: int64(2 * i), Time: int64(i) * 1000}
		if kind == dissect.TCP {
			c.Data(dirs[i], p, at)
		} else {
			c.Datagram(dirs[i], p, at)
		}
	}
	c.Close(dissect.EndCapture, dissect.Packet{No: int64(2 * n)})
	return used(t) - start
}

// used is the processor time of the program: on a busy machine, elapsed time means little.
func used(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
