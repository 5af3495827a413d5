package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// everyCapture is the sampling rate of captures: all of them take an hour. PCAPSULE_EVERY=1 tests all.
const everyCapture = 160

// mostBytes is the largest answer to a question without limits, except for generated documents.
const mostBytes = 80_000

// TestAnswersHoldOnAnyCapture runs every question on public captures that were not made for them.
// Each answer matches its schema, is reproducible, cites existing calls, and has counts that match the
// KFL filter next to them.
func TestAnswersHoldOnAnyCapture(t *testing.T) {
	dir := captures.Dir(t)
	every := everyCapture
	if n, err := strconv.Atoi(os.Getenv("PCAPSULE_EVERY")); err == nil && n > 0 {
		every = n
	}
	only := os.Getenv("PCAPSULE_ONLY")
	asked, counted, cited := 0, 0, 0
	for i, line := range lines(t, filepath.Join(dir, "INDEX.tsv"))[1:] {
		name, _, _ := strings.Cut(line, "\t")
		if only == "" && i%every != 0 || only != "" && !strings.Contains(name, only) {
			continue
		}
		c := caseOf(t, filepath.Join(dir, name))
		if c == nil {
			continue
		}
		a := &answers{t: t, c: c, name: name, known: map[string]bool{}}
		a.look()
		for _, q := range all.Questions() {
			for _, in := range a.inputs(q.Name) {
				a.check(q, in)
			}
		}
		asked, counted, cited = asked+a.asked, counted+a.counted, cited+len(a.known)
		c.Close()
	}
	if asked == 0 || only == "" && (counted == 0 || cited == 0) {
		t.Fatalf("%d questions asked, %d counts and %d calls compared: nothing was tested", asked, counted, cited)
	}
	t.Logf("%d questions asked, %d counts and %d calls compared", asked, counted, cited)
}

// caseOf opens a capture as the server does; nil if the file is not a capture.
func caseOf(t *testing.T, capture string) *forensics.Case {
	path := filepath.Join(t.TempDir(), "a.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{capture}, path, exporter.Options{Release: "acceptance", Jobs: 1}); err != nil {
		return nil // TestTruth checks which captures must be readable
	}
	c, err := forensics.Open(context.Background(), []string{path}, forensics.Options{MaskSecrets: true})
	if err != nil {
		t.Errorf("%s: %v", capture, err)
		return nil
	}
	finding.Bind(c, all.Analyzers())
	return c
}

// answers tests the answers for one capture.
type answers struct {
	t              *testing.T
	c              *forensics.Case
	name           string
	known          map[string]bool // call_ids that were looked up
	asked, counted int

	server, client, call, text string // examples from the capture; empty if there are none
}

// one returns the first value of a query, or "".
func (a *answers) one(sql string) string {
	r, err := a.c.Query(context.Background(), forensics.Query{SQL: sql})
	if err != nil {
		a.t.Errorf("%s: %s: %v", a.name, sql, err)
		return ""
	}
	if len(r.Rows) == 0 || r.Rows[0][0] == nil {
		return ""
	}
	return fmt.Sprint(r.Rows[0][0])
}

// look finds examples in the capture.
func (a *answers) look() {
	a.server = a.one(`SELECT coalesce(dst_service, dst_workload, dst_hostname, dst_ip) FROM calls GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1`)
	a.client = a.one(`SELECT coalesce(src_service, src_workload, src_hostname, src_ip) FROM calls GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1`)
	a.call = a.one(`SELECT lower(hex(call_id)) FROM calls ORDER BY failed DESC, ts_ns, call_no LIMIT 1`)
	a.text = a.one(`SELECT regexp_extract(coalesce(path, postgresql_query, redis_command, dns_questions[1]), '[A-Za-z0-9_]{4,}') AS w FROM calls WHERE w <> '' ORDER BY ts_ns, call_no LIMIT 1`)
}

