package quic

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/http3"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// updated returns the keys after n key updates.
func updated(secret []byte, n int) *sealer {
	hp := newSealer(secret, "quic ").hp
	for range n {
		secret = expand(secret, "quic ku", 32)
	}
	s := newSealer(secret, "quic ")
	s.hp = hp
	return s
}

func TestKeyUpdates(t *testing.T) {
	secret := bytes.Repeat([]byte{33}, 32)
	for n := 1; n <= maxPhases; n++ {
		f, b := begin(t, "blob"), &blob{}
		before := f.levels[oneRTT]
		f.send(oneRTT, client, streamFrame(0, 0, "one ", false))
		late := f.packet(oneRTT, client, streamFrame(0, 4, "two ", false))
		f.levels[oneRTT] = [2]*sealer{updated(secret, n), before[1]}
		f.phase = byte(n%2) * keyPhase
		f.send(oneRTT, client, streamFrame(0, 8, "three", false))
		if n == 1 {
			f.list = append(f.list, datagram{dir: dissect.ToServer, data: late})
		}
		out, _ := f.play(b)
		want := "one two three"
		if n > 1 {
			want = "one \x00\x00\x00\x00three"
		}
		if row := out.row(t); row.ClientKeyUpdates != int64(n) || b.text(dissect.ToServer, 0) != want {
			t.Errorf("%d updates: %d seen, %q", n, row.ClientKeyUpdates, b.text(dissect.ToServer, 0))
		}
	}
}

func TestMidConnection(t *testing.T) {
	for _, c := range []struct {
		name    string
		number  uint64
		id      int
		port    uint16
		updated bool // its keys
	}{{"ids of 8 bytes", 5, 8, 443, false}, {"no ids", 70000, 0, 443, false}, {"ids of 20 bytes", 1 << 33, 20, 443, false}, {"another port", 99, 8, 9999, false}, {"updated keys", 700, 8, 443, true}} {
		f, b := newFake(t, all...), &blob{}
		if c.updated {
			f.levels[oneRTT], f.phase = [2]*sealer{updated(bytes.Repeat([]byte{33}, 32), 1), updated(bytes.Repeat([]byte{34}, 32), 1)}, keyPhase
		}
		f.ids = [2][]byte{bytes.Repeat([]byte{5}, c.id), bytes.Repeat([]byte{6}, c.id)}
		f.next[spaceApp] = [2]uint64{c.number, 2 * c.number}
		f.send(oneRTT, server, streamFrame(0, 100, "answer", true))
		f.send(oneRTT, client, streamFrame(4, 0, "question", true))
		out, conn := playOn(t, c.port, f.list, protocols(f.store(), b)...)
		row := out.row(t)
		if !row.Midstream || row.Error.V != "cut" || row.ClientStreamBytes != 8 || row.ServerStreamBytes != 6 || conn.Encrypted().State != dissect.KeyVerified {
			t.Errorf("%s: %+v %+v", c.name, row, conn.Encrypted())
		}
		f.log = ""
		out, _ = playOn(t, c.port, f.list, protocols(f.store(), b)...)
		if len(out.Emissions) != 1 || out.Emissions[0].Row.Base().Protocol != "udp" {
			t.Errorf("%s: without keys it is detected as %v", c.name, out.Emissions[0].Row.Base().Protocol)
		}
	}
}

// TestMidConnectionHTTP3: without a captured ALPN, a request identifies the protocol.
func TestMidConnectionHTTP3(t *testing.T) {
	f := newFake(t, all...)
	f.next[spaceApp] = [2]uint64{900, 900}
	f.send(oneRTT, server, streamFrame(3, 100, "settings were before", false))
	f.send(oneRTT, client, streamFrame(8, 0, "\x01\x12\x00\x00\xd1\xd7\xc1\x50\x0bexample.com", true))
	f.send(oneRTT, server, streamFrame(8, 0, "\x01\x03\x00\x00\xd9\x00\x02ok", true))
	out, c := play(t, f.list, Protocol(f.store()), tls.Protocol(nil), http3.Protocol())
	n := 0
	for _, e := range out.Emissions {
		if b := e.Row.Base(); b.Protocol == "http3" && b.Method.V == "GET" && b.StatusCode.V == 200 && b.Host.V == "example.com" && b.Complete {
			n++
		}
	}
	if n != 1 || c.Inner() != "http3" {
		t.Errorf("%d requests, inner %s, %v, %v", n, c.Inner(), out.Emissions, out.Anomalies)
	}
}

func TestKeyReasons(t *testing.T) {
	for _, c := range []struct {
		name   string
		keys   []secrets.Label
		wrong  bool
		cut    int
		want   string
		reason string
	}{
		{"matching keys", all, false, 0, "verified", ""},
		{"no keys", nil, false, 0, "none", "no_key"},
		{"no key of the server's streams", all[:3], false, 0, "verified", "no_key"},
		{"other keys", all, true, 0, "unverified", "wrong_key"},
		{"only hellos", all, false, 2, "unverified", "unencrypted"},
		{"the client's hello was lost", nil, false, -1, "none", "no_handshake"},
	} {
		f := begin(t, "blob")
		f.send(oneRTT, client, streamFrame(0, 0, "question", true))
		f.send(oneRTT, server, streamFrame(0, 0, "answer", true))
		g := newFake(t, c.keys...)
		if c.wrong {
			g.log = strings.NewReplacer(strings.Repeat("11", 32), strings.Repeat("aa", 32), strings.Repeat("12", 32), strings.Repeat("ab", 32),
				strings.Repeat("21", 32), strings.Repeat("ac", 32), strings.Repeat("22", 32), strings.Repeat("ad", 32)).Replace(g.log)
		}
		list := f.list
		if c.cut > 0 {
			list = list[:c.cut]
		} else if c.cut < 0 {
			list = list[1:]
		}
		out, conn := play(t, list, protocols(g.store(), &blob{})...)
		if e := conn.Encrypted(); e.State.String() != c.want || e.Reason != c.reason || len(out.Anomalies) > 0 {
			t.Errorf("%s: %s %q, want %s %q; %v", c.name, e.State, e.Reason, c.want, c.reason, out.Anomalies)
		}
	}
}

// TestSilenceMayBeAMove: a stream without an end is in doubt if the client could have moved to an id issued under encryption.
func TestSilenceMayBeAMove(t *testing.T) {
	issue := slices.Concat(frame(0x18, 1, 0), []byte{4, 9, 9, 9, 9}, make([]byte, 16))
	closed := frame(0x1d, 7, 0)
	for _, c := range []struct {
		name       string
		from       role
		more       [][]byte
		anomalies  string
		serverEnds bool
	}{
		{"the server issued an id", server, [][]byte{issue}, "silence", false},
		{"it ended the stream", server, [][]byte{issue}, "", true},
		{"it issued none", server, [][]byte{frame(frameMaxData, 9)}, "", false},
		{"the client issued one", client, [][]byte{issue}, "", false},
		{"it closed", server, [][]byte{issue, closed}, "", false},
	} {
		f := begin(t, "blob")
		f.send(oneRTT, client, streamFrame(0, 0, "question", true))
		f.send(oneRTT, c.from, c.more...)
		f.send(oneRTT, server, streamFrame(0, 0, "answer", c.serverEnds))
		if out, _ := f.play(&blob{}); out.kinds() != c.anomalies {
			t.Errorf("%s: anomalies %q, want %q", c.name, out.kinds(), c.anomalies)
		}
	}
}
