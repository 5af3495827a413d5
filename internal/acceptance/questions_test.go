package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// mostPages is the highest number of pages of an answer, and mostConditions that of KFL filters per
// list that are counted.
const mostPages, mostConditions = 2000, 4

// way is one way to run a question in a time zone with a page size; 0 is the default size. Pages are
// larger where a list would have more than fewPages, because each page asks the question again.
type way struct {
	name  string
	zone  string
	limit int
	ask   func(q ask.Question, args map[string]any) ([]byte, error)
}

// ways1, ways2 and ways3 are the ways of the samples. Each sample has all three zones and three page
// sizes; a command has its default, because each of its pages opens the bundle.
func ways1(f *faces) []way {
	return []way{{"page", zones[0], 100, f.page}, {"command", zones[1], 0, f.cli}, {"tool", zones[2], 7, f.ofTool}}
}

func ways2(f *faces) []way {
	return []way{{"command", zones[2], 0, f.cli}, {"tool", zones[0], 7, f.ofTool}, {"REST", zones[1], 100, f.post}}
}

func ways3(f *faces) []way {
	return []way{{"REST", zones[2], 7, f.post}, {"page", zones[1], 100, f.page}, {"command", zones[0], 0, f.cli}}
}

// in runs a question with the program's local time in a zone.
func (w *way) in(f *faces, q ask.Question, args map[string]any) ([]byte, error) {
	zone, err := time.LoadLocation(w.zone)
	if err != nil {
		f.t.Fatal(err)
	}
	before := time.Local
	time.Local = zone
	defer func() { time.Local = before }()
	return w.ask(q, args)
}

// TestQuestionsAreEqualEverywhere runs every question as a function, a command, a tool and over HTTP,
// in three time zones, with several page sizes, about one bundle and about two that overlap. Every
// number of an answer is the same everywhere, every row of its lists occurs exactly once, and each
// KFL filter of a row matches as many calls as the row counts. Masking changes no number. The
// questions and their inputs come from their declarations.
//
// LIMIT: nested lists of get_capacity and trace_request are compared only as part of their rows.
func TestQuestionsAreEqualEverywhere(t *testing.T) {
	type row struct {
		sample  string
		pair    bool // two bundles that overlap
		secrets bool // also test masking and every boolean input
		ways    func(f *faces) []way
	}
	rows := []row{{"http1.pcapng", false, true, ways1}, {"postgresql.pcapng", true, false, ways3}}
	if thorough() {
		rows = append(rows, row{"dns.pcap", true, false, ways2})
	}
	if nightly.On() { // takes ten minutes more
		rows = append(rows, row{"http1.pcapng", true, false, ways2}, row{"postgresql.pcapng", false, false, ways2}, row{"dns.pcap", false, false, ways3})
	}
	for _, tt := range rows {
		name := tt.sample
		if tt.pair {
			name += " in two that overlap"
		}
		t.Run(name, func(t *testing.T) {
			capture := filepath.Join("..", "..", "samples", tt.sample)
			paths := []string{madeOf(t, capture, 0, 0)}
			if tt.pair {
				from, to := windowOf(t, paths[0])
				paths = []string{madeOf(t, capture, 0, from+(to-from)*2/3), madeOf(t, capture, from+(to-from)/3, 0)}
			}
			f := facesOf(t, paths...)
			var masked *forensics.Case
			if tt.secrets {
				var err error
				if masked, err = forensics.Open(context.Background(), f.paths, forensics.Options{Threads: 2, MaskSecrets: true}); err != nil {
					t.Fatal(err)
				}
				defer masked.Close()
				finding.Bind(masked, all.Analyzers())
			}
			for _, q := range all.Questions() {
				t.Run(q.Name, func(t *testing.T) {
					f.t = t
					f.compareQuestion(q, masked, tt.ways(f))
				})
			}
		})
	}
}

// compareQuestion runs one question in all ways: with as few arguments as possible, and, if masked is
// not nil, with every boolean input set.
func (f *faces) compareQuestion(q ask.Question, masked *forensics.Case, ways []way) {
	few := f.answerable(q)
	if few == nil {
		return
	}
	turned := maps.Clone(few)
	for name, s := range q.In.Properties {
		if s.Type == "boolean" {
			turned[name] = true
		}
	}
	asked := []map[string]any{few}
	if len(turned) > len(few) && masked != nil {
		asked = append(asked, turned)
	}
	for i, args := range asked {
		whole := f.whole(q, f.c, args)
		for _, w := range ways {
			some := args
			if w.limit > 0 && q.In.Properties["limit"] != nil {
				some = with(args, "limit", max(w.limit, whole.longest()/fewPages+1))
			}
			got, err := pages(some, func(args map[string]any) ([]byte, error) { return w.in(f, q, args) })
			if err != nil {
				f.t.Errorf("%s in %s, pages of %v: %v", w.name, w.zone, some["limit"], err)
				continue
			}
			f.same(fmt.Sprintf("%s %v in %s, pages of %v", w.name, args, w.zone, some["limit"]), got, whole)
		}
		f.conditions(whole)
		if masked == nil || i > 0 {
			continue
		}
		if a, b := whole.numbers(), f.whole(q, masked, args).numbers(); a != b {
			f.t.Errorf("%v: with masking, it lacks the numbers\n%s\nand has\n%s", args, less(a, b), less(b, a))
		}
	}
}

