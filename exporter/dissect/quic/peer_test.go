package quic

import (
	"bytes"
	"math/rand"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

var talks = []struct {
	name string
	talk
}{
	{"version 1", talk{streams: 5, up: 3000, down: 20000, uni: 3, datagrams: 3}},
	{"version 2", talk{versions: []quicgo.Version{quicgo.Version2}, streams: 5, up: 3000, down: 20000}},
	{"retry", talk{retry: true, streams: 2, up: 100, down: 5000}},
	{"retry in version 2", talk{versions: []quicgo.Version{quicgo.Version2}, retry: true, streams: 2, up: 100, down: 5000}},
	{"0-RTT", talk{early: true, streams: 4, up: 2000, down: 5000}},
	{"key updates", talk{streams: 8, up: 100, down: 400_000}},
	{"many streams", talk{streams: 300, up: 50, down: 70}},
	{"empty streams", talk{streams: 3}},
	{"client with ids", talk{idLen: 11, streams: 5, up: 3000, down: 20000, datagrams: 1}},
	{"migration", talk{idLen: 6, move: true, streams: 3, up: 3000, down: 50000}},
	{"unknown protocol first", talk{offers: []string{"other", "blob"}, streams: 3, up: 10, down: 20}},
}

// compare checks the bytes of all streams.
func compare(t *testing.T, got, want map[plainKey][]byte) {
	t.Helper()
	for k, b := range want {
		if !bytes.Equal(got[k], b) {
			t.Errorf("stream %d %s: %d bytes, want %d; or others", k.stream, k.dir, len(got[k]), len(b))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok && k.stream >= 0 {
			t.Errorf("stream %d %s: %d bytes that no peer sent", k.stream, k.dir, len(got[k]))
		}
	}
}

func TestPeer(t *testing.T) {
	for _, k := range talks {
		t.Run(k.name, func(t *testing.T) {
			r := record(t, k.talk)
			b := &blob{}
			out, c := play(t, r.list, protocols(r.store(t), b)...)
			for _, a := range out.Anomalies {
				t.Errorf("anomaly %s: %s", a.Kind, a.Detail)
			}
			compare(t, out.plain, r.wants)
			compare(t, b.got, r.wants)
			for _, e := range out.Emissions {
				t.Logf("%s: %s", e.Row.Base().Protocol, e.Row.Base().Summary)
			}
			row := out.row(t)
			t.Logf("%d datagrams, updates %d %d, paths %d of %d, encryption %+v", len(r.list), row.ClientKeyUpdates, row.ServerKeyUpdates, row.PathsValidated, row.PathChallenges, c.Encrypted().Opened)
			if row.Host.V != "peer.example" || row.ALPN.V != "blob" || row.Close.V != "application" || row.CloseCode.V != 7 || row.CloseReason.V != "done" || row.CloseBy.V != "client" {
				t.Errorf("row %+v", row)
			}
			if row.Retry != k.retry || row.ClientUnread+row.ServerUnread > 0 || row.GapBytes > 0 || b.gaps > 0 || row.ClientBidi != int64(len(clientBidi(r))) || row.ServerUni != int64(k.uni) {
				t.Errorf("row %+v", row)
			}
			if k.early != (row.ZeroRTT.V == "accepted") {
				t.Errorf("0-RTT %v", row.ZeroRTT)
			}
			if k.name == "key updates" && row.ServerKeyUpdates == 0 {
				t.Error("no key update")
			}
			if k.move && row.PathsValidated == 0 {
				t.Error("no path validated")
			}
			if b.dgram != [2]int{k.datagrams, k.datagrams} || b.code != 7 {
				t.Errorf("%d datagrams, code %d", b.dgram, b.code)
			}
			if e := c.Encrypted(); e.State != dissect.KeyVerified || e.Opened != e.Records {
				t.Errorf("encryption %+v", e)
			}
		})
	}
}

func clientBidi(r *recording) (ids []int64) {
	for k := range r.wants {
		if k.dir == dissect.ToServer && k.stream&3 == 0 {
			ids = append(ids, k.stream)
		}
	}
	return ids
}

// TestPeerDisturbed drops, repeats and reorders datagrams: bytes may then be missing, but never
// wrong.
func TestPeerDisturbed(t *testing.T) {
	for _, k := range talks {
		t.Run(k.name, func(t *testing.T) {
			r := record(t, k.talk)
			store := r.store(t)
			var whole, cut int
			tries := 200 * 10 / (10 + len(r.list)/100)
			for seed := range int64(tries) {
				rnd := rand.New(rand.NewSource(seed))
				list := disturb(rnd, r.list)
				b := &blob{lazy: rnd.Intn(3) * 100}
				out, _ := play(t, list, protocols(store, b)...)
				for _, x := range append(b.more, b) {
					n, bad := x.check(t, seed, r.wants)
					whole, cut = whole+n, cut+bad
				}
				for _, a := range out.Anomalies {
					if a.Kind != "limit" && a.Kind != "unfinished" && a.Kind != "silence" {
						t.Errorf("seed %d: anomaly %s: %s", seed, a.Kind, a.Detail)
					}
				}
			}
			t.Logf("%d tries, %d streams, of these %d not whole", tries, whole, cut)
		})
	}
}

// check compares the bytes read with those sent. It returns the number of streams it compared,
// and how many of them are incomplete.
func (b *blob) check(t *testing.T, seed int64, wants map[plainKey][]byte) (n, cut int) {
	for key, got := range b.got {
		n++
		want := wants[key]
		if b.gaps == 0 && !bytes.HasPrefix(want, got) {
			t.Fatalf("seed %d: stream %d %s: wrong bytes", seed, key.stream, key.dir)
		}
		if b.gaps > 0 && !fits(want, got) {
			t.Fatalf("seed %d: stream %d %s: wrong bytes around a gap", seed, key.stream, key.dir)
		}
		if !bytes.Equal(got, want) {
			cut++
		}
	}
	return n, cut
}

// fits reports whether got is want with zeros in place of missing bytes, possibly truncated.
func fits(want, got []byte) bool {
	if len(got) > len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] && got[i] != 0 {
			return false
		}
	}
	return true
}

func disturb(rnd *rand.Rand, in []datagram) (out []datagram) {
	kind := rnd.Intn(4)
	for _, d := range in {
		if kind != 1 && rnd.Intn(100) == 0 {
			continue // lost
		}
		out = append(out, d)
		if kind != 2 && rnd.Intn(50) == 0 {
			out = append(out, d) // duplicated
		}
	}
	if kind > 0 {
		for i := range out {
			if j := i + rnd.Intn(6); rnd.Intn(4) == 0 && j < len(out) {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}
