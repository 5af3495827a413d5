package section

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// fieldsOf lists the inputs of a question, and the lists of its answer with the fields of their rows.
// A list inside an object is named with a dot.
func fieldsOf(q ask.Question) templates.Question {
	out := templates.Question{In: slices.Sorted(maps.Keys(q.In.Properties)), Keyed: q.Keyed, Lists: map[string][]string{}}
	var walk func(prefix string, s *jsonschema.Schema)
	walk = func(prefix string, s *jsonschema.Schema) {
		for name, p := range s.Properties {
			switch {
			case p.Items != nil && len(p.Items.Properties) > 0:
				out.Lists[prefix+name] = slices.Sorted(maps.Keys(p.Items.Properties))
			case len(p.Properties) > 0 && prefix == "":
				walk(name+".", p)
			}
		}
	}
	walk("", q.Out())
	return out
}

// question shows a list of the answer to any question.
func (b *builder) question(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: strings.ReplaceAll(p.Ask, "_", " "), Text: p.Text}
	if b.calls == 0 && !b.any {
		return s, cmp.Or(p.Title, p.Ask)
	}
	in := map[string]any{}
	for k, v := range p.In {
		in[k] = v
	}
	if p.KFL != "" {
		in["kfl"] = p.KFL
		if b.in.Basis.KFL != "" {
			in["kfl"] = "(" + b.in.Basis.KFL + ") && (" + p.KFL + ")"
		}
	}
	if p.Limit > 0 {
		in["limit"] = p.Limit
	}
	if p.Every {
		in["limit"] = ask.MaxRows
	}
	tree, query := b.list(p.Ask, p.List, in)
	list, _ := at(tree, p.List).([]any)
	for page := tree; p.Every && b.err == nil && page["next_cursor"] != nil; {
		if len(list) >= maxEvery {
			b.err = fmt.Errorf("section %s: the list has more than %s rows: %s", p.ID, plural.Thousands(maxEvery), parts(list))
			return s, ""
		}
		in["cursor"] = page["next_cursor"]
		page = b.tree(b.page(p.Ask, in))
		more, _ := at(page, p.List).([]any)
		list = append(list, more...)
	}
	if b.err != nil {
		return s, ""
	}
	t := &value.Table{ID: p.ID + "-table", Title: titleOf(p.List), Queries: query}
	for _, c := range p.Columns {
		field, title, named := strings.Cut(c, " as ")
		if !named {
			title = titleOf(field)
		}
		t.Columns = append(t.Columns, columnOf(field, title))
	}
	for _, row := range list {
		if fields, ok := row.(map[string]any); ok {
			b.row(t, p, fields)
		}
	}
	settle(t, p.Columns)
	if i := slices.IndexFunc(p.Columns, func(c string) bool { return c == p.Bars || strings.HasPrefix(c, p.Bars+" as ") }); i >= 0 && p.Bars != "" {
		t.Shares(i)
	}
	if p.Every {
		t.Note = "The list is complete: it has " + plural.Count(int64(len(t.Rows)), "row", "rows") + "."
	} else if cut, _ := tree["truncated"].(bool); cut && len(t.Rows) >= or0(p.Limit, ask.DefaultRows) {
		t.Note = "The list was cut at its limit: run the query to see all of it."
	}
	if p.Every && b.any && !b.unmatchedFilter() {
		b.listed(p, t)
	}
	if len(t.Rows) == 0 {
		s.Statements = []value.Statement{{ID: p.ID + "-none", Text: b.absent(cmp.Or(p.Empty, "row of this kind")), Queries: query}}
		return s, ""
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	return s, ""
}

// parts says how to make a report of each part of a list that is too long. A list by time is divided
// between two moments, so that each row is in one part.
func parts(list []any) string {
	moment := func(i int) string {
		row, _ := list[i].(map[string]any)
		at, _ := row["time"].(string)
		return at
	}
	for i := len(list) - 1; i > 0; i-- {
		if from, to := moment(i), moment(i-1); from > to && to != "" {
			return "make a report of each part, the first with --to " + to + ", the next with --from " + from
		}
	}
	return "narrow it with --from, --to or --kfl, and make a report of each part"
}

// maxEvery is the highest number of rows of a complete list.
const maxEvery = 100_000

// tree is an answer as JSON.
func (b *builder) tree(answer any) (tree map[string]any) {
	if b.err != nil {
		return nil
	}
	text, err := json.Marshal(answer)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		err = d.Decode(&tree)
	}
	b.err = err
	return tree
}

// listed says on the first page how long a complete list is, before what all traffic did.
func (b *builder) listed(p *templates.Section, t *value.Table) {
	title := cmp.Or(p.Title, titleOf(p.List))
	x := value.Statement{ID: p.ID + "-listed", Head: headWhat, Queries: t.Queries, Figures: []value.Number{value.Count("rows", int64(len(t.Rows)))},
		Text: fmt.Sprintf("The section %q lists %s, which is all that was read.", value.Text(title), plural.Count(int64(len(t.Rows)), "row", "rows")) + b.cov.Listed()}
	if len(t.Rows) == 0 {
		x.Text = b.absent(cmp.Or(p.Empty, "row of this kind"))
	}
	b.r.Statements = slices.Insert(b.r.Statements, 0, x)
}

// row adds a row of an answer.
func (b *builder) row(t *value.Table, p *templates.Section, fields map[string]any) {
	var cells []value.Cell
	for _, c := range p.Columns {
		field, _, _ := strings.Cut(c, " as ")
		v := at(fields, field)
		if text, ok := v.(string); ok && p.Every && columnOf(field, "").Kind == "moment" {
			cells = append(cells, value.WordCell(text)) // with the day, in full
			continue
		}
		cells = append(cells, b.cell(field, v))
	}
	t.Add(b.evidence(fields), cells...)
}

// evidence cites the calls, flows or packets of a row.
func (b *builder) evidence(fields map[string]any) []*value.Citation {
	var ids []string
	if id, ok := fields["call_id"].(string); ok {
		ids = append(ids, id)
	}
	list, _ := fields["call_ids"].([]any)
	for _, x := range list {
		if id, ok := x.(string); ok {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		return b.cite(ids...)
	}
	var flows []string
	many, _ := fields["flow_ids"].([]any)
	for _, x := range append(many, fields["flow_id"]) {
		if id, ok := x.(string); ok {
			flows = append(flows, id)
		}
	}
	if len(flows) > 0 {
		return b.citeFlows(flows)
	}
	if packets, ok := fields["packets"].(string); ok {
		return b.citePackets(packets)
	}
	return nil
}

// at is the value at a path with dots.
func at(v any, path string) any {
	for _, k := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// titleOf is the title of a column: the name of its field in words.
func titleOf(field string) string {
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		field = field[i+1:]
	}
	field = strings.TrimSuffix(strings.TrimSuffix(field, "_ms"), "_kb")
	title, ok := map[string]string{"src": "Client", "dst": "Server", "p50": "p50", "p90": "p90", "p99": "p99", "kfl": "KFL", "icmp_errors": "ICMP errors", "dns": "DNS", "call_id": "Call"}[field]
	if ok {
		return title
	}
	field = strings.ReplaceAll(field, "_", " ")
	return strings.ToUpper(field[:1]) + field[1:]
}

// moments are the fields with times.
var moments = []string{"first", "last", "time", "from", "to", "peak_at", "hour"}

// columnOf gives a column the kind of its field.
func columnOf(field, title string) value.Column {
	name := field[strings.LastIndexByte(field, '.')+1:]
	switch {
	case slices.Contains(moments, name):
		return value.MomentColumn(title + " (UTC)")
	case strings.HasSuffix(name, "_ms"):
		return value.NumberColumn(title, "latency")
	case strings.HasSuffix(name, "_kb"), slices.Contains([]string{"calls", "failed", "connections", "count", "rows", "bytes", "response_bytes", "request_bytes", "peak_calls", "touching"}, name):
		return value.NumberColumn(title, "")
	case slices.Contains([]string{"what", "why", "summary", "evidence", "said", "how", "words", "detail", "meaning"}, name):
		return value.WideColumn(title)
	case slices.Contains([]string{"endpoint", "path", "kfl", "request"}, name):
		return value.CodeColumn(title)
	case slices.Contains([]string{"src", "dst", "client", "server", "destination", "peer", "pod", "process", "user"}, name):
		return value.NameColumn(title)
	}
	return value.TextColumn(title)
}

// shortWords is the length of words that need no wide column.
const shortWords = 24

// settle gives columns the kind of their values where their names do not show it: numbers stand on the right, and a word
// is not a sentence.
func settle(t *value.Table, fields []string) {
	for i := range t.Columns {
		field, _, _ := strings.Cut(fields[i], " as ")
		numbers, short := 0, true
		for _, r := range t.Rows {
			c := r.Cells[i]
			short = short && utf8.RuneCountInString(c.Text) <= shortWords
			switch {
			case c.Value != nil && numbers >= 0:
				numbers++
			case c.Text != "":
				numbers = -1
			}
		}
		switch c := &t.Columns[i]; {
		case c.Kind == "" && numbers > 0 && !identifies(field[strings.LastIndexByte(field, '.')+1:]):
			c.Kind = "number"
		case c.Kind == "wide" && short:
			c.Kind = ""
		}
	}
}

// identifies reports whether a number of this name identifies something instead of counting it.
func identifies(name string) bool {
	return slices.Contains([]string{"port", "pid", "status_code", "call_no"}, name) || strings.HasSuffix(name, "_port") || strings.HasSuffix(name, "_id")
}

// cell writes a value of an answer.
func (b *builder) cell(field string, v any) value.Cell {
	name := field[strings.LastIndexByte(field, '.')+1:]
	switch x := v.(type) {
	case string:
		switch {
		case slices.Contains(moments, name) && len(x) > 19 && x[10] == 'T':
			return value.WordCell(b.moment(x))
		case name == "src" || name == "dst" || name == "client" || name == "server":
			return value.WordCell(b.nodeName(x))
		case name == "user" && x == "":
			return value.WordCell("(not named)")
		case name == "status":
			return value.WordCell(outcome(x))
		case columnOf(field, "").Kind == "wide":
			return value.WordCell(value.Clean(x, 3*value.MaxText))
		}
		return value.TextCell(x)
	case bool:
		if x {
			return value.WordCell("yes")
		}
		return value.WordCell("no")
	case json.Number:
		return numberCell(name, x)
	case []any:
		var words []string
		for _, e := range x {
			words = append(words, fmt.Sprint(e))
		}
		return value.WordCell(value.Some(words))
	}
	return value.Cell{}
}

// numberCell writes a number of an answer in the unit that its name says.
func numberCell(name string, x json.Number) value.Cell {
	f, err := x.Float64()
	if err != nil {
		return value.TextCell(x.String())
	}
	switch n, err := x.Int64(); {
	case strings.HasSuffix(name, "_ms"):
		return value.MicrosCell(int64(math.Round(f * 1000)))
	case strings.HasSuffix(name, "_s"):
		return value.MicrosCell(int64(math.Round(f * 1e6)))
	case name == "share" || name == "error_rate":
		thousandths := int64(math.Round(f * 1000))
		return value.Cell{Text: strconv.FormatFloat(f*100, 'f', 1, 64) + " %", Value: &thousandths}
	case strings.HasSuffix(name, "_kb"):
		return value.BytesCell(int64(math.Round(f * 1000)))
	case err == nil && (name == "bytes" || strings.HasSuffix(name, "_bytes") || name == "sent" || name == "received"):
		return value.BytesCell(n)
	case err == nil && identifies(name):
		return value.IDCell(n)
	case err == nil:
		c := value.CountCell(n)
		c.Bad = n > 0 && (name == "failed" || name == "faults")
		return c
	}
	return value.WordCell(strconv.FormatFloat(f, 'f', -1, 64))
}
