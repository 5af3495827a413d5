package quic

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// vector is a packet, or its frames, from the appendices of RFC 9001 and RFC 9369.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../../recorder/secrets/testdata/quic.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := hex.DecodeString(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %s", name)
	return nil
}

// fake makes conversations of version 1 with its own keys.
type fake struct {
	t      testing.TB
	list   []datagram
	levels map[kind][2]*sealer
	next   [spaces][2]uint64
	ids    [2][]byte // by role
	odcid  []byte
	phase  byte
	log    string
}

// newFake begins a conversation; the store has the keys of the given levels.
func newFake(t testing.TB, logged ...secrets.Label) *fake {
	f := &fake{t: t, levels: map[kind][2]*sealer{}, odcid: []byte{0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08},
		ids: [2][]byte{{}, {0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5}}}
	c, s := initialSecrets(f.odcid)
	f.levels[initial] = [2]*sealer{newSealer(c, "quic "), newSealer(s, "quic ")}
	random := vector(t, "v1 client-frames")[4+4+2:][:32]
	for i, k := range []kind{zeroRTT, handshakePacket, oneRTT} {
		var pair [2]*sealer
		for r := range pair {
			secret := bytes.Repeat([]byte{byte(16*i + r + 1)}, 32)
			pair[r] = newSealer(secret, "quic ")
			label := labelOf(k, role(r))
			for _, l := range logged {
				if l == label && !(k == zeroRTT && r == 1) {
					f.log += secrets.Secret{Label: l, ID: random, Value: secret}.Line() + "\n"
				}
			}
		}
		f.levels[k] = pair
	}
	return f
}

// all are the labels of a usual key log.
var all = []secrets.Label{secrets.ClientHandshakeTraffic, secrets.ServerHandshakeTraffic, secrets.ClientTraffic, secrets.ServerTraffic, secrets.ClientEarlyTraffic}

func (f *fake) store() *secrets.Store {
	s := secrets.NewStore()
	if err := s.AddLog("fake", strings.NewReader(f.log), int64(len(f.log))); err != nil {
		f.t.Fatal(err)
	}
	if err := s.Ready(); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// packet encrypts frames into a packet.
func (f *fake) packet(k kind, r role, frames []byte) []byte {
	n := &f.next[spaceOf(k)][r]
	number := *n
	*n++
	for len(frames) < 4 { // header protection needs a sample
		frames = append(frames, framePadding)
	}
	if k == oneRTT {
		header := append([]byte{0x43 | f.phase}, f.ids[r.other()]...)
		return f.levels[k][r].seal(binary.BigEndian.AppendUint32(header, uint32(number)), number, frames)
	}
	dcid := f.ids[r.other()]
	if r == client && k != handshakePacket {
		dcid = f.odcid
	}
	first := map[kind]byte{initial: 0xc0, zeroRTT: 0xd0, handshakePacket: 0xe0}[k]
	return f.levels[k][r].seal(long(first, dcid, f.ids[r], k == initial, uint32(number), len(frames)), number, frames)
}

// send encrypts frames and sends them in their own datagram.
func (f *fake) send(k kind, r role, frames ...[]byte) []byte {
	b := f.packet(k, r, bytes.Join(frames, nil))
	f.list = append(f.list, datagram{dir: dissect.Dir(r), data: b})
	return b
}

// hellos are the client's and the server's, in Initial packets.
func (f *fake) hellos() *fake {
	f.send(initial, client, vector(f.t, "v1 client-frames"), make([]byte, 900))
	f.send(initial, server, vector(f.t, "v1 server-frames"))
	return f
}

// extensions sends the server's encrypted extensions with the protocol.
func (f *fake) extensions(alpn string) *fake {
	name := append([]byte{byte(len(alpn))}, alpn...)
	ext := append([]byte{0, 16, 0, byte(len(name) + 2), 0, byte(len(name))}, name...)
	body := append([]byte{0, byte(len(ext))}, ext...)
	f.send(handshakePacket, server, cryptoFrame(0, message(8, body)))
	return f
}

// begin is a conversation up to its streams.
func begin(t testing.TB, alpn string) *fake {
	return newFake(t, all...).hellos().extensions(alpn)
}

func message(typ byte, body []byte) []byte {
	return append([]byte{typ, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

func number(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, 3<<62|v) }

func cryptoFrame(off int, data []byte) []byte {
	return append(append(append([]byte{frameCrypto}, number(uint64(off))...), number(uint64(len(data)))...), data...)
}

func streamFrame(id, off int, data string, fin bool) []byte {
	typ := byte(frameStream | streamOffset | streamLength)
	if fin {
		typ |= streamFin
	}
	return append(append(append(append([]byte{typ}, number(uint64(id))...), number(uint64(off))...), number(uint64(len(data)))...), data...)
}

func frame(typ uint64, fields ...uint64) []byte {
	b := []byte{byte(typ)}
	if typ >= 0x40 {
		b = number(typ)
	}
	for _, v := range fields {
		b = append(b, number(v)...)
	}
	return b
}

// play plays a fake conversation.
func (f *fake) play(b *blob) (*sink, *dissect.Conn) {
	f.t.Helper()
	return play(f.t, f.list, protocols(f.store(), b)...)
}

// kinds are the kinds of the anomalies.
func (s *sink) kinds() string {
	var k []string
	for _, a := range s.Anomalies {
		k = append(k, a.Kind)
	}
	return strings.Join(k, " ")
}

func (b *blob) text(dir dissect.Dir, id int64) string {
	return string(b.got[plainKey{dir, id}])
}

// resets records stream resets.
type resets struct {
	blob
	seen string
}

func (r *resets) ResetStream(id int64, dir dissect.Dir, stop bool, code int64, _ dissect.Packet) {
	word := ""
	if stop {
		word = "stop "
	}
	r.seen += fmt.Sprintf("%d %s %s%d, ", id, dir, word, code)
}
