package failures_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
)

func TestAReceiverThatStopsReading(t *testing.T) {
	body := strings.Repeat("x", 4000)
	for _, x := range []struct {
		name   string
		ms     float64 // until the server reads again; 0: it does not, and the client resets the connection
		client bool    // the client stops reading, not the server
		words  string
		told   bool // as what happened
	}{
		{"server", 4000, false, "10.0.0.9 stopped reading what 10.0.0.2 sent: its receive window was zero for up to 4 s on 1 connection, first at 2026-02-25", true},
		{"client", 4000, true, "10.0.0.2 stopped reading what 10.0.0.9 sent: its receive window was zero for up to 4 s on 1 connection, first at 2026-02-25", true},
		{"reset", 0, false, "10.0.0.9 stopped reading what 10.0.0.2 sent: its receive window was zero for up to 7 s on 1 connection, first at 2026-02-25T06:13:20.002000000Z; on 1, it did not open again in the capture", true},
		{"short", 200, false, "10.0.0.9 stopped reading what 10.0.0.2 sent: its receive window was zero for up to 200 ms", false},
		{"normal", 50, false, "", false},
	} {
		var w asktest.Made
		request, answer := asktest.Post("/upload", body), asktest.Answer("200 OK", body)
		half := len(request) / 2
		part := request[:half]
		if x.client {
			part = request
		}
		w.Call(1, 0, "up", 2, 9, 8080, part, "")
		switch {
		case x.client:
			w.Call(2, 0, "up", 2, 9, 8080, "", answer[:half])
			w.Full(asktest.Ms(2.1), "up", true)
			w.Take(asktest.Ms(2.1+x.ms), "up")
			w.Call(3+x.ms, 0, "up", 2, 9, 8080, "", answer[half:])
			w.Close(asktest.Ms(5+x.ms), "up")
		case x.ms == 0:
			w.Full(asktest.Ms(2), "up", false)
			w.Full(asktest.Ms(3000), "up", false)
			w.Reset(asktest.Ms(7002), "up")
		default:
			w.Full(asktest.Ms(2), "up", false)
			w.Acknowledge(asktest.Ms(2+x.ms), "up")
			w.Call(3+x.ms, 1, "up", 2, 9, 8080, request[half:], answer)
			w.Close(asktest.Ms(5+x.ms), "up")
		}
		c := w.Open(t)
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
		notes := strings.Join(f.Notes, "\n")
		for _, in := range []failures.In{{Service: "10.0.0.77"}, {Client: "10.0.0.77"}, {Scope: ask.Scope{KFL: "dns"}}} { // about calls that are not there
			if other := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, in)); other.Happened != nil || strings.Contains(strings.Join(other.Notes, "\n"), "stopped reading") {
				t.Errorf("%s, asked about others: %+v, %q", x.name, other.Happened, other.Notes)
			}
		}
		if (x.words == "") == strings.Contains(notes, "stopped reading") || !strings.Contains(notes, x.words) {
			t.Errorf("%s: want %q in %q", x.name, x.words, notes)
		}
		said := ""
		if f.Happened != nil {
			said = f.Happened.What
		}
		if strings.Contains(said, "stopped reading") != x.told {
			t.Errorf("%s: %q", x.name, said)
		}
		if all := fmt.Sprint(asktest.Put(t, c, "get_overview", "{}")["summary"]); strings.Contains(all, "stopped reading") != x.told {
			t.Errorf("%s: get_overview: %s", x.name, all)
		}
	}
}
