package qpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"

	peer "github.com/quic-go/qpack"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
)

const all = math.MaxInt64

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func show(fields []Field) string {
	var s strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&s, "%s=%s", f.Name, f.Value)
		if f.Never {
			s.WriteString("!")
		}
		s.WriteString("\n")
	}
	return s.String()
}

func insert(t testing.TB, d *Decoder, s string) {
	t.Helper()
	p := unhex(t, s)
	if n, err := d.Insertions(p, all); n != len(p) || err != nil {
		t.Fatalf("insertions %s: took %d of %d, %v", s, n, len(p), err)
	}
}

func acks(t testing.TB, d *Decoder, s string) {
	t.Helper()
	p := unhex(t, s)
	if n, err := d.Acks(p); n != len(p) || err != nil {
		t.Fatalf("acknowledgements %s: took %d of %d, %v", s, n, len(p), err)
	}
}

// decode reads a section of a stream immediately.
func decode(t testing.TB, d *Decoder, stream int64, s string) (string, error) {
	t.Helper()
	p := unhex(t, s)
	need, err := d.Need(stream, p)
	if err != nil {
		return "", err
	}
	f, err := d.Decode(p, need)
	return show(f), err
}

// TestAppendixB reads the complete example of RFC 9204 appendix B.
func TestAppendixB(t *testing.T) {
	var d Decoder
	d.SetMax(220)
	// B.1
	if got, err := decode(t, &d, 0, "0000 510b 2f69 6e64 6578 2e68 746d 6c"); err != nil || got != ":path=/index.html\n" {
		t.Fatalf("B.1: %q, %v", got, err)
	}
	// B.2: the section arrives first and has to wait
	block := unhex(t, "0381 1011")
	need, err := d.Need(4, block)
	if err != nil || need != 2 || d.Ready(need) {
		t.Fatalf("B.2: needs %d, %v, ready %v", need, err, d.Ready(need))
	}
	insert(t, &d, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468")
	if !d.Ready(need) || d.size != 106 || d.Capacity() != 220 {
		t.Fatalf("B.2: table of %d bytes, capacity %d", d.size, d.Capacity())
	}
	if f, err := d.Decode(block, need); err != nil || show(f) != ":authority=www.example.com\n:path=/sample/path\n" {
		t.Fatalf("B.2: %q, %v", show(f), err)
	}
	acks(t, &d, "84")
	if d.acked != 2 {
		t.Fatalf("B.2: %d acknowledged", d.acked)
	}
	// B.3
	insert(t, &d, "4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565")
	acks(t, &d, "01")
	if d.acked != 3 || d.size != 160 {
		t.Fatalf("B.3: %d acknowledged, %d bytes", d.acked, d.size)
	}
	// B.4
	insert(t, &d, "02")
	if got, err := decode(t, &d, 8, "0500 80c1 81"); err != nil || got != ":authority=www.example.com\n:path=/\ncustom-key=custom-value\n" {
		t.Fatalf("B.4: %q, %v", got, err)
	}
	acks(t, &d, "48") // cancels stream 8
	if d.size != 217 || d.nUnacked != 0 {
		t.Fatalf("B.4: %d bytes, %d not acknowledged", d.size, d.nUnacked)
	}
	// B.5
	insert(t, &d, "810d 6375 7374 6f6d 2d76 616c 7565 32")
	if d.size != 215 || d.held != 4 || d.Count() != 5 || d.get(4).value != "custom-value2" || !d.get(0).unknown {
		t.Fatalf("B.5: %d bytes, %d entries, %d inserted", d.size, d.held, d.Count())
	}
}

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name, block string
		want        error
	}{
		{"nothing", "", ErrShort},
		{"no base", "00", ErrShort},
		{"truncated base", "00ff", ErrShort},
		{"static index 99", "0000 ff24", ErrIndex},
		{"name of static index 99", "0000 5f54 00", ErrIndex},
		{"an entry in a section that needs none", "0000 80", ErrIndex},
		{"an entry after the base in a section that needs none", "0000 10", ErrIndex},
		{"entry that the section does not need", "0200 11", ErrIndex},
		{"base below zero", "0281", ErrBase},
		{"value longer than the section", "0000 5105 6162", ErrShort},
		{"name longer than the section", "0000 2705", ErrShort},
		{"number over 62 bits", "0000 ff ffffffffffffffff7f", ErrInteger},
		{"bad Huffman code", "0000 5184 ffffffff", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var d Decoder
			d.SetMax(4096)
			insert(t, &d, "3fe11f c0 0161 c0 0162")
			got, err := decode(t, &d, 0, row.block)
			if err == nil || row.want != nil && !errors.Is(err, row.want) {
				t.Errorf("%q, %v, want %v", got, err, row.want)
			}
		})
	}
}

