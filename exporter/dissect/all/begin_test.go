package all

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestCaptureBeginsInAPipeline lacks the first of two requests that were sent together. The response to it is not a
// certain one to the second, and there is an anomaly, no later than another response.
func TestCaptureBeginsInAPipeline(t *testing.T) {
	for _, l := range pipelines() {
		if !slices.Contains([]string{"http1", "redis", "memcached", "smtp", "pop3"}, l.name) {
			continue
		}
		play := func(end dissect.End, chunks ...dissecttest.Chunk) (outcome string, unknown bool) {
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Transport: l.kind, ServerPort: l.port, End: end}, chunks...)
			for _, e := range r.Emissions {
				if e.Request.Seen && e.Response.Seen {
					outcome = e.Row.Base().Outcome
				}
			}
			return outcome, slices.ContainsFunc(r.Anomalies, func(a table.Anomaly) bool { return a.Kind == "pairing_unknown" })
		}
		first, second := l.response(0), l.response(1)
		if outcome, unknown := play(dissect.EndCapture, fromClient(l.request(1)), fromServer(first+second)); outcome != table.Unread || !unknown {
			t.Errorf("%s, both responses in a segment: outcome %q, anomaly %v", l.name, outcome, unknown)
		}
		if _, unknown := play(dissect.EndCapture, fromClient(l.request(1)), fromServer(first), fromServer(second)); !unknown {
			t.Errorf("%s, each response in a segment: no anomaly", l.name)
		}
		if outcome, unknown := play(dissect.EndCapture, fromClient(l.request(1)), fromServer(second)); outcome == table.Unread || unknown {
			t.Errorf("%s, one response: outcome %q, anomaly %v", l.name, outcome, unknown)
		}
	}
}