// answerable finds arguments that a question accepts.
func (f *faces) answerable(q ask.Question) map[string]any {
	args := map[string]any{}
	for range q.In.Properties {
		raw, _ := json.Marshal(args) // plain values always marshal
		_, err := q.Ask(context.Background(), f.c, raw)
		if err == nil {
			return args
		}
		var wrong *ask.InputError
		if !errors.As(err, &wrong) {
			f.t.Fatal(err)
		}
		before := len(args)
		for _, name := range append([]string{wrong.Field}, slices.Sorted(maps.Keys(q.In.Properties))...) {
			if v := f.example(name, q.In.Properties[name]); v != nil && args[name] == nil && strings.Contains(err.Error(), name) {
				args[name] = v
				break
			}
		}
		if len(args) == before {
			break
		}
	}
	f.t.Errorf("no arguments are known with which %s has an answer: not %v", q.Name, args)
	return nil
}

// whole returns the answer of the function with all rows.
func (f *faces) whole(q ask.Question, c *forensics.Case, args map[string]any) *answered {
	f.t.Helper()
	if q.In.Properties["limit"] != nil {
		args = with(args, "limit", ask.MaxRows)
	}
	raw, _ := json.Marshal(args) // plain values always marshal
	v, err := q.AskAll(context.Background(), c, raw)
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	out := &answered{}
	if err := out.add(text); err != nil {
		f.t.Fatal(err)
	}
	if out.truncated && !q.Nested {
		f.t.Logf("%v: asked for all rows, it has not all: %v", args, out.notes)
	}
	return out
}

// example returns a value for a required argument.
func (f *faces) example(name string, _ *jsonschema.Schema) any {
	switch name {
	case "service", "dst", "b", "workload", "pod", "to_service":
		return f.first("SELECT dst_name FROM calls GROUP BY 1 ORDER BY count(*) DESC, 1")
	case "src", "a", "client":
		return f.first("SELECT src_name FROM calls GROUP BY 1 ORDER BY count(*) DESC, 1")
	case "text":
		return "example"
	case "kfl":
		return "true"
	case "rules":
		return "version: 1\nrules: [{name: x, calls: http, count: {min: 1}}]"
	case "baseline_from", "from":
		first, _, _ := f.c.Window()
		return when.Stamp(first)
	case "id", "call_id":
		return f.first("SELECT lower(hex(call_id)) FROM calls ORDER BY ts_ns, call_no")
	}
	return nil
}

func (f *faces) first(sql string) any {
	if list := f.ids(sql + " LIMIT 1"); len(list) > 0 {
		return list[0]
	}
	return "nobody"
}

// answered is an answer joined from all pages: scalars by name, and lists of rows.
type answered struct {
	facts     map[string]string
	lists     map[string][]string
	rows      map[string][]map[string]any
	truncated bool
	notes     any
	next      string
}

// add adds a page: it appends lists; the first page has everything else.
func (a *answered) add(raw []byte) error {
	var top map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&top); err != nil {
		return fmt.Errorf("%w: %.200s", err, raw)
	}
	first := a.facts == nil
	if first {
		a.facts, a.lists, a.rows = map[string]string{}, map[string][]string{}, map[string][]map[string]any{}
	}
	a.truncated, _ = top["truncated"].(bool)
	a.next, _ = top["next_cursor"].(string)
	for name, v := range top {
		text, _ := json.Marshal(v) // was JSON
		list, ok := v.([]any)
		switch {
		case name == "trust" || name == "truncated" || name == "next_cursor" || name == "verified":
		case name == "notes":
			a.notes = v
		case !ok && first:
			a.facts[name] = string(text)
		case !ok && a.facts[name] != string(text) && !strings.Contains(string(text), "bytes in all"):
			return fmt.Errorf("%s is %s on a later page, but %s on the first", name, text, a.facts[name])
		}
		if name == "notes" {
			continue
		}
		for _, x := range list {
			text, _ := json.Marshal(x)
			a.lists[name] = append(a.lists[name], string(text))
			if row, ok := x.(map[string]any); ok {
				a.rows[name] = append(a.rows[name], row)
			}
		}
	}
	return nil
}

