package sensitive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/redact"
)

func headersPlace() int {
	for i, p := range places() {
		if p.text.Headers {
			return i
		}
	}
	return -1
}

// TestHeaders checks that a header is a hit exactly if its line contains sensitive data.
func TestHeaders(t *testing.T) {
	key := "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, tt := range []struct{ name, header, value, want string }{
		{"a token by its form", "X-Trace", "ghp_a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "github_token=ghp_[masked]"},
		{"a key by its name", "X-Aws-Secret-Access-Key", key, "aws_secret_key=[masked]"},
		{"a key by its name, in quotes", "Aws-Secret-Access-Key", ` "` + key + `"`, "aws_secret_key=[masked]"},
		{"the same under another name", "X-Digest", key, ""},
		{"an email address", "From", "ann@example.com", "email=a***@example.com"},
		{"credentials where they belong", "Authorization", "Bearer 0123456789abcdef0123", ""},
		{"quiet headers in any case", "HOST", "ann@example.com", ""},
		{"too short to be anything", "X-A", "a@b.c", ""},
		{"a number of 64 bits like that of a card", "X-Datadog-Trace-Id", "4752409876543212239", ""},
		{"a long number of a card", "X-Card", "4752409876543212239", "card=4752 40** **** ***2 239"},
		{"nothing", "X-Colour", "blue and green", ""},
	} {
		s := &Search{known: map[string]uint32{}}
		j := s.judge(true).(*judge)
		got := ""
		if v := j.Text(headersPlace(), []byte(tt.value)); v != 0 {
			if v = j.Header(headersPlace(), []byte(tt.header), []byte(tt.value), []byte("request"), v); v != 0 {
				from, at := s.of(v)
				for _, m := range from.sets[at] {
					got += m.Kind + "=" + m.Masked
				}
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestLongNumbers: a number of 17 digits or more is that of a card only if it is text or is named.
func TestLongNumbers(t *testing.T) {
	for text, want := range map[string]bool{
		"1: 4752409876543212239": false, "1: -4752409876543212239": false, `{"id":4752409876543212239,"at":1}`: false, "VALUES (7, 4752409876543212239)": false,
		`1: "4752409876543212239"`: true, `{"id":"4752409876543212239"}`: true, "<a>4752409876543212239</a>": true, "card_number: 4752409876543212239": true, "pan=4752409876543212239&x=1": true, "pan: 4752409876543212239": true, `{"unionPay":4752409876543212239}`: true,
		"spanned: 4752409876543212239": false, "1: 4111111111111111": true, "4111-1111-1111-1111": true,
	} {
		if got := len(likely([]byte(text), redact.FindBytes([]byte(text)))) == 1; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestSetsAreBounded checks that texts with ever new matches stay within the memory limit, and that
// their kinds are kept.
func TestSetsAreBounded(t *testing.T) {
	s := &Search{known: map[string]uint32{}}
	j := s.judge(true).(*judge)
	var last []redact.Match
	for i := range 20_000 {
		var b strings.Builder
		for k := range 50 {
			fmt.Fprintf(&b, "ann@x%d-%d.example.com ", i, k)
		}
		_, at := s.of(j.set(redact.FindBytes([]byte(b.String()))))
		last = j.sets[at]
		s.number(last)
	}
	if len(last) != 1 || last[0].Kind != "email" || last[0].Masked != "" {
		t.Errorf("the last text holds %+v, want an email address without its form", last)
	}
	if most := maxSetBytes + maxSetBytes/10; j.usedBytes > most || s.usedBytes > 2*most {
		t.Errorf("sets take %d and %d bytes, want at most %d and twice that", j.usedBytes, s.usedBytes, most)
	}
	if j.clearSets(); len(j.sets)+len(j.known)+j.usedBytes > 0 {
		t.Errorf("a row group leaves %d sets behind", len(j.sets))
	}
}