func TestEncoderFaults(t *testing.T) {
	for _, row := range []struct {
		name, stream string
		taken        int
	}{
		{"entry without a capacity", "c00161", 0},
		{"entry larger than the capacity", "3f01 c00161 c0 0161", 2},
		{"duplicate of nothing", "3fe11f 00", 3},
		{"name of nothing", "3fe11f 80 00", 3},
		{"static index 99", "3fe11f ff24 00", 3},
		{"string over the limit", "3fe11f c0 7f ffffff7f", 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			var d Decoder
			p := unhex(t, row.stream)
			if len(p) == 9 { // the string that will never be complete
				p = append(p, make([]byte, 2*maxString)...)
			}
			n, err := d.Insertions(p, all)
			if err == nil || n != row.taken || !d.Lost() {
				t.Errorf("took %d, %v, lost %v, want %d and an error", n, err, d.Lost(), row.taken)
			}
		})
	}
}

// TestLost checks the entries that are shown if a part of the encoder stream is missing.
func TestLost(t *testing.T) {
	start := func() *Decoder {
		d := &Decoder{}
		d.SetMax(4096)
		insert(t, d, "3fe11f c00161 c00162")
		return d
	}
	t.Run("entries made before stay", func(t *testing.T) {
		d := start()
		d.Lose()
		if got, err := decode(t, d, 0, "0300 81"); err != nil || got != ":authority=a\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("later entries are unknown and nothing waits", func(t *testing.T) {
		d := start()
		d.Lose()
		got, err := decode(t, d, 0, "0500 80 82 d1 4001 78")
		if want := "(unknown)=(unknown)\n:authority=b\n:method=GET\n(unknown)=x\n"; err != nil || got != want || d.Unknown != 2 {
			t.Errorf("%q, %v, %d unknown, want %q", got, err, d.Unknown, want)
		}
		if !d.Ready(4) {
			t.Error("waits for insertions that will not come")
		}
	})
	t.Run("acknowledgements keep the position while numbers wrap", func(t *testing.T) {
		d := start()
		d.Lose()
		acks(t, d, "3fbd0103") // 255 insertions that were not captured: 257
		need, err := d.Need(0, unhex(t, "0300 81"))
		if err != nil || need != 258 { // and not 2
			t.Errorf("needs %d, %v, want 258", need, err)
		}
	})
	t.Run("without acknowledgements nothing is resolved", func(t *testing.T) {
		d := start()
		d.Lose()
		d.LoseAcks()
		if got, err := decode(t, d, 0, "0300 81 d1 10"); err != nil || got != "(unknown)=(unknown)\n:method=GET\n(unknown)=(unknown)\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("without settings, numbers are trusted while they cannot have wrapped", func(t *testing.T) {
		var d Decoder
		insert(t, &d, "3fe11f c00161 c00162")
		if got, err := decode(t, &d, 0, "0300 81"); err != nil || got != ":authority=a\n" {
			t.Errorf("%q, %v", got, err)
		}
		for range 200 {
			insert(t, &d, "00")
		}
		if need, err := d.Need(0, unhex(t, "0300 81")); err != nil || need != Unresolved {
			t.Errorf("needs %d, %v, want unresolved", need, err)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Run("fields of a section", func(t *testing.T) {
		var d Decoder
		f, err := d.Decode(append(unhex(t, "0000"), bytes.Repeat([]byte{0xd1}, 10000)...), 0)
		if err != nil || len(f) != hpack.MaxFields || d.Dropped != 10000-hpack.MaxFields {
			t.Errorf("%d fields, %d dropped, %v", len(f), d.Dropped, err)
		}
	})
	t.Run("bytes of a section", func(t *testing.T) {
		var d Decoder
		d.SetMax(1 << 20)
		d.resize(1 << 20)
		if err := d.add(entry{name: "x", value: strings.Repeat("v", 60000)}); err != nil {
			t.Fatal(err)
		}
		block := append(unhex(t, "0200"), bytes.Repeat([]byte{0x80}, 100)...)
		need, _ := d.Need(0, block)
		f, err := d.Decode(block, need)
		if err != nil || len(f) > hpack.MaxList/60000 || len(f)+d.Dropped != 100 {
			t.Errorf("%d fields, %d dropped, %v", len(f), d.Dropped, err)
		}
	})
	t.Run("table larger than is kept", func(t *testing.T) {
		var d Decoder
		d.SetMax(1 << 30)
		d.resize(1 << 30)
		for i := range 10000 {
			if err := d.add(entry{name: "n", value: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if d.size > maxTable || d.Count() != 10000 || d.get(9999).value != "9999" || !d.get(0).unknown {
			t.Errorf("%d bytes, %d inserted", d.size, d.Count())
		}
		if err := d.add(entry{name: "n", value: strings.Repeat("v", maxTable)}); err != nil || d.held != 0 || d.Count() != 10001 {
			t.Errorf("%v, %d held, %d inserted", err, d.held, d.Count())
		}
	})
	t.Run("sections without an acknowledgement", func(t *testing.T) {
		var d Decoder
		d.SetMax(4096)
		insert(t, &d, "3fe11f c00161")
		for i := range int64(2 * maxUnacked) {
			if _, err := d.Need(i, unhex(t, "0200 80")); err != nil {
				t.Fatal(err)
			}
		}
		if !d.ackLost || len(d.unacked) > maxUnacked {
			t.Errorf("%d remembered", len(d.unacked))
		}
	})
}

// TestPeer reads what another encoder writes with the static table only.
func TestPeer(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	names := []string{":method", ":path", "content-type", "cookie", "x-own", "accept-encoding"}
	values := []string{"GET", "/", "text/html; charset=utf-8", "", "gzip, deflate, br", "\x00\xff any ~", strings.Repeat("long ", 100)}
	var d Decoder
	for range 200 {
		var buf bytes.Buffer
		enc := peer.NewEncoder(&buf)
		var want strings.Builder
		for range 1 + rnd.Intn(12) {
			f := peer.HeaderField{Name: names[rnd.Intn(len(names))], Value: values[rnd.Intn(len(values))]}
			if err := enc.WriteField(f); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&want, "%s=%s\n", f.Name, f.Value)
		}
		if got, err := decode(t, &d, 0, hex.EncodeToString(buf.Bytes())); err != nil || got != want.String() {
			t.Fatalf("%q, %v, want %q", got, err, want.String())
		}
	}
	for i := range static { // each entry by its index, one by one
		var buf bytes.Buffer
		enc := peer.NewEncoder(&buf)
		if err := enc.WriteField(peer.HeaderField{Name: static[i].name, Value: static[i].value}); err != nil {
			t.Fatal(err)
		}
		want := append(unhex(t, "0000"), 0xc0|byte(min(i, 63)))
		if i >= 63 {
			want = append(want, byte(i-63))
		}
		if !bytes.Equal(buf.Bytes(), want) {
			t.Errorf("static entry %d is %x to the peer", i, buf.Bytes())
		}
	}
}
