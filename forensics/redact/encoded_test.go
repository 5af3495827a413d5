package redact

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// encodings are the ways to write a text in base64 in traffic.
var encodings = map[string]func(string) string{
	"base64":           func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 unpadded":  func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64url":        func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64url padded": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64 in base64": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte("x=" + base64.StdEncoding.EncodeToString([]byte(s))))
	},
	"gzip in base64": func(s string) string { return packed(s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }) },
	"zlib in base64": func(s string) string { return packed(s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }) },
	"zstd in base64": func(s string) string {
		return packed(s, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z })
	},
	"a part of a token": func(s string) string { return "x." + base64.RawURLEncoding.EncodeToString([]byte(s)) },
}

// packed is a compressed text in base64.
func packed(s string, compress func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := compress(&b)
	w.Write([]byte(s))
	w.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// TestBombsInBase64 searches only the beginning of texts that are much longer than what was sent.
func TestBombsInBase64(t *testing.T) {
	bomb := packed(strings.Repeat(" ", 8<<20)+"ann.miller@example.com", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	raw, err := base64.StdEncoding.DecodeString(bomb)
	if err != nil {
		t.Fatal(err)
	}
	if text, whole, ok := inflated(raw); len(text) != mostInflated || whole || !ok {
		t.Errorf("%d bytes, %v, %v", len(text), whole, ok)
	}
	if got := Find(bomb); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	first := packed("ann.miller@example.com "+strings.Repeat(" ", 8<<20), func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	if got := Find(first); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	for _, cut := range []int{9, 11, 20, len(raw) / 2, len(raw) - 1} {
		inflated(raw[:cut]) // must not panic
	}
}

func TestSecretsInBase64(t *testing.T) {
	p, err := Parse([]byte("version: 1\ndetectors: [all]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []struct{ kind, text string }{
		{"email", `{"sub":"ann.miller@example.com"}`}, {"card", `{"n":"4111111111111111","?":"ÿ>"}`}, {"github_token", "user:ghp_a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"},
	} {
		for how, encode := range encodings {
			for _, around := range []string{"%s", `{"data":"%s"}`, "a=1&state=%s&b=2", "/callback/%s", "see %s, please", "X-Context: %s"} {
				text := fmt.Sprintf(around, encode(secret.text))
				if got := Find(text); len(got) != 1 || got[0].Kind != secret.kind || !strings.HasPrefix(got[0].Masked, "base64:") {
					t.Errorf("%s of %s: %+v", how, text, got)
				}
				masked, n := p.Text("", text)
				if n == 0 || strings.Contains(masked, encode(secret.text)[8:]) {
					t.Errorf("%s of %s: %d masked, %s", how, text, n, masked)
				}
			}
		}
	}
}

func TestNamesInBase64(t *testing.T) {
	for how, encode := range encodings {
		for _, around := range []string{"%s", `{"data":"%s"}`, "a=1&state=%s&b=2", "see %s, please"} {
			text := fmt.Sprintf(around, encode(`{"user":"ann","password":"horse battery"}`))
			if masked, n := Default().Text("", text); n == 0 || strings.Contains(masked, encode("horse battery")[2:10]) {
				t.Errorf("%s of %s: %s", how, text, masked)
			}
		}
	}
}

func TestWhatIsNoTextInBase64(t *testing.T) {
	for _, text := range []string{
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "/internal/customers/search/recent/orders", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
		"eyJhbGciOiJIUzI1NiJ9", base64.StdEncoding.EncodeToString([]byte(`{"order":17,"state":"paid"}`)), strings.Repeat("A", 100),
	} {
		if got := Find(text); len(got) != 0 {
			t.Errorf("%s: %+v", text, got)
		}
		if masked, n := Default().Text("", text); n != 0 || masked != text {
			t.Errorf("%s: %s", text, masked)
		}
	}
}
