package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/console"
)

// laidOut returns an answer as it is printed at a given width.
func laidOut(t *testing.T, answer any, width string) string {
	t.Helper()
	t.Setenv("COLUMNS", width)
	var out bytes.Buffer
	e := &env{Streams: console.Streams{Out: &out}}
	if err := e.printAnswer(answer, false); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPageLaysOut(t *testing.T) {
	type row struct {
		CallID  string  `json:"call_id"`
		Time    string  `json:"time"`
		Src     string  `json:"src"`
		Dst     string  `json:"dst"`
		Status  string  `json:"status"`
		Elapsed float64 `json:"elapsed_ms"`
		Said    string  `json:"said"`
	}
	one := row{"8f2799dae648aaaaaaaaaaaaaaaaaaaa", "2026-11-20T09:24:49.084729454Z", "shop/frontend", "shop/payment", "503 Service Unavailable", 501.125, "no \x1b[2J room"}
	for _, tt := range []struct {
		name   string
		answer any
		width  string
		want   string
	}{
		{"sentences come first, numbers in one paragraph with their units", map[string]any{"summary": []string{"It failed at 2026-11-20T09:24:49.084729454Z."}, "calls": 3, "p99_ms": 1676.5, "sent_kb": 1.5, "error_rate": 0.25, "ok": true},
			"80", "It failed at 2026-11-20 09:24:49.084.\n\ncalls 3 · error rate 25 % · ok · p99 1.68 s · sent 1.5 kB\n"},
		{"rows that fit are a table, ids last and short, times to milliseconds, the day once", map[string]any{"calls": []row{one}, "coverage": map[string]any{"state": "complete"}},
			"120", "CALLS (1)\ntime          src            dst           status                   elapsed  response      call id\n" +
				"09:24:49.084  shop/frontend  shop/payment  503 Service Unavailable   501 ms  no .[2J room  8f2799dae648\n\nrecorded: complete; times are on 2026-11-20, UTC\n"},
		{"rows that do not fit are cards", map[string]any{"calls": []row{one}},
			"60", "CALLS (1)\n1  09:24:49.084  shop/frontend → shop/payment\n   503 Service Unavailable  501 ms\n   response: no .[2J room\n   call 8f2799dae648\n"},
		{"a time of which something was not read is not complete", map[string]any{"calls": 1, "coverage": map[string]any{"state": "complete", "unread": true}}, "80",
			"calls 1\n\nrecorded: partly read\n"},
		{"nor does nothing that matches in it mean nothing", map[string]any{"matched": "nothing_matched", "answer": "No matches. Not everything could be read.", "coverage": map[string]any{"state": "complete", "unread": true}}, "80",
			"No matches. Not everything could be read.\n\nrecorded: partly read\n"},
		{"the sentence of the answer is first, and nowhere else", map[string]any{"matched": "some", "answer": "One call failed.", "verdict": []string{"One call failed"}, "summary": []string{"One call failed.", "It was slow."}, "total": 1,
			"chains": []map[string]any{{"src": "a", "dst": "b", "what": "One call failed"}}}, "80", "One call failed.\n\nIt was slow.\n\ntotal 1\n\nCHAINS (1)\ndst  src\nb    a\n"},
		{"a sentence that is shortened for programs is whole", map[string]any{"answer": "It calls b, c… (14 bytes in all)", "what": "It calls b, c, d"}, "80", "It calls b, c, d.\n"},
		{"before what was searched", map[string]any{"matched": "some", "answer": "It broke. In all, 1 call failed.", "searched": "2 analyzers searched.", "happened": map[string]any{"what": "It broke."}}, "80",
			"It broke. In all, 1 call failed.\n\n2 analyzers searched.\n"},
		{"an empty list is shown as none", map[string]any{"calls": []row{}, "truncated": true}, "80", "calls none\n\nLists are shortened: narrow the question or raise --limit.\n"},
		{"a list with more rows says how to get them", map[string]any{"calls": []row{}, "truncated": true, "next_cursor": "abc"}, "80",
			"calls none\nFor the next rows ask the same question with\n--cursor abc\n\nLists are shortened: narrow the question or raise --limit.\n"},
		{"a text of several lines stays as it is", map[string]any{"yaml": "a:\n  b: 1\n"}, "80", "yaml:\na:\n  b: 1\n"},
		{"headers are names with values", map[string]any{"headers": []map[string]any{{"name": "Host", "value": "a b"}}}, "80", "headers: Host: a b\n"},
		{"two numbers of a comparison are before and after", map[string]any{"baseline": 1, "p50_ms": []float64{20, 40}}, "80", "baseline 1 · p50 20 ms → 40 ms\n"},
		{"each time has its day if days differ", map[string]any{"from": "2026-11-20T09:00:00Z", "to": "2026-11-21T09:00:00.5Z"}, "80", "from 2026-11-20 09:00:00 · to 2026-11-21 09:00:00.5\n"},
	} {
		if got := laidOut(t, tt.answer, tt.width); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestPageKeepsItsWidth(t *testing.T) {
	answer := map[string]any{"rows": []map[string]any{{"src": strings.Repeat("word ", 60), "said": strings.Repeat("x", 300), "deep": map[string]any{"list": []map[string]any{{"a": 1, "b": []map[string]any{{"c": strings.Repeat("long ", 50)}}}}}}}}
	for _, width := range []string{"40", "80", "0", "-3", "x"} {
		limit := map[string]int{"40": 40, "80": 80}[width]
		if limit == 0 {
			limit = 120
		}
		for line := range strings.Lines(laidOut(t, answer, width)) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > limit {
				t.Errorf("COLUMNS=%s: a line of %d columns: %s", width, n, line)
			}
		}
	}
}
