package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// Check is the result of checking a file.
type Check struct {
	Title       string   `json:"title"`
	Kind        string   `json:"kind"`
	Statements  int      `json:"statements"` // that were computed again
	Tables      int      `json:"tables"`
	Figures     int      `json:"figures"`
	Citations   int      `json:"citations"`
	Differences []string `json:"differences"` // in words; empty: the file is intact
	Notes       []string `json:"notes,omitempty"`
}

// maxNamed is the highest number of differences that are named.
const maxNamed = 100

// Verify checks a report in a file against its bundles: it builds the report again with the options
// in the file, compares every value, and compares what a reader of the file sees with the values. o
// must have Questions and Analyzers, Checks for bundles that were verified for the report, and Mask if
// the report is masked. What a second tool stated is compared only if o has Recheck.
func Verify(ctx context.Context, form render.Form, file []byte, c *forensics.Case, o Options) (*Check, error) {
	r, err := form.Read(file)
	if err != nil {
		return nil, err
	}
	k := &Check{Title: r.Title, Kind: r.Kind, Differences: []string{}}
	if k.Differences, err = otherBundles(r, c); err != nil || len(k.Differences) > 0 {
		return k, err
	}
	k.origin(&r.Basis, o.Release)
	basis := r.Basis
	o.basis = &basis
	again, err := Build(ctx, c, o)
	if unknown(err) {
		return nil, err
	}
	if err != nil {
		k.Differences = append(k.Differences, "the report cannot be built with the options in the file: "+err.Error())
		return k, nil
	}
	if err := k.repeat(ctx, c, &o, again); err != nil {
		return nil, err
	}
	return k, k.compare(form, file, r, again)
}

// Repeat checks a report r in a file against the same report as it was made again, where Build cannot make it.
func Repeat(form render.Form, file []byte, r, again *value.Report) (*Check, error) {
	k := &Check{Title: r.Title, Kind: r.Kind, Differences: []string{}}
	return k, k.compare(form, file, r, again)
}

