package hpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	oracle "golang.org/x/net/http2/hpack"
)

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

// TestAppendixC decodes the examples of RFC 7541 appendix C; each group shares a table.
func TestAppendixC(t *testing.T) {
	groups := []struct {
		name   string
		max    int
		blocks [][2]string // block, fields
		size   int
	}{
		{"C.2.1 literal with indexing", 4096, [][2]string{
			{"400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key=custom-header\n"}}, 55},
		{"C.2.2 literal without indexing", 4096, [][2]string{{"040c 2f73 616d 706c 652f 7061 7468", ":path=/sample/path\n"}}, 0},
		{"C.2.3 literal never indexed", 4096, [][2]string{{"1008 7061 7373 776f 7264 0673 6563 7265 74", "password=secret!\n"}}, 0},
		{"C.2.4 indexed", 4096, [][2]string{{"82", ":method=GET\n"}}, 0},
		{"C.3 requests without Huffman", 4096, [][2]string{
			{"8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n"},
			{"8286 84be 5808 6e6f 2d63 6163 6865", ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\ncache-control=no-cache\n"},
			{"8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
				":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\ncustom-key=custom-value\n"}}, 164},
		{"C.4 requests with Huffman", 4096, [][2]string{
			{"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n"},
			{"8286 84be 5886 a8eb 1064 9cbf", ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\ncache-control=no-cache\n"},
			{"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
				":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\ncustom-key=custom-value\n"}}, 164},
		{"C.5 responses without Huffman, table of 256", 256, [][2]string{
			{"4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
				":status=302\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\nlocation=https://www.example.com\n"},
			{"4803 3330 37c1 c0bf", ":status=307\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\nlocation=https://www.example.com\n"},
			{"88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
				":status=200\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:22 GMT\nlocation=https://www.example.com\ncontent-encoding=gzip\nset-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"}}, 215},
		{"C.6 responses with Huffman, table of 256", 256, [][2]string{
			{"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
				":status=302\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\nlocation=https://www.example.com\n"},
			{"4883 640e ffc1 c0bf", ":status=307\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:21 GMT\nlocation=https://www.example.com\n"},
			{"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
				":status=200\ncache-control=private\ndate=Mon, 21 Oct 2013 20:13:22 GMT\nlocation=https://www.example.com\ncontent-encoding=gzip\nset-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"}}, 215},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			d := New()
			d.resize(g.max)
			for i, b := range g.blocks {
				f, err := d.Decode(unhex(t, b[0]))
				if err != nil || show(f) != b[1] {
					t.Fatalf("block %d: got\n%s%v, want\n%s", i, show(f), err, b[1])
				}
			}
			if d.size != g.size {
				t.Errorf("table has %d bytes, want %d", d.size, g.size)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, block string
		want        error
	}{
		{"index 0", "80", ErrIndex},
		{"integer without end", "ff80", ErrShort},
		{"integer over the limit", "ffffffffffff0f", ErrInteger},
		{"string longer than the block", "40056162", ErrShort},
		{"literal without value", "400161", ErrShort},
		{"literal without a name", "40", ErrShort},
		{"end-of-string symbol inside", "4084ffffffff00", ErrHuffman},
		{"padding of zeros", "40810000", ErrHuffman},
		{"padding of a whole byte", "4082f8ff00", ErrHuffman},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New()
			if f, err := d.Decode(unhex(t, c.block)); !errors.Is(err, c.want) {
				t.Errorf("got %v, %v, want %v", f, err, c.want)
			}
		})
	}
}

func TestUnknownEntriesDoNotHideLaterFields(t *testing.T) {
	d := New()
	d.Lose()
	// 62 was never seen; 0x7e+0x01 refers to a header name by entry 63 and adds the field as
	// entry 62.
	f, err := d.Decode(unhex(t, "82 be 7f00 01 78 be bf"))
	want := ":method=GET\n(unknown)=(unknown)\n(unknown)=x\n(unknown)=x\n(unknown)=(unknown)\n"
	if err != nil || show(f) != want || d.Unknown != 4 {
		t.Errorf("got\n%s%v, %d unknown, want\n%s", show(f), err, d.Unknown, want)
	}
	if !d.Partial() {
		t.Error("the table counts as complete")
	}
	if d.Decode(unhex(t, "20")); d.Partial() {
		t.Error("a table emptied by a size update counts as incomplete")
	}
}

func TestEntriesMadeAfterALossAreRight(t *testing.T) {
	var buf bytes.Buffer
	e := oracle.NewEncoder(&buf)
	e.WriteField(oracle.HeaderField{Name: "old", Value: "1"})
	buf.Reset() // missed
	d := New()
	d.Lose()
	for i := range 50 {
		e.WriteField(oracle.HeaderField{Name: "n", Value: fmt.Sprint(i)})
	}
	if _, err := d.Decode(buf.Bytes()); err != nil {
		t.Fatal(err)
	}
	buf.Reset()
	for i := range 50 {
		e.WriteField(oracle.HeaderField{Name: "n", Value: fmt.Sprint(i)})
	}
	e.WriteField(oracle.HeaderField{Name: "old", Value: "1"})
	f, err := d.Decode(buf.Bytes())
	if err != nil || len(f) != 51 || d.Unknown != 1 {
		t.Fatalf("%d fields, %d unknown, %v", len(f), d.Unknown, err)
	}
	for i, x := range f[:50] {
		if x.Name != "n" || x.Value != fmt.Sprint(i) {
			t.Errorf("field %d: %v", i, x)
		}
	}
}

func TestLimits(t *testing.T) {
	d := New()
	d.Decode(unhex(t, "3f e1ff ff3f")) // size update far above the kept size
	if d.max != maxTable || d.Update <= maxTable {
		t.Errorf("table of %d, update %d", d.max, d.Update)
	}
	big := append([]byte{0x40, 1, 'a', 0x7f, 0x81, 0x7f}, make([]byte, 127+16257)...) // 16 KiB value
	if _, err := d.Decode(big); err != nil {
		t.Fatal(err)
	}
	f, err := d.Decode(bytes.Repeat([]byte{0xbe}, 200_000)) // 3 GB if all were returned
	if err != nil || len(f) > MaxFields || d.Dropped+len(f) != 200_000 || d.list > MaxList {
		t.Errorf("%d fields, %d dropped, %d bytes, %v", len(f), d.Dropped, d.list, err)
	}
}

func TestHuffmanAgreesWithItsOracle(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for n := range 2000 {
		b := make([]byte, rnd.Intn(40))
		for i := range b {
			b[i] = byte(rnd.Intn(256))
			if n%2 == 0 {
				b[i] = "abcdefghijklmnopqrstuvwxyz0123456789-/ :.%"[rnd.Intn(42)]
			}
		}
		got, err := AppendHuffman(nil, oracle.AppendHuffmanString(nil, string(b)))
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x: got %x, %v", b, got, err)
		}
	}
	for range 200_000 {
		b := make([]byte, rnd.Intn(9))
		for i := range b {
			b[i] = byte(rnd.Intn(256)) | byte(rnd.Intn(2))*0xff
		}
		compareHuffman(t, b)
	}
}

