package dns

import (
	"testing"

	lib "github.com/miekg/dns"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestAnswerBeforeItsQuestion has packets that a capture shows out of order. No question is then unanswered for certain.
func TestAnswerBeforeItsQuestion(t *testing.T) {
	q, a := query(t, 9, "x.com", lib.TypeA), answer(t, 9, "x.com", lib.TypeA, "x.com. 60 IN A 10.0.0.9")
	for _, row := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"the answer is first", chunks{server(a), client(q)}, "A x.com → 10.0.0.9 [no_request]; A x.com → response may be out of order [no_response]; !answer_first"},
		{"the question has another answer", chunks{server(a), client(q), server(a)}, "A x.com → 10.0.0.9 [no_request]; A x.com → 10.0.0.9 whole"},
		{"only the client sent before", chunks{client(a), client(q)}, "A x.com → 10.0.0.9 [no_request]; A x.com → no response [no_response] failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := sketch(dissecttest.Play(t, options(portDNS), row.chunks...)); got != row.want {
				t.Errorf("\n got %s\nwant %s", got, row.want)
			}
		})
	}
}
