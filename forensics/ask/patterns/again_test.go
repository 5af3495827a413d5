package patterns_test

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

// TestSameCallAgainInEveryAnswer has a request whose server calls another one several times. All answers agree on which calls are
// the same again, at once or as retries.
func TestSameCallAgainInEveryAnswer(t *testing.T) {
	type call struct {
		at, took   float64
		id, status string
	}
	for _, test := range []struct {
		name           string
		calls          []call
		inARow, atOnce int // of calls at once, and of these those that are retries
		retries        int
		problem        bool
	}{
		{"three equal calls within 100 ms", []call{{0, 5, "q", "200 OK"}, {30, 5, "q", "200 OK"}, {60, 5, "q", "200 OK"}}, 3, 0, 0, true},
		{"each after the previous one failed", []call{{0, 5, "q", "503 No"}, {30, 5, "q", "503 No"}, {60, 5, "q", "200 OK"}}, 3, 2, 2, false},
		{"one retry, one duplicate", []call{{0, 5, "q", "503 No"}, {30, 5, "q", "200 OK"}, {60, 5, "q", "200 OK"}}, 3, 1, 1, true},
		{"the second does not wait for the first to fail", []call{{0, 50, "q", "503 No"}, {20, 5, "q", "200 OK"}}, 2, 0, 0, true},
		{"a status that allows no retry", []call{{0, 5, "q", "404 No"}, {30, 5, "q", "404 No"}, {60, 5, "q", "404 No"}}, 3, 0, 0, true},
		{"a retry after a pause", []call{{0, 5, "q", "503 No"}, {1000, 5, "q", "200 OK"}}, 0, 0, 1, false},
		{"a retry while the first is still open", []call{{0, 900, "q", "504 No"}, {500, 5, "q", "200 OK"}}, 0, 0, 1, false},
		{"other ids", []call{{0, 5, "a", "503 No"}, {30, 5, "b", "200 OK"}, {60, 5, "c", "200 OK"}}, 0, 0, 0, false},
		{"equal calls a second apart", []call{{0, 5, "q", "200 OK"}, {1000, 5, "q", "200 OK"}}, 0, 0, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &asktest.Made{}
			w.HTTP(0, 2000, "outer", 1, 2, "GET /order", "", "", "200 OK", asktest.JSON, "{}")
			for i, c := range test.calls {
				w.HTTP(10+c.at, c.took, "inner"+string(rune('a'+i)), 2, 3, "POST /charge", "X-Request-Id: "+c.id+"\r\n", `{"sum":1}`, c.status, asktest.JSON, "{}")
			}
			c := w.Open(t)
			dup := look(t, c, patterns.In{}, "duplicates")
			if found := len(dup) == 1; found != (test.inARow > 0) || found && (number(dup[0], "most_at_once") != float64(test.inARow) || (test.atOnce > 0) != (number(dup[0], "after_a_failure") == float64(test.atOnce)) || dup[0].Problem != test.problem) {
				t.Errorf("duplicates: %+v", dup)
			}
			again := look(t, c, patterns.In{}, "retries")
			if found := len(again) == 1; found != (test.retries > 0) || found && number(again[0], "retries") != float64(test.retries) {
				t.Errorf("retries: %+v", again)
			}
			s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "10.0.0.3"}))
			if found := len(s.Repeats) == 1; found != (test.inARow > 0) || found && (s.Repeats[0].InARow != int64(test.inARow) || s.Repeats[0].Retries != int64(test.atOnce)) {
				t.Errorf("describe_service: %+v", s.Repeats)
			}
			tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: `path == "/order"`}}))
			notes := map[bool]int{}
			for _, x := range tr.Chains[0].Steps {
				if strings.HasPrefix(x.Note, "the same call as step") {
					notes[strings.HasSuffix(x.Note, "a retry")]++
				}
			}
			if want := max(0, test.inARow-1-test.atOnce); len(tr.Chains[0].Steps) != 1+len(test.calls) || notes[true] != test.retries || notes[false] != want {
				t.Errorf("trace_request: %v, %+v", notes, tr.Chains[0].Steps)
			}
		})
	}
}