// inputs returns the inputs for a question: an empty one, and ones with examples from the capture.
func (a *answers) inputs(question string) []string {
	in := func(pairs ...string) string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				return ""
			}
			m[pairs[i]] = pairs[i+1]
		}
		b, _ := json.Marshal(m) // of strings
		return string(b)
	}
	var list []string
	switch question {
	case "get_dependencies", "describe_service", "generate_openapi":
		list = []string{in("service", a.server)}
	case "controls":
		list = []string{`{}`, `{"frameworks":["pci"],"attest":true}`}
	case "audit_access":
		list = []string{in("service", a.server), `{"external":true}`}
	case "get_pair":
		list = []string{in("src", a.client, "dst", a.server)}
	case "get_timeline":
		list = []string{in("workload", a.server)}
	case "trace_request":
		list = []string{in("call_id", a.call), in("text", a.text)}
	case "search_content":
		list = []string{in("text", a.text), in("pattern", "[0-9]{3}")}
	case "check_expectations":
		list = []string{`{"rules":"version: 1\nrules:\n- name: fast\n  calls: http\n  latency: {p99: 2s}\n- name: no errors\n  calls: \"true\"\n  never: failed\n"}`}
	case "compare_periods":
		list = []string{`{}`}
	default:
		list = []string{`{}`, in("service", a.server)}
	}
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// check runs a question twice and checks the answer.
func (a *answers) check(q ask.Question, in string) {
	a.asked++
	say := func(format string, args ...any) {
		a.t.Errorf("%s: %s%s: %s", a.name, q.Name, in, fmt.Sprintf(format, args...))
	}
	var text [2][]byte
	for i := range text {
		answer, err := q.Ask(context.Background(), a.c, json.RawMessage(in))
		if bad := (*ask.InputError)(nil); errors.As(err, &bad) {
			return // the capture has no data for this question
		}
		if err != nil {
			say("%v", err)
			return
		}
		if text[i], err = json.Marshal(answer); err != nil {
			say("%v", err)
			return
		}
	}
	if string(text[0]) != string(text[1]) {
		say("the second answer differs:\n%s\n%s", text[0], text[1])
	}
	if len(text[0]) > mostBytes && !strings.HasPrefix(q.Name, "generate_") {
		say("%d bytes", len(text[0]))
	}
	var value any
	if err := json.Unmarshal(text[0], &value); err != nil {
		say("%v", err)
		return
	}
	schema, err := q.Out().Resolve(&jsonschema.ResolveOptions{})
	if err != nil {
		say("schema: %v", err)
		return
	}
	if err := schema.Validate(value); err != nil {
		say("does not match its schema: %v", err)
	}
	a.walk(value, say)
}

// walk checks every object of an answer.
func (a *answers) walk(v any, say func(string, ...any)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			a.walk(x, say)
		}
	case map[string]any:
		a.object(v, say)
		for _, x := range v {
			a.walk(x, say)
		}
	}
}

func (a *answers) object(o map[string]any, say func(string, ...any)) {
	ids, _ := o["call_ids"].([]any)
	for _, id := range append(ids, o["call_id"]) {
		if s, ok := id.(string); ok && s != "" && !a.known[s] {
			a.known[s] = true
			if _, err := a.c.Call(context.Background(), s, forensics.CallOptions{}); err != nil {
				say("cites call %s: %v", s, err)
			}
		}
	}
	condition, _ := o["kfl"].(string)
	calls, ok := o["calls"].(float64)
	if condition == "" || !ok || calls == 0 {
		return
	}
	a.counted++
	r, err := a.c.Query(context.Background(), forensics.Query{KFL: condition, Count: true})
	if err != nil {
		say("kfl %s: %v", condition, err)
		return
	}
	if n, _ := r.Rows[0][0].(int64); float64(n) != calls {
		say("%.0f calls, but %d by kfl %s", calls, n, condition)
	}
}
