package section

import (
	"testing"

	"github.com/pcapsule/pcapsule/report/value"
)

func TestCommonName(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"a certificate goes by its common name", commonName(`O=A\, CN=no,CN=www.example,C=US`), "www.example"},
		{"or by all of its name", commonName(`O=A\`), `O=A\`},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if floorDiv(-1, 10) != -1 || floorDiv(-10, 10) != -1 || floorDiv(9, 10) != 0 {
		t.Error("buckets before 1970 are cut to zero")
	}
}

// TestOneFullStop checks that words from a packet that end with a full stop do not get a second one.
func TestOneFullStop(t *testing.T) {
	for text, want := range map[string]string{
		"One of them: CLNT, 500 Unknown command..":        "One of them: CLNT, 500 Unknown command.",
		"CLNT, 500 Unknown command.. Of 3 calls 2 failed": "CLNT, 500 Unknown command. Of 3 calls 2 failed",
		"The name is example.com..":                       "The name is example.com.",
		"CWD .. failed.":                                  "CWD .. failed.",
		"GET /a/../b failed... often.":                    "GET /a/../b failed... often.",
		"Ports 80..90 are open.":                          "Ports 80..90 are open.",
	} {
		b := &builder{r: &value.Report{}}
		b.state(value.Statement{Text: text})
		if got := b.r.Statements[0].Text; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
