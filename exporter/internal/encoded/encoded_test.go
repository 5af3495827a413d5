package encoded_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
)

const secret = "horse-battery/staple"

// one is the only value that is searched.
type one string

func (o one) None() bool { return o == "" }

func (o one) Next(b []byte, from int) (f encoded.Found, next int, ok bool) {
	i := bytes.Index(b[from:], []byte(o))
	if i < 0 {
		return f, len(b), false
	}
	return encoded.Found{From: from + i, To: from + i + len(o), Rule: 7}, from + i + 1, true
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func deflated(s string) string {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func each(format, s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func linesOf(s string) string {
	var b strings.Builder
	for ; len(s) > 76; s = s[76:] {
		b.WriteString(s[:76] + "\r\n")
	}
	return b.String() + s
}

func zstandard(s string) string {
	z, _ := zstd.NewWriter(nil)
	return string(z.EncodeAll([]byte(s), nil))
}

// TestRanges finds a value in each encoding, and reports no more than the encoding of it.
func TestRanges(t *testing.T) {
	for _, c := range []struct{ name, before, code, after string }{
		{"no encoding", "", "", "plain " + secret},
		{"another value", "", "", base64Of("another value, and nothing of it is searched")},
		{"too deep", "", "", base64Of(base64Of(base64Of(base64Of(base64Of(secret)))))},
		{"JSON escapes", `{"a":"b","key":"`, each(`\u%04x`, secret), `","c":"d"}`},
		{"URL escapes", "a=1&key=", each("%%%02X", secret), "&b=2"},
		{"URL escapes twice", "a=1&key=", each("%%25%02X", secret), "&b=2"},
		{"XML entities", "<a>", each("&#%d;", secret), "</a>"},
		{"quoted-printable", "key: ", each("=%02X", secret), "\r\n"},
		{"hexadecimal digits", "id ", hex.EncodeToString([]byte(secret)), " end"},
		{"half bytes", "\x20", half(secret), "\x00"},
		{"a frame of DNP3", "\x05\x64\x05\xc9\x0a\x00\x01\x00\xfe\xda" + "\x05\x64\x21\xc4\x0a\x00\x01\x00\x45\x9c", "objects " + secret[:8] + "\x01\x02" + secret[8:] + "\x03\x04", "more"},
		{"base32", "otp ", base32.StdEncoding.EncodeToString([]byte(secret)), " end"},
		{"base64 twice", "auth ", base64Of(base64Of(secret)), " end"},
		{"UTF-16", "\x01\x02", each("%c\x00", secret), "\x01\x02"},
		{"UTF-32", "\x01\x02", each("\x00\x00\x00%c", secret), "\x01\x02"},
		{"gzip", "HTTP\r\n\r\n", gzipped(`{"key":"` + secret + `"}`), "next"},
		{"deflate in base64", "SAMLRequest=", base64Of(deflated(`<Request><ID>1</ID><Key>` + secret + `</Key></Request>`)), "&b"},
		{"Zstandard", "HTTP\r\n\r\n", zstandard(strings.Repeat("key ", 20) + secret), ""},
		{"lines of base64", "mail\r\n\r\n", linesOf(base64Of(strings.Repeat("text before it ", 20) + secret)), "\r\n--"},
		{"gzip in base64 in JSON", `{"key":"`, strings.ReplaceAll(base64Of(gzipped("the key is "+secret)), "=", `\u003d`), `"}`},
	} {
		f := encoded.Finder{Values: one(secret)}
		b, hits := []byte(c.before+c.code+c.after), 0
		f.Find(b, func(e encoded.Found) {
			hits++
			if e.Rule != 7 || e.From < len(c.before)-1 || e.To > len(c.before+c.code)+1 || e.From >= e.To {
				t.Errorf("%s: %+v, want it in %d to %d", c.name, e, len(c.before), len(c.before+c.code))
			}
		})
		if (hits > 0) != (c.code != "") {
			t.Errorf("%s: found %d times", c.name, hits)
		}
	}
}

// half writes half bytes as letters.
func half(s string) (out string) {
	for _, b := range []byte(s) {
		out += string([]byte{'A' + b>>4, 'A' + b&15})
	}
	return out
}

// TestOpen reports something compressed that does not end in the text, also if a value was found in it already.
func TestOpen(t *testing.T) {
	noise := make([]byte, 4<<10)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(r.IntN(256))
	}
	whole := "head " + gzipped(secret+string(noise))
	f := encoded.Finder{Values: one(secret)}
	for _, c := range []struct {
		text string
		want int
	}{{whole, -1}, {whole[:len(whole)/2], 5}, {"head", -1}} {
		hits := 0
		if open := f.Find([]byte(c.text), func(encoded.Found) { hits++ }); open != c.want || (hits > 0) != (len(c.text) > 4) {
			t.Errorf("%d bytes: open at %d, want %d; found %d times", len(c.text), open, c.want, hits)
		}
	}
}

// TestRaw also gives what was compressed to Raw, with no value to search.
func TestRaw(t *testing.T) {
	var texts []string
	f := encoded.Finder{Values: one(""), Raw: func(text string) { texts = append(texts, strings.Clone(text)) }}
	f.Find([]byte(gzipped("a text of some length")+zstandard("another text of some length")), func(encoded.Found) { t.Error("found") })
	if got := strings.Join(texts, "|"); got != "a text of some length|another text of some length" {
		t.Errorf("%q", got)
	}
}

// TestNoAllocation decodes many texts with the buffers of the first ones.
func TestNoAllocation(t *testing.T) {
	text := []byte(strings.Repeat(base64Of("some text, and more of it, for base64")+` \u0041\u0042 `+hex.EncodeToString([]byte("digits of some text"))+" w\x00i\x00d\x00e\x00 \x00t\x00e\x00x\x00t\x00", 50))
	f := encoded.Finder{Values: one(secret)}
	hit := func(encoded.Found) {}
	if n := testing.AllocsPerRun(5, func() { f.Find(text, hit) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestUnescape removes escapes within each other.
func TestUnescape(t *testing.T) {
	for _, c := range [][2]string{{"a%20b", "a b"}, {`a\u0026amp;b`, "a&b"}, {"100%", "100%"}, {`\x41\102`, "AB"}} {
		if got := encoded.Unescape(c[0]); got != c[1] {
			t.Errorf("%q became %q, want %q", c[0], got, c[1])
		}
	}
}

// TestSeen searches a run without a value once, and one with a value each time.
func TestSeen(t *testing.T) {
	f := encoded.Finder{Values: one(secret), Seen: &encoded.Seen{}}
	for _, c := range []struct {
		text string
		want int
	}{{base64Of("a text without a value in it"), 0}, {base64Of("the key is " + secret), 1}} {
		for range 3 {
			hits := 0
			if f.Find([]byte("x "+c.text+" y"), func(encoded.Found) { hits++ }); hits != c.want {
				t.Errorf("%q: found %d times, want %d", c.text, hits, c.want)
			}
		}
		if got := f.Seen.Has(f.Seen.Sum([]byte(strings.TrimRight(c.text, "=")))); got != (c.want == 0) {
			t.Errorf("%q: seen is %v", c.text, got)
		}
	}
}
