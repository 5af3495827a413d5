package everyquestion_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// capturedAt writes a capture with one HTTP exchange at an ordinary time, and one whose
// packets have the given ticks of an interface with resolution res and offset secs.
func capturedAt(t *testing.T, res byte, secs int64, ticks [4]uint64) string {
	t.Helper()
	le, be := binary.LittleEndian, binary.BigEndian
	var b []byte
	block := func(kind uint32, body []byte) {
		body = append(body, make([]byte, -len(body)&3)...)
		b = le.AppendUint32(le.AppendUint32(b, kind), uint32(12+len(body)))
		b = le.AppendUint32(append(b, body...), uint32(12+len(body)))
	}
	block(0x0a0d0d0a, append([]byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 8)...))
	block(1, []byte{101, 0, 0, 0, 0, 0, 0, 0})
	options := append([]byte{101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, res, 0, 0, 0, 14, 0, 8, 0}, le.AppendUint64(nil, uint64(secs))...)
	block(1, append(options, 0, 0, 0, 0))
	packet := func(link uint32, ticks uint64, up bool, port uint16, flags byte, seq, ack uint32, payload string) {
		ends := []byte{10, 0, 0, 1, 10, 0, 0, 2}
		from, to := port, uint16(80)
		if !up {
			ends, from, to = []byte{10, 0, 0, 2, 10, 0, 0, 1}, 80, port
		}
		p := append(be.AppendUint16([]byte{0x45, 0}, uint16(40+len(payload))), 0, 1, 0x40, 0, 64, 6, 0, 0)
		p = be.AppendUint16(be.AppendUint16(append(p, ends...), from), to)
		p = append(be.AppendUint32(be.AppendUint32(p, seq), ack), 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
		p = append(p, payload...)
		var body []byte
		for _, v := range []uint32{link, uint32(ticks >> 32), uint32(ticks), uint32(len(p)), uint32(len(p))} {
			body = le.AppendUint32(body, v)
		}
		block(6, append(body, p...))
	}
	const ask, answer = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for i, port := range []uint16{1000, 2000} {
		at := [4]uint64{1_700_000_000_000_000, 1_700_000_000_000_001, 1_700_000_000_000_002, 1_700_000_000_000_003}
		if i == 1 {
			at = ticks
		}
		packet(uint32(i), at[0], true, port, 2, 100, 0, "")
		packet(uint32(i), at[1], false, port, 0x12, 500, 101, "")
		packet(uint32(i), at[2], true, port, 0x18, 101, 501, ask)
		packet(uint32(i), at[3], false, port, 0x18, 501, 101+uint32(len(ask)), answer)
	}
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNoTimeMakesAnAnswerFail queries bundles of captures with times at the limits of 64 bits.
func TestNoTimeMakesAnAnswerFail(t *testing.T) {
	const most = math.MaxUint64
	for i, tt := range []struct {
		name  string
		res   byte
		secs  int64
		ticks [4]uint64
	}{
		{"alternating all ones and zero", 9, 0, [4]uint64{most, 0, most, 0}},
		{"from before 1677 to after 2262", 9, -9223372036, [4]uint64{0, most, 1, 1 << 63}},
		{"before 1970", 6, -1_000_000_000, [4]uint64{0, 1, 2, 3}},
		{"the smallest offset", 6, math.MinInt64, [4]uint64{0, 1, 2, 3}},
		{"the finest ticks", 0x7f, 0, [4]uint64{0, 1, 2, most}},
	} {
		if i > 0 && !nightly.On() {
			break
		}
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.pcapsule")
			for _, args := range [][]string{
				{"bundle", "-o", path, capturedAt(t, tt.res, tt.secs, tt.ticks)},
				{"info", path},
				{"query", path, "http"},
				{"packets", path, "http", "-o", filepath.Join(dir, "b.pcapng")},
				{"sql", path, "SELECT last_ns - first_ns, make_timestamp_ns(last_ns) FROM flows"},
				{"ask", "get-overview", path},
				{"ask", "find-patterns", path},
				{"ask", "get-capacity", path},
				{"report", path, "-o", filepath.Join(dir, "a.html")},
			} {
				if code, _, stderr := clitest.Run(args...); code != exit.Done {
					t.Errorf("%v: exit code %d: %s", args[:2], code, stderr)
				}
			}
		})
	}
}
