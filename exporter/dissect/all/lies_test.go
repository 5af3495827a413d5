package all

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// TestLyingLengths changes each of the first bytes of every segment, which is where lengths are,
// in recorded conversations of all protocols, and plays what the other side sent to it. Every
// byte must be in a row or in an anomaly. Calls may be missing or different only if the
// connection says so: by an anomaly, an incomplete call, or a row of unknown payload.
func TestLyingLengths(t *testing.T) {
	heads, changed := nightly.Of(3, 12), nightly.Of(8, 24) // segments of a conversation, bytes of a segment
	protocols := Protocols(nil)
	for file := range samples {
		t.Run(file, func(t *testing.T) {
			list := talks(t, file)
			for _, k := range list[:min(len(list), 4)] {
				o := dissecttest.Options{ServerPort: k.port, End: dissect.EndFin, Roles: true}
				play := func(chunks []dissecttest.Chunk) *dissecttest.Result {
					o.Protocols = protocols
					return dissecttest.Play(t, o, chunks...)
				}
				want := len(pairs(play(k.chunks)))
				for i := range min(len(k.chunks), heads) {
					for at := range min(len(k.chunks[i].Data), changed) {
						for _, lie := range lies(k.chunks[i].Data[at]) {
							r := play(with(k.chunks, i, at, lie))
							where := fmt.Sprintf("%s, byte %d of segment %d is %#x", k.name, at, i, lie)
							settled(t, where, r)
							if file == "telnet.pcapng" { // a byte of an option may become text, which has no lengths
								continue
							}
							if got := len(pairs(r)); got < want && len(r.Anomalies) == 0 && !unsure(r) {
								t.Errorf("%s: %d calls of %d, and nothing says so", where, got, want)
							}
						}
					}
				}
			}
		})
	}
}

// lies are other values of a byte of a length: none, the most, and those beside it.
func lies(b byte) []byte {
	list := []byte{0, 0x7f, 0xff, b - 1, b + 1, b ^ 0x80}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(x byte) bool { return x == b })
}

func with(chunks []dissecttest.Chunk, i, at int, b byte) []dissecttest.Chunk {
	list := slices.Clone(chunks)
	list[i].Data = bytes.Clone(list[i].Data)
	list[i].Data[at] = b
	return list
}

// settled checks that every byte is in a row or an anomaly, and that no memory is held.
func settled(t *testing.T, where string, r *dissecttest.Result) {
	t.Helper()
	if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
		t.Errorf("%s: %d of %d bytes in rows and anomalies, %d held", where, got, r.Bytes, r.Held)
	}
}

// unsure reports whether a row says that something of the conversation was not read.
func unsure(r *dissecttest.Result) bool {
	return slices.ContainsFunc(r.Emissions, func(e dissect.Emission) bool {
		_, unknown := e.Row.(*dissect.Unknown)
		return unknown || !e.Row.Base().Complete
	})
}

// TestLyingLengthsOfForeignProtocols sends messages of protocols without a dissector, with lengths
// that lie, on the port of each protocol that has one. All bytes are in one row of payload: no
// call is made of them.
func TestLyingLengthsOfForeignProtocols(t *testing.T) {
	be := binary.BigEndian
	for _, m := range []struct {
		name     string
		length   func(n uint32) string // the message with this length
		response string
	}{
		{"frames of texts", func(n uint32) string {
			return string(be.AppendUint32(nil, n)) + "\x7f\x7e\x00\x0dhello-1.0 from a"
		}, "\x00\x00\x00\x11\x7f\x7e\x00\x0dhello-1.0 from b"},
	} {
		for _, n := range []uint32{0, 1, 8, 37, 255, 1 << 16, 1<<24 - 1, 1 << 31, 1<<32 - 1} {
			for _, p := range Protocols(nil) {
				if p.Transports[0] != dissect.TCP || len(p.Ports) == 0 {
					continue
				}
				where := fmt.Sprintf("%s with length %d on port %d", m.name, n, p.Ports[0])
				r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: p.Ports[0], Roles: true, End: dissect.EndFin},
					dissecttest.Client(m.length(n)), dissecttest.Server(m.response), dissecttest.Client(m.length(n)), dissecttest.Server(m.response))
				settled(t, where, r)
				if len(r.Emissions) != 1 || !unsure(r) || len(pairs(r)) > 0 || r.Conn.AnomalyBytes > 0 {
					t.Errorf("%s: %d rows of %v, anomalies %v", where, len(r.Emissions), r.Conn.Path(), r.Anomalies)
				}
			}
		}
	}
}