// unknown reports an error that says nothing about the report: this machine could not build it.
func unknown(err error) bool {
	kinds := []error{context.Canceled, context.DeadlineExceeded, forensics.ErrDeadline, forensics.ErrMemory, forensics.ErrCrashed, forensics.ErrDamaged}
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// origin records the statements of a report about its origin that the bundles cannot prove: the
// release that wrote it, and which template this was.
func (k *Check) origin(b *value.Basis, release string) {
	if b.Release != release {
		k.Notes = append(k.Notes, fmt.Sprintf("the report says that release %s of pcapsule wrote it; this is release %s", words(b.Release), words(release)))
	}
	text, err := templates.Builtin(b.Name)
	if own := (&templates.Template{Text: b.Template}); !own.Builtin() {
		k.Notes = append(k.Notes, fmt.Sprintf("the template %s is its author's own: words in quotation marks “…” and after “Author:” are the author's, and that they are unchanged does not make them true", words(b.Name)))
	}
	file := strings.HasSuffix(b.Name, ".yaml") || strings.HasSuffix(b.Name, ".yml")
	if err == nil && string(text) != b.Template || err != nil && !file {
		k.Notes = append(k.Notes, fmt.Sprintf("the template of the report is called %s, but this release has another one or none of this name", words(b.Name)))
	}
}

// repeat asks the second tool again, if the report has its observation.
func (k *Check) repeat(ctx context.Context, c *forensics.Case, o *Options, r *value.Report) error {
	was := r.Basis.Recheck
	switch {
	case was == nil && o.Recheck != nil:
		k.Notes = append(k.Notes, "the report has no facts that were repeated with a second tool")
	case was == nil:
	case o.Recheck == nil:
		k.Notes = append(k.Notes, fmt.Sprintf("what %s %s stated is an observation that the report records; it was not repeated", was.Tool, was.Version))
	default:
		var ids []string
		for _, r := range was.Calls {
			ids = append(ids, r.Call)
		}
		now, err := o.Recheck(ctx, c, ids, o.Mask != nil)
		if err != nil {
			return err
		}
		k.repeated(was, now)
	}
	return nil
}

// repeated names the calls about which the second tool states something else now.
func (k *Check) repeated(was, now *value.Recheck) {
	k.Notes = append(k.Notes, fmt.Sprintf("%s %s was asked again; the report records what %s %s stated", now.Tool, now.Version, was.Tool, was.Version))
	states := map[string]value.Rechecked{}
	for _, r := range now.Calls {
		states[r.Call] = r
	}
	for _, r := range was.Calls {
		if again := states[r.Call]; !reflect.DeepEqual(r, again) {
			k.Differences = append(k.Differences, fmt.Sprintf("recheck of call %s: the file says %s, %s now gives %s", r.Call, observed(r), now.Tool, observed(again)))
		}
	}
}

// observed writes a second tool's statement about a call.
func observed(r value.Rechecked) string {
	if r.Why != "" {
		return r.Why
	}
	var list []string
	for _, f := range r.Facts {
		text := f.Name + " " + f.State
		if f.Other != "" {
			text += " (" + f.Other + ")"
		}
		list = append(list, text)
	}
	return cmp.Or(strings.Join(list, ", "), "nothing")
}

// compare compares the value in a file with the one that the bundles give, and the file with its value.
func (k *Check) compare(form render.Form, file []byte, r, again *value.Report) error {
	k.count(again)
	values, err := differences(r, again)
	if err != nil {
		return err
	}
	seen, err := form.Differences(r, file)
	if err != nil {
		return err
	}
	k.Differences = append(k.Differences, append(values, seen...)...)
	if len(k.Differences) > maxNamed {
		k.Differences = append(k.Differences[:maxNamed:maxNamed], plural.Sprintf("and %d more {difference|differences}", len(k.Differences)-maxNamed))
	}
	return nil
}

// otherBundles names the bundles that are not those of the report.
func otherBundles(r *value.Report, c *forensics.Case) ([]string, error) {
	list := c.Bundles()
	if len(list) != len(r.Basis.Bundles) {
		return []string{plural.Sprintf("the report was made from %d {bundle|bundles}, and %d {was|were} given", len(r.Basis.Bundles), len(list))}, nil
	}
	out := []string{}
	for i, info := range list {
		s, err := sourceOf(info)
		if err != nil {
			return nil, err
		}
		if want := r.Basis.Bundles[i]; s.TagManifest != want.TagManifest {
			out = append(out, fmt.Sprintf("bundle %d: the report was made from %s with tagmanifest SHA-256 %s, the given bundle has %s", i+1, want.Name, want.TagManifest, s.TagManifest))
		}
	}
	return out, nil
}

func (k *Check) count(r *value.Report) {
	statements := slices.Clone(r.Statements)
	for _, s := range r.Sections {
		statements = append(statements, s.Statements...)
		for _, b := range s.Blocks {
			if b.Table != nil {
				k.Tables++
				for _, row := range b.Table.Rows {
					k.Citations += len(row.Cite)
				}
			} else {
				k.Figures++
			}
		}
	}
	k.Statements = len(statements)
	for _, s := range statements {
		k.Citations += len(s.Cite)
	}
}

// differences names the values that differ.
func differences(file, bundles *value.Report) ([]string, error) {
	w := &walker{out: []string{}}
	one, err := json.Marshal(file)
	two, err2 := json.Marshal(bundles)
	if bytes.Equal(one, two) { // trees of large reports take a lot of memory
		return w.out, errors.Join(err, err2)
	}
	var a, b any
	if err := errors.Join(err, err2, json.Unmarshal(one, &a), json.Unmarshal(two, &b)); err != nil {
		return nil, fmt.Errorf("comparing reports: %w", err)
	}
	w.walk(nil, nil, a, b)
	return w.out, nil
}

// walker compares two trees of JSON.
type walker struct{ out []string }

func (w *walker) say(path []string, format string, args ...any) {
	where := strings.Join(path, ", ")
	if where == "" {
		where = "the report"
	}
	w.out = append(w.out, where+": "+fmt.Sprintf(format, args...))
}

// walk compares values. columns are the names of the columns of the table that the values are in.
func (w *walker) walk(path, columns []string, a, b any) {
	x, isMap := a.(map[string]any)
	y, both := b.(map[string]any)
	if isMap && both {
		w.maps(path, columns, x, y)
		return
	}
	m, isList := a.([]any)
	n, both := b.([]any)
	if isList && both {
		w.lists(path, columns, m, n)
		return
	}
	if !reflect.DeepEqual(a, b) {
		p, q := apart(a, b)
		w.say(path, "the file says %s, the bundles say %s", p, q)
	}
}

func (w *walker) maps(path, columns []string, a, b map[string]any) {
	if list, ok := b["columns"].([]any); ok {
		columns = nil
		for _, c := range list {
			columns = append(columns, name(c))
		}
	}
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		_, left := a[k]
		_, right := b[k]
		at := append(path[:len(path):len(path)], strings.ReplaceAll(k, "_", " "))
		switch k {
		case "table", "figure", "blocks", "sections", "statements", "rows", "cells", "cite", "text":
			at = path // their elements are named
		}
		switch {
		case !left:
			w.say(at, "%s is missing in the file", words(b[k]))
		case !right:
			w.say(at, "the file has %s, which the bundles do not have", words(a[k]))
		default:
			w.walk(element(at, k, columns, b[k]), columns, a[k], b[k])
		}
	}
}