// longest is the number of rows in the longest list.
func (a *answered) longest() int {
	most := 0
	for _, list := range a.lists {
		most = max(most, len(list))
	}
	return most
}

// numbers returns all numbers of an answer, except those in texts, sorted.
func (a *answered) numbers() string {
	var out []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				walk(path+"."+name, x)
			}
		case []any:
			for _, x := range v {
				walk(path+"[]", x)
			}
		case json.Number, bool, nil:
			out = append(out, fmt.Sprintf("%s=%v", path, v))
		}
	}
	for name, text := range a.facts {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		_ = d.Decode(&v) // was JSON
		walk(name, v)
	}
	for name, list := range a.rows {
		for _, row := range list {
			walk(name+"[]", row)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// less returns the lines of a that b lacks.
func less(a, b string) string {
	have := map[string]int{}
	for line := range strings.SplitSeq(b, "\n") {
		have[line]++
	}
	var out []string
	for line := range strings.SplitSeq(a, "\n") {
		if have[line]--; have[line] < 0 {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// pages reads all pages.
func pages(args map[string]any, asked func(map[string]any) ([]byte, error)) (*answered, error) {
	out := &answered{}
	for n := 0; n == 0 || out.next != ""; n++ {
		if n == mostPages {
			return nil, fmt.Errorf("more than %d pages", mostPages)
		}
		some := args
		if out.next != "" {
			some = with(args, "cursor", out.next)
		}
		raw, err := asked(some)
		if err != nil {
			return nil, err
		}
		if err := out.add(raw); err != nil {
			return nil, fmt.Errorf("page %d: %w", n+1, err)
		}
	}
	return out, nil
}

// same compares an answer with that of the function. The order of rows may differ, because some pages
// are sorted by time.
func (f *faces) same(where string, got, want *answered) {
	f.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want.facts)) {
		if got.facts[name] != want.facts[name] && !strings.Contains(got.facts[name], "bytes in all") { // a shortened document
			f.t.Errorf("%s: %s is %.300s, want %.300s", where, name, got.facts[name], want.facts[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.lists)) {
		g, w := sorted(got.lists[name]), sorted(want.lists[name])
		if slices.Equal(g, w) {
			continue
		}
		at := 0
		for at < min(len(g), len(w)) && g[at] == w[at] {
			at++
		}
		f.t.Errorf("%s: %s has %d rows, want %d; one that differs: %.300s, want %.300s", where, name, len(g), len(w), append(g, "none")[at], append(w, "none")[at])
	}
}

// conditions compares the counts of rows with their KFL filters.
func (f *faces) conditions(a *answered) {
	f.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(a.rows)) {
		n := 0
		for _, row := range a.rows[name] {
			kfl, ok := row["kfl"].(string)
			calls, counted := row["calls"].(json.Number)
			if !ok || !counted || kfl == "" || calls == "0" || n == mostConditions {
				continue
			}
			n++ // a row without requests has a filter for the connections' own rows
			if got := f.kfl(kfl); got != calls.String() {
				f.t.Errorf("%s has %s calls, but %s match %s", name, calls, got, kfl)
			}
		}
	}
}

func (f *faces) page(q ask.Question, args map[string]any) ([]byte, error) {
	raw, _ := json.Marshal(args) // plain values always marshal
	v, err := tools.Page(context.Background(), f.c, q, raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func (f *faces) ofTool(q ask.Question, args map[string]any) ([]byte, error) {
	return f.call(q.Name, with(args, "max_bytes", 1<<20))
}

func (f *faces) post(q ask.Question, args map[string]any) ([]byte, error) {
	body, _ := json.Marshal(with(args, "max_bytes", 1<<20)) // plain values always marshal
	r, err := http.Post(f.rest.URL+"/mcp/ask/"+q.Name, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", r.Status, raw)
	}
	return raw, err
}

func (f *faces) cli(q ask.Question, args map[string]any) ([]byte, error) {
	var out, errOut bytes.Buffer
	line := append([]string{"ask", dashed(q.Name)}, f.paths...)
	for _, name := range slices.Sorted(maps.Keys(args)) {
		line = append(line, "--"+dashed(name)+"="+fmt.Sprint(args[name]))
	}
	if code := cli.Main(append(line, "--json"), strings.NewReader(""), &out, &errOut); code != 0 {
		return nil, fmt.Errorf("%v: exit code %d: %s", line, code, errOut.Bytes())
	}
	return out.Bytes(), nil
}

func with(args map[string]any, name string, v any) map[string]any {
	out := maps.Clone(args)
	out[name] = v
	return out
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }
