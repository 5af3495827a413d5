package section

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/report/value"
)

// tallied reads one of the tables of package tally.
func tallied[T any](b *builder, of func(context.Context, *forensics.Case, *ask.Window) (tally.Table[T], error)) (t tally.Table[T]) {
	if b.err == nil {
		t, b.err = of(b.ctx, b.c, b.w)
	}
	return t
}

// number adds a query to the appendix and returns its number.
func (b *builder) number(q value.Query) []int {
	n, ok := b.numbers[q]
	if !ok {
		b.r.Queries = append(b.r.Queries, q)
		n = len(b.r.Queries)
		b.numbers[q] = n
	}
	return []int{n}
}

// query is SQL that a reader can run.
func (b *builder) query(sql string) []int {
	return b.number(value.Query{SQL: sql, Command: "pcapsule sql " + b.paths + " " + value.ShellQuote(sql)})
}

// ask asks a question in the window and with the filter of the report, reads its answer into dst, and
// returns the number of the query. in may have its own window, filter and limit.
func (b *builder) ask(name string, in map[string]any, dst any) []int {
	answer, query := b.answer(name, in)
	if b.err == nil {
		b.err = read(answer, dst)
	}
	return query
}

// read reads an answer into a value with fewer fields.
func read(answer, dst any) error {
	text, err := json.Marshal(answer)
	if err == nil {
		err = json.Unmarshal(text, dst)
	}
	return err
}

// asked is a question that was answered.
type asked struct {
	name   string
	in     map[string]any
	answer any
}

// answer asks a question. Sections that show different lists of one answer ask only once.
func (b *builder) answer(name string, in map[string]any) (any, []int) {
	all, raw := b.input(name, in)
	if b.err != nil {
		return nil, nil
	}
	key := name + string(raw)
	a, ok := b.answers[key]
	if !ok {
		a = &asked{name, all, b.run(name, raw)}
		if b.err != nil {
			return nil, nil
		}
		b.answers[key] = a
	}
	return a.answer, b.numberOf(name, all)
}

// numberOf is the number of a question in the appendix.
func (b *builder) numberOf(name string, in map[string]any) []int {
	return b.number(value.Query{Command: "pcapsule ask " + dashed(name) + " " + b.paths + flagsOf(in)})
}

// list asks a question of which a section needs only one list.
func (b *builder) list(name, list string, in map[string]any) (map[string]any, []int) {
	if all, _ := b.input(name, in); name == "find_failures" {
		if tree := b.shown(list, all); tree != nil {
			return tree, b.numberOf(name, all)
		}
	}
	answer, query := b.answer(name, in)
	return b.tree(answer), query
}

// shown returns a list of find_failures from an answer that other sections show, or nil. That has more rows of each
// list, and perhaps causes, which take long.
func (b *builder) shown(list string, in map[string]any) map[string]any {
	limit, ok := limitOf(in)
	for _, key := range slices.Sorted(maps.Keys(b.answers)) {
		a := b.answers[key]
		if most, known := limitOf(a.in); !ok || !known || most <= limit || a.name != "find_failures" || list == "causes" || !sameBut(a.in, in, "limit", "no_causes") {
			continue
		}
		tree := b.tree(a.answer)
		rows, _ := tree[list].([]any)
		if len(rows) == limit { // unknown whether any list was cut at this limit
			continue
		}
		return map[string]any{list: rows[:min(limit, len(rows))], "truncated": len(rows) > limit}
	}
	return nil
}

// limitOf is the limit of an input, if it is a number of rows.
func limitOf(in map[string]any) (int, bool) {
	if in["limit"] == nil {
		return ask.DefaultRows, true
	}
	n, ok := in["limit"].(int)
	return n, ok
}

// sameBut reports whether two inputs are equal except for some keys.
func sameBut(a, b map[string]any, except ...string) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	for _, k := range except {
		delete(a, k)
		delete(b, k)
	}
	return reflect.DeepEqual(a, b)
}

// page asks for a page of an answer, which the appendix lists only once.
func (b *builder) page(name string, in map[string]any) any {
	_, raw := b.input(name, in)
	return b.run(name, raw)
}

// input is the input of a question in the window and with the filter of the report.
func (b *builder) input(name string, in map[string]any) (map[string]any, []byte) {
	all := map[string]any{}
	for _, f := range [][2]string{{"from", b.in.Basis.From}, {"to", b.in.Basis.To}, {"kfl", b.in.Basis.KFL}} {
		if f[1] != "" {
			all[f[0]] = f[1]
		}
	}
	b.lists(name, all)
	for k, v := range in {
		all[k] = v
	}
	raw, err := json.Marshal(all)
	if b.err == nil {
		b.err = err
	}
	return all, raw
}

// run asks a question.
func (b *builder) run(name string, raw []byte) any {
	if b.err != nil {
		return nil
	}
	i := slices.IndexFunc(b.in.Questions, func(q ask.Question) bool { return q.Name == name })
	if i < 0 {
		b.err = fmt.Errorf("no question %s", name)
		return nil
	}
	q := b.in.Questions[i]
	run := q.Ask
	if name == "list_findings" { // reports compare complete lists
		run = q.AskAll
	}
	answer, err := run(b.ctx, b.c, raw)
	if err != nil {
		b.err = fmt.Errorf("asking %s: %w", name, err)
	}
	return answer
}

// lists adds the lists that the author gave to the input of the questions that take them.
func (b *builder) lists(name string, in map[string]any) {
	basis := b.in.Basis
	if name != "list_findings" && name != "controls" {
		return
	}
	if basis.Accept != "" {
		in["accept"] = basis.Accept
	}
	if len(basis.Allow) > 0 {
		in["allow"] = basis.Allow
	}
	if basis.Attest && name == "controls" {
		in["attest"] = true
	}
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }

// flagsOf writes the input of a question as flags.
func flagsOf(in map[string]any) string {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if k == "accept" { // a text of many lines
			out.WriteString(` --accept "$(cat accept.yaml)"`)
			continue
		}
		switch v := in[k].(type) {
		case bool:
			if v {
				fmt.Fprintf(&out, " --%s", dashed(k))
			} else {
				fmt.Fprintf(&out, " --%s=false", dashed(k))
			}
		case []string:
			for _, s := range v {
				fmt.Fprintf(&out, " --%s %s", dashed(k), value.ShellQuote(s))
			}
		case []any:
			for _, s := range v {
				fmt.Fprintf(&out, " --%s %s", dashed(k), value.ShellQuote(fmt.Sprint(s)))
			}
		default:
			fmt.Fprintf(&out, " --%s %s", dashed(k), value.ShellQuote(fmt.Sprint(v)))
		}
	}
	return out.String()
}