// element adds the name of a table or figure to a path.
func element(path []string, key string, _ []string, v any) []string {
	if m, ok := v.(map[string]any); ok && (key == "table" || key == "figure") {
		return append(path[:len(path):len(path)], key+" "+name(m))
	}
	return path
}

// lists compares lists. Equal elements at the end are skipped, so that one removed or added element
// is one difference.
func (w *walker) lists(path, columns []string, a, b []any) {
	first := 0
	for first < min(len(a), len(b)) && reflect.DeepEqual(a[first], b[first]) {
		first++
	}
	for len(a) > first && len(b) > first && reflect.DeepEqual(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	for i := first; i < max(len(a), len(b)); i++ {
		switch {
		case i >= len(a):
			w.say(path, "%s is missing in the file", words(b[i]))
		case i >= len(b):
			w.say(path, "the file has %s, which the bundles do not have", words(a[i]))
		default:
			w.walk(append(path[:len(path):len(path)], item(i, columns, b[i])), columns, a[i], b[i])
		}
	}
}

// item names an element of a list.
func item(i int, columns []string, v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprintf("number %d", i+1)
	}
	_, cells := m["cells"]
	_, blocks := m["blocks"]
	_, text := m["text"]
	_, head := m["id"]
	_, packets := m["packets"]
	_, table := m["table"]
	_, figure := m["figure"]
	_, command := m["command"]
	switch {
	case cells:
		return fmt.Sprintf("row %d", i+1)
	case command:
		return fmt.Sprintf("query Q%d", i+1)
	case text && head:
		return "statement " + name(m)
	case text && i < len(columns):
		return "column " + columns[i]
	case packets:
		return fmt.Sprintf("citation %d", i+1)
	case table || figure:
		return fmt.Sprintf("part %d", i+1)
	case blocks || name(m) != "":
		return cmp.Or(name(m), fmt.Sprintf("number %d", i+1))
	}
	return fmt.Sprintf("number %d", i+1)
}

// name is the name of an element: its title, id, name or label.
func name(v any) string {
	m, _ := v.(map[string]any)
	for _, k := range []string{"title", "id", "name", "label", "day"} {
		if s, ok := m[k].(string); ok && s != "" {
			return fmt.Sprintf("%q", s)
		}
	}
	return ""
}

// apart writes two different values for a message; of long texts, from shortly before the difference.
func apart(a, b any) (string, string) {
	p, isText := a.(string)
	q, both := b.(string)
	if !isText || !both {
		return words(a), words(b)
	}
	x, y := []rune(p), []rune(q)
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	if n = max(n-20, 0); n > 0 {
		return words("…" + string(x[n:])), words("…" + string(y[n:]))
	}
	return words(p), words(q)
}

// words writes a value for a message.
func words(v any) string {
	if m, ok := v.(map[string]any); ok && name(m) != "" {
		return name(m)
	}
	if text, ok := v.(string); ok {
		v = clipped(text)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if _, ok := v.(string); ok {
		return string(text)
	}
	return clipped(string(text))
}

// clipped shortens a text for a message.
func clipped(text string) string {
	if r := []rune(text); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return text
}