func compareHuffman(t *testing.T, b []byte) {
	t.Helper()
	want, wantErr := oracle.HuffmanDecodeToString(b)
	got, err := AppendHuffman(nil, b)
	if (err != nil) != (wantErr != nil) || err == nil && string(got) != want {
		t.Fatalf("%x: got %q, %v, want %q, %v", b, got, err, want, wantErr)
	}
}

// FuzzDecode passes blocks to both decoders: if the strict one succeeds, the results must be
// equal; if not, this one must fail or mark the unknown fields.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), []byte("\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf"))
	f.Add([]byte("\x20\x3f\xe1\x1f\x40\x01a\x01b"), []byte("\xbe\x7e\x01c"))
	f.Add([]byte("\x10\x08password\x06secret"), []byte("\xbf\x80"))
	f.Add([]byte("\x04\x0c/sample/path"), []byte("\x4f\x01\x00\xc0\x82\x3f\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var want []Field
		o := oracle.NewDecoder(defaultTable, func(h oracle.HeaderField) {
			want = append(want, Field{Name: h.Name, Value: h.Value, Never: h.Sensitive})
		})
		d := New()
		for _, block := range [][]byte{a, b} {
			if len(block) > 60_000 {
				return
			}
			want = want[:0]
			_, wantErr := o.Write(block)
			if err := o.Close(); wantErr == nil {
				wantErr = err
			}
			got, err := d.Decode(block)
			if wantErr != nil {
				return // it stops at errors that an observer can tolerate
			}
			if d.Dropped > 0 {
				return
			}
			if err != nil || show(got) != show(want) {
				t.Fatalf("block %x: got\n%s%v, want\n%s", block, show(got), err, show(want))
			}
			if d.Unknown > 0 {
				t.Fatalf("block %x: %d unknown fields in a complete block", block, d.Unknown)
			}
		}
	})
}

func FuzzHuffman(f *testing.F) {
	f.Add([]byte("\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) { compareHuffman(t, b) })
}

func BenchmarkDecode(b *testing.B) {
	var buf bytes.Buffer
	e := oracle.NewEncoder(&buf)
	for _, h := range [][2]string{{":method", "GET"}, {":path", "/api/v1/orders/123456789?expand=items"}, {":scheme", "https"},
		{":authority", "shop.example.com"}, {"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
		{"accept", "application/json"}, {"authorization", "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"}} {
		e.WriteField(oracle.HeaderField{Name: h[0], Value: h[1]})
	}
	block := buf.Bytes()
	d := New()
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(block); err != nil {
			b.Fatal(err)
		}
	}
}
