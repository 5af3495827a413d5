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

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// mostPages is how many pages an answer may have, and mostConditions how many KFL conditions of a
// list are counted.
const mostPages, mostConditions = 40, 4

// TestQuestionsAreEqualEverywhere asks every question as a function, a command, a tool and over
// plain HTTP, with pages of three sizes and in three time zones. Every number of an answer is the
// same everywhere, every row of its lists is there once, and each KFL condition of a row matches
// as many calls as the row counts. The list of questions and of what they take is their
// declaration.
func TestQuestionsAreEqualEverywhere(t *testing.T) {
	program := built(t)
	for _, name := range []string{"http1.pcapng", "dns.pcap", "postgresql.pcapng"} {
		t.Run(name, func(t *testing.T) {
			compareQuestions(t, program, madeOf(t, filepath.Join("..", "..", "samples", name), 0, 0))
		})
	}
	dir := captures(t)
	for i, line := range lines(t, filepath.Join(dir, "INDEX.tsv"))[1:] {
		name, _, _ := strings.Cut(line, "\t")
		if i%(4*equalCapture) != 0 {
			continue
		}
		if path := madeOf(t, filepath.Join(dir, name), 0, 0); path != "" {
			t.Run(name, func(t *testing.T) { compareQuestions(t, program, path) })
		}
	}
}

func compareQuestions(t *testing.T, program, path string) {
	f := facesOf(t, program, path)
	for _, q := range all.Questions() {
		t.Run(q.Name, func(t *testing.T) {
			f.t = t
			f.compareQuestion(q)
		})
	}
}

// compareQuestion asks one question everywhere.
func (f *faces) compareQuestion(q ask.Question) {
	args, whole := f.answerable(q)
	if whole == nil {
		return
	}
	longest := 1
	for _, list := range whole.lists {
		longest = max(longest, len(list))
	}
	_, limited := q.In.Properties["limit"]
	for i, size := range []int{longest/3 + 1, ask.DefaultRows, ask.MaxRows} {
		zone := zones[i]
		for way, asked := range map[string]func(map[string]any) ([]byte, error){
			"tool": func(args map[string]any) ([]byte, error) { return f.call(q.Name, with(args, "max_bytes", 1<<20)) },
			"REST": func(args map[string]any) ([]byte, error) { return f.post(q.Name, with(args, "max_bytes", 1<<20)) },
			"command in " + zone: func(args map[string]any) ([]byte, error) {
				return []byte(f.command(zone, []string{"ask", dashed(q.Name)}, append(flags(args), "--json")...)), nil
			},
		} {
			some := args
			if limited {
				some = with(args, "limit", size)
			}
			got, err := pages(some, asked)
			if err != nil {
				f.t.Errorf("%s, pages of %d: %v", way, size, err)
				continue
			}
			want := whole
			if q.Nearest {
				want = f.asked(q, some)
			}
			f.same(fmt.Sprintf("%s, pages of %d", way, size), got, want)
		}
	}
	f.conditions(whole)
}

// answerable asks a question as a function, with as few arguments as it has an answer to.
func (f *faces) answerable(q ask.Question) (map[string]any, *answered) {
	args := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(q.In.Properties)) {
		some := args
		if q.In.Properties["limit"] != nil {
			some = with(args, "limit", ask.MaxRows)
		}
		raw, _ := json.Marshal(some) // plain values always marshal
		_, err := q.Ask(context.Background(), f.c, raw)
		if err == nil {
			return args, f.asked(q, some)
		}
		var wrong *ask.InputError
		if !errors.As(err, &wrong) {
			f.t.Fatal(err)
		}
		for _, name := range []string{wrong.Field, name} {
			if v := f.example(name, q.In.Properties[name]); v != nil && args[name] == nil && strings.Contains(err.Error(), name) {
				args[name] = v
			}
		}
	}
	f.t.Errorf("no arguments are known with which %s has an answer", q.Name)
	return nil, nil
}

// asked is the answer of the function.
func (f *faces) asked(q ask.Question, args map[string]any) *answered {
	raw, _ := json.Marshal(args) // plain values always marshal
	v, err := q.Ask(context.Background(), f.c, raw)
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
	return out
}

// example is a value for what a question cannot do without.
func (f *faces) example(name string, s *jsonschema.Schema) any {
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
		return ask.Stamp(first)
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

// answered is an answer of all its pages: numbers and texts by path, and lists of rows.
type answered struct {
	facts map[string]string
	lists map[string][]string
	rows  map[string][]map[string]any
}

// add adds a page: its lists go on, all else stands in the first.
func (a *answered) add(raw []byte) error {
	var top map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&top); err != nil {
		return fmt.Errorf("%w: %.200s", err, raw)
	}
	if a.facts == nil {
		a.facts, a.lists, a.rows = map[string]string{}, map[string][]string{}, map[string][]map[string]any{}
	}
	for name, v := range top {
		switch name {
		case "trust", "truncated", "next_cursor", "notes", "verified":
			continue
		}
		text, _ := json.Marshal(v) // was JSON
		list, ok := v.([]any)
		if !ok {
			if a.facts[name] == "" {
				a.facts[name] = string(text)
			}
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

// pages asks for all pages.
func pages(args map[string]any, asked func(map[string]any) ([]byte, error)) (*answered, error) {
	out := &answered{}
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		if n == mostPages {
			return nil, fmt.Errorf("more than %d pages", mostPages)
		}
		some := args
		if cursor != "" {
			some = with(args, "cursor", cursor)
		}
		raw, err := asked(some)
		if err != nil {
			return nil, err
		}
		if err := out.add(raw); err != nil {
			return nil, err
		}
		var next struct {
			Cursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal(raw, &next); err != nil {
			return nil, err
		}
		cursor = next.Cursor
	}
	return out, nil
}

// same compares an answer with the one that the function gives.
func (f *faces) same(where string, got, want *answered) {
	f.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want.facts)) {
		if got.facts[name] != want.facts[name] {
			f.t.Errorf("%s: %s is %.300s, want %.300s", where, name, got.facts[name], want.facts[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.lists)) {
		if g, w := got.lists[name], want.lists[name]; !slices.Equal(g, w) {
			at := 0
			for at < min(len(g), len(w)) && g[at] == w[at] {
				at++
			}
			f.t.Errorf("%s: %s has %d rows, want %d; row %d differs: %.300s, want %.300s", where, name, len(g), len(w), at, append(g, "none")[at], append(w, "none")[at])
		}
	}
}

// conditions counts the calls of rows that have a KFL condition for them.
func (f *faces) conditions(a *answered) {
	for _, name := range slices.Sorted(maps.Keys(a.rows)) {
		n := 0
		for _, row := range a.rows[name] {
			kfl, ok := row["kfl"].(string)
			calls, counted := row["calls"].(json.Number)
			if !ok || !counted || kfl == "" || n == mostConditions {
				continue
			}
			n++
			if got := f.kfl(kfl); got != calls.String() {
				f.t.Errorf("%s has %s calls, but %s match %s", name, calls, got, kfl)
			}
		}
	}
}

func (f *faces) post(question string, args map[string]any) ([]byte, error) {
	body, _ := json.Marshal(args) // plain values always marshal
	r, err := http.Post(f.rest.URL+"/mcp/ask/"+question, "application/json", bytes.NewReader(body))
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

func with(args map[string]any, name string, v any) map[string]any {
	out := maps.Clone(args)
	out[name] = v
	return out
}

func flags(args map[string]any) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		out = append(out, "--"+dashed(name)+"="+fmt.Sprint(args[name]))
	}
	return out
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }
