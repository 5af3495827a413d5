package kfl

import (
	"strings"
	"testing"
)

// TestUnknownWordsAreNoted compares columns that have few words with words that they never have. The
// calls have a protocol that only another release dissects.
func TestUnknownWordsAreNoted(t *testing.T) {
	for text, want := range map[string]string{
		`protocol == "htp"`:           "did you mean http?",
		`protocol in ["dns", "zzzz"]`: `"zzzz" is not a protocol that this release dissects`,
		`protocol == "HTTP"`:          "",
		`protocol == "http1"`:         "",
		`protocol == "redis"`:         "",
		`protocol == "tls"`:           "",
		`protocol == "ip"`:            "",
		`protocol == "quic_stream"`:   "",
		`protocol == "GraphQL"`:       `"graphql" is carried by other protocols, and is not a value of protocol; write graphql alone`,
		`protocol == "echoq"`:         "",
		`protocol == "icpm"`:          "did you mean icmp?",
		`outcome == "bad"`:            "these are ok, client_error",
		`outcome == "no_answer"`:      "",
		`outcome == r"no_.*"`:         "",
		`"fine" != outcome`:           `"fine" is not an outcome`,
	} {
		q, err := Compile(text, Env{Protocol: func(name string) bool { return name == "echoq" }})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := strings.Join(q.Notes(), "; ")
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: notes %q, want %q", text, got, want)
		}
	}
}

// TestErrorAloneIsNoted: error is a column about answers that are missing, not about failures.
func TestErrorAloneIsNoted(t *testing.T) {
	for text, want := range map[string]int{`error`: 1, `http && !error`: 1, `error || error`: 1, `failed`: 0, `error == "reset"`: 0, `amqp_response`: 0, `dst.name == "error"`: 0} {
		q, err := Compile(text, Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Notes(); len(got) != want {
			t.Errorf("%s: notes %q, want %d", text, got, want)
		}
	}
}
