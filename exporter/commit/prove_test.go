package commit

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// capture writes packets of some sizes, as change leaves them; nil leaves one out.
func capture(t *testing.T, name string, n int, change func(i int, p *pcapng.Packet) bool) string {
	t.Helper()
	var buf bytes.Buffer
	w, err := pcapng.NewWriter(&buf, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(pcapng.Interface{LinkType: 1, SnapLen: 262144, TsResol: 9, FCSLen: -1}); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		data := make([]byte, r.IntN(4000))
		for k := range data {
			data[k] = byte(r.Uint32())
		}
		p := pcapng.Packet{Kind: pcapng.KindEnhanced, Time: int64(i) * 1e6, TimeOK: true, OrigLen: uint32(len(data)), Data: data}
		if change(i, &p) {
			if err := w.WritePacket(&p, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// state of packet i in the derived file of the tests.
func state(i int) byte { return []byte{0, 0, 0, 1, 0, 2, 2, 0, 0, 0, 0, 1}[i%12] }

func scene(t *testing.T, n int) (original, derived string, key Key, proof []byte, f bundle.Commitment) {
	t.Helper()
	original = capture(t, "original.pcapng", n, func(int, *pcapng.Packet) bool { return true })
	derived = capture(t, "derived.pcapng", n, func(i int, p *pcapng.Packet) bool {
		if state(i) == changed {
			p.Data = append([]byte(nil), p.Data...)
			if len(p.Data) > 0 {
				p.Data[len(p.Data)/2] ^= 1
			}
		}
		return state(i) != removed
	})
	key = Key{7}.File(3)
	proof, f, err := Prove(original, derived, 3, key, 16, func(i int64) bool { return state(int(i)) != removed }, func(int64) string { return "card" })
	if err != nil {
		t.Fatal(err)
	}
	return original, derived, key, proof, f
}

func verified(t *testing.T, proof []byte, derived string, f bundle.Commitment) (Counts, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proof")
	if err := os.WriteFile(path, proof, 0o600); err != nil {
		t.Fatal(err)
	}
	return VerifyFile(path, derived, f)
}

func TestAProofOfADerivedFile(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 5, 12, 63, 64, 65, 200} {
		original, derived, key, proof, f := scene(t, n)
		sealed, err := packetsOf(original, 3, key, 16)
		if err != nil || sealed != f {
			t.Fatalf("%d packets: the seal has %v, the proof %v: %v", n, sealed, f, err)
		}
		c, err := verified(t, proof, derived, f)
		if err != nil {
			t.Fatalf("%d packets: %v", n, err)
		}
		var want [states]int64
		for i := range n {
			want[state(i)]++
		}
		if got := [states]int64{c.Unchanged, c.Changed, c.Removed}; got[0]+got[1] != want[0]+want[1] || got[2] != want[2] {
			t.Errorf("%d packets: %v, want %v", n, got, want)
		}
	}
}

// TestNoOtherPacketsFit changes each byte of a proof, and packets.
func TestNoOtherPacketsFit(t *testing.T) {
	_, derived, _, proof, f := scene(t, 30)
	want, err := verified(t, proof, derived, f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range proof {
		bad := append([]byte(nil), proof...)
		bad[i] ^= 1 << (i % 8)
		if c, err := verified(t, bad, derived, f); err == nil && (c.Unchanged != want.Unchanged || c.Changed != want.Changed || c.Removed != want.Removed) {
			t.Errorf("a proof with byte %d changed verifies: %+v", i, c)
		} else if err == nil && i > len(magic)+8 {
			t.Errorf("a proof with byte %d changed verifies", i)
		}
	}
	for i := range proof {
		if _, err := verified(t, proof[:i], derived, f); err == nil {
			t.Errorf("a proof cut at %d verifies", i)
		}
	}
	if _, err := verified(t, append(append([]byte(nil), proof...), 0), derived, f); err == nil {
		t.Error("a longer proof verifies")
	}
	data, err := os.ReadFile(derived)
	if err != nil {
		t.Fatal(err)
	}
	for i := 200; i < len(data); i += 211 {
		bad := append([]byte(nil), data...)
		bad[i] ^= 0x10
		path := filepath.Join(t.TempDir(), "bad.pcapng")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := verified(t, proof, path, f); err == nil && !onlyChanged(t, derived, path) {
			t.Errorf("packets with byte %d changed verify: %+v", i, c)
		}
	}
	other := f
	other.Packets++
	if _, err := verified(t, proof, derived, other); err == nil {
		t.Error("another number of packets verifies")
	}
}

// onlyChanged reports whether two files differ only in bytes that no leaf covers: padding, or a
// group that was changed anyway.
func onlyChanged(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := openPackets(a, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	y, err := openPackets(b, 16)
	if err != nil {
		return false
	}
	defer y.close()
	for i := 0; ; i++ {
		for state(i) == removed {
			i++
		}
		err1, err2 := x.next(), y.next()
		if err1 != nil || err2 != nil {
			return err1 == err2
		}
		if !x.same(y) && state(i) != changed {
			return false
		}
	}
}

func FuzzVerifyFile(f *testing.F) {
	f.Add([]byte(magic + "\x00\x01\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err == nil && r == nil {
			t.Fatal("neither a proof nor an error")
		}
		if err == nil {
			_, _ = r.verify(1, bundle.Digest{})
		}
	})
}
