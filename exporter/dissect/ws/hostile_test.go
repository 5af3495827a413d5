package ws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
)

// TestStateStaysInTheBudget sends WebSockets whose state grows without end.
func TestStateStaysInTheBudget(t *testing.T) {
	takeover := &packer{takeover: true}
	var noisy []string
	for i := range 40 {
		s := make([]byte, 4<<10)
		for k := range s {
			s[k] = byte(k*k*(i+7) + k>>3)
		}
		noisy = append(noisy, takeover.pack(string(s)))
	}
	for _, f := range []struct {
		name string
		at   func(i int) dissecttest.Chunk
	}{
		{"a message in endless fragments", func(i int) dissecttest.Chunk {
			if i == 0 {
				return sends(0x01, "x")
			}
			return sends(0x00, strings.Repeat("y", 500))
		}},
		{"empty fragments", func(i int) dissecttest.Chunk {
			if i == 0 {
				return sends(0x01, "")
			}
			return sends(0x00, "")
		}},
		{"a compressed message that does not end", func(i int) dissecttest.Chunk {
			if i == 0 {
				return sends(0x41, "x")
			}
			return sends(0x00, strings.Repeat("y", 500))
		}},
		{"a frame of 2^62 bytes", func(i int) dissecttest.Chunk {
			if i == 0 {
				return dissecttest.Client("\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
			}
			return dissecttest.Client(strings.Repeat("z", 500))
		}},
		{"PINGs without a PONG", func(i int) dissecttest.Chunk { return sends(0x89, fmt.Sprint(i)) }},
		{"requests without an answer", func(i int) dissecttest.Chunk {
			return sends(0x81, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"a","params":"%s"}`, i, strings.Repeat("p", 300)))
		}},
		{"windows", func(i int) dissecttest.Chunk { return sends(0xc2, noisy[i%len(noisy)]) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			dissecttest.StayInBudget(t, []*dissect.Protocol{http1.Protocol(), Protocol()}, dissecttest.Flood{Name: f.name, Kind: dissect.TCP, Port: 80, Conns: 100, Parts: 300,
				Part: func(_, i int) dissecttest.Chunk {
					switch i {
					case 0:
						return asks(deflate)
					case 1:
						return agrees(deflate)
					}
					return f.at(i - 2)
				}})
		})
	}
}

// TestBomb decompresses at most what a message may have.
func TestBomb(t *testing.T) {
	var p packer
	bomb := p.pack(strings.Repeat("\x00", 64<<20))
	r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{http1.Protocol(), Protocol()}, ServerPort: 80, Roles: true, End: dissect.EndFin},
		asks(deflate), agrees(deflate), sends(0xc2, bomb), sends(0xc1, p.pack("after it")))
	rows := r.Rows()
	if len(rows) != 3 || len(r.Anomalies) != 1 || r.Anomalies[0].Kind != "compression" || r.Held != 0 {
		t.Fatalf("%d rows, anomalies %v, %d held", len(rows), r.Anomalies, r.Held)
	}
	for i, want := range []string{"", "malformed", "gap"} {
		if got := rows[i].Base().Error.V; got != want {
			t.Errorf("row %d: error %q, want %q: %s", i, got, want, rows[i].Base().Summary)
		}
	}
	if n := rows[1].Base().RequestBodySize.V; n > 4<<20 {
		t.Errorf("%d bytes decompressed", n)
	}
}

// TestInvalidFrames rejects frames that nobody sends.
func TestInvalidFrames(t *testing.T) {
	for _, tc := range []struct{ name, frame string }{
		{"a length with the highest bit", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"a reserved opcode", "\x83\x80\x00\x00\x00\x00"},
		{"a PING in fragments", "\x09\x80\x00\x00\x00\x00"},
		{"a CLOSE of 126 bytes", "\x88\xfe\x00\x7e\x00\x00\x00\x00"},
		{"a reserved bit", "\xa1\x80\x00\x00\x00\x00"},
		{"compression that was not agreed", "\xc1\x80\x00\x00\x00\x00"},
		{"a continuation of nothing", "\x80\x80\x00\x00\x00\x00"},
	} {
		r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{http1.Protocol(), Protocol()}, ServerPort: 80, Roles: true, End: dissect.EndFin},
			asks(""), agrees(""), dissecttest.Client(tc.frame), sends(0x81, "good"))
		if len(r.Anomalies) == 0 || r.Anomalies[0].Kind != "malformed" || len(r.Rows()) != 2 || r.Rows()[1].Base().RequestBodySize.V != 4 {
			t.Errorf("%s: %d rows, anomalies %v", tc.name, len(r.Rows()), r.Anomalies)
		}
	}
}
