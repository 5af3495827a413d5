package forensics

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Limits of an explanation.
const (
	maxConditions = 8    // conditions of a filter that are counted one by one
	maxValues     = 2000 // distinct values of a column that are compared with a misspelt one
	maxReasons    = 4
	maxListed     = 12 // values that are listed
)

// A side is a name that an endpoint can have: the column of endpoints, and the KFL field after src or dst.
type side struct{ column, field string }

var sides = []side{{"service", "service"}, {"workload", "workload"}, {"pod", "pod"}, {"namespace", "namespace"}, {"node", "node"},
	{"hostname", "hostname"}, {"dns_name", "dns"}, {"ip", "ip"}}

// Why explains why no call in a time matches a KFL filter: which of its conditions matches nothing,
// and suggestions for misspelt values. It omits reasons that it cannot find within ctx.
func (c *Case) Why(ctx context.Context, condition string, from, to int64) []string {
	parts := kfl.Conditions(condition)
	if len(parts) > maxConditions || c.views["calls"] == nil {
		return nil
	}
	var reasons, fit []string
	for _, p := range parts {
		n, err := c.countOf(ctx, p.Text, from, to)
		if err != nil {
			return reasons
		}
		if n > 0 {
			fit = append(fit, fmt.Sprintf("%s (%d)", p.Text, n))
			continue
		}
		if reasons = append(reasons, "no call matches "+p.Text+c.unfit(ctx, p, from, to)); len(reasons) == maxReasons {
			return reasons
		}
	}
	if len(reasons) == 0 && len(fit) > 1 {
		reasons = append(reasons, "each of these conditions matches calls, but no call matches all of them: "+strings.Join(fit, ", "))
	}
	return reasons
}

func (c *Case) countOf(ctx context.Context, condition string, from, to int64) (int64, error) {
	r, err := c.query(ctx, Query{KFL: condition, From: from, To: to, Count: true})
	if err != nil {
		return 0, err
	}
	n, _ := r.Rows[0][0].(int64)
	return n, nil
}

// unfit explains why a single condition matches no call, as the end of a sentence.
func (c *Case) unfit(ctx context.Context, p kfl.Condition, from, to int64) string {
	k, err := c.compile(ctx, p.Text, nil)
	if err != nil {
		return ""
	}
	for _, text := range p.Texts {
		if !slices.Contains(k.Columns(), "protocol") {
			break
		}
		if likely := c.likely(ctx, strings.ToLower(text), from, to); likely != "" {
			return ": no dissector reads " + text + "; " + likely
		}
	}
	texts := map[string]bool{}
	for _, col := range c.views["calls"].all() {
		if slices.Contains(k.Columns(), col.Name) {
			texts[col.Name] = col.Type == "VARCHAR"
		}
	}
	values, with, empty, whole := []string(nil), []string(nil), k.Absent(), !p.Part
	for _, name := range k.Columns() {
		isText, known := texts[name]
		if !known {
			continue
		}
		list, any := c.valuesOf(ctx, "calls", name, isText, from, to)
		if !any {
			empty = append(empty, name)
		} else {
			with = append(with, name)
		}
		values = append(values, list...)
		whole = whole && isText
	}
	if !whole { // its texts are not compared with the values of a column
		values = nil
	}
	for _, text := range p.Texts {
		if near := nearest.Name(text, values); near != "" && near != text {
			return fmt.Sprintf("; did you mean %q?", near)
		}
	}
	for _, text := range p.Texts {
		if ns, rest, ok := strings.Cut(text, "/"); ok && slices.Contains(values, rest) && len(with) == 1 {
			if side, field, ok := strings.Cut(with[0], "_"); ok && (side == "src" || side == "dst") {
				return fmt.Sprintf("; write %[1]s.namespace == %[3]q and %[1]s.%[2]s == %[4]q", side, field, ns, rest)
			}
		}
	}
	if text, is := c.elsewhere(ctx, k.Columns(), p.Texts); text != "" {
		return fmt.Sprintf("; %q is a %[2]s: use src.%[2]s or dst.%[2]s", text, is.field)
	}
	if len(empty) > 0 && len(empty) == len(texts)+len(k.Absent()) {
		return ": " + strings.Join(empty, " and ") + " has no value in any call in this time" + c.otherwise(ctx, k.Columns(), from, to)
	}
	return listed("; in this time "+strings.Join(with, " or "), values) + c.otherwise(ctx, k.Columns(), from, to)
}

// errorStatus is the end of a condition that means errors, such as status_code >= 400.
var errorStatus = regexp.MustCompile(`>=?\s*[345]\d\d$`)

// Missed counts the failed calls that a filter misses because it asks for errors by their status of HTTP, although it matches
// calls. It returns no text if there are none, or if it cannot find out within ctx.
func (c *Case) Missed(ctx context.Context, condition string, from, to int64) []string {
	parts := kfl.Conditions(condition)
	var texts []string
	status := false
	for _, p := range parts {
		if k, err := c.compile(ctx, p.Text, nil); errorStatus.MatchString(p.Text) && err == nil && slices.Equal(k.Columns(), []string{"status_code"}) {
			status = true
		} else {
			texts = append(texts, "("+p.Text+")")
		}
	}
	if !status {
		return nil
	}
	if text := c.failedOtherwise(ctx, strings.Join(append(texts, "failed", "not (status_code >= 400)"), " and "), "%d other {call|calls} in this time", from, to); text != "" {
		return []string{text}
	}
	return nil
}

// otherwise counts the failed calls that a condition on the status misses, as the end of a sentence: many protocols have
// other statuses than HTTP, and what HTTP carries fails with its status 200.
func (c *Case) otherwise(ctx context.Context, columns []string, from, to int64) string {
	if !slices.Contains(columns, "status_code") || slices.ContainsFunc(columns, func(name string) bool { return name != "status_code" && name != "protocol" }) {
		return ""
	}
	if text := c.failedOtherwise(ctx, "failed", "%d {call|calls}", from, to); text != "" {
		return "; " + text
	}
	return ""
}

// failedOtherwise counts the failed calls that match a condition, in words that begin with what they are.
func (c *Case) failedOtherwise(ctx context.Context, condition, what string, from, to int64) string {
	n, err := c.countOf(ctx, condition, from, to)
	if err != nil || n == 0 {
		return ""
	}
	text := plural.Sprintf(what+" failed with another status or without one: use failed", n)
	if n, err = c.countOf(ctx, condition+" and grpc_status > 0", from, to); err == nil && n > 0 {
		text += fmt.Sprintf(", or grpc_status > 0 (%d), because status_code is the HTTP status of gRPC", n)
	}
	return text
}

// whySQL names the texts with which a user's SQL compares columns that have no such value in any of its
// tables.
func (c *Case) whySQL(ctx context.Context, sql string) (reasons []string) {
	facts, err := c.gate(ctx, c.db, sql)
	if err != nil || len(facts.Compared) > maxConditions {
		return nil
	}
	for _, cmp := range facts.Compared {
		if text := c.unheld(ctx, facts.Tables, cmp); text != "" && len(reasons) < maxReasons {
			reasons = append(reasons, text)
		}
	}
	return reasons
}

// unheld says that no row of the tables has one of the compared values, and what is near; "" if one has.
func (c *Case) unheld(ctx context.Context, tables []string, cmp duck.Compared) string {
	var with, values []string
	filled := false
	for _, name := range tables {
		v := c.views[name]
		if v == nil || !hasText(v, cmp.Column) {
			continue
		}
		q := Query{SQL: "SELECT 1 FROM " + name + " WHERE list_contains(?, " + quote.Ident(cmp.Column) + ")", Args: []any{cmp.Texts}, Named: true, Limit: 1}
		if r, err := c.query(ctx, q); err != nil || len(r.Rows) > 0 {
			return ""
		}
		list, any := c.valuesOf(ctx, name, cmp.Column, true, 0, 0)
		with, values, filled = append(with, name), append(values, list...), filled || any
	}
	switch {
	case len(with) == 0: // a column that the query itself makes
		return ""
	case !filled:
		return cmp.Column + " has no value in any row of " + strings.Join(with, " or ")
	}
	quoted := make([]string, len(cmp.Texts))
	for i, t := range cmp.Texts {
		quoted[i] = quote.SQL(t)
	}
	reason := "no row of " + strings.Join(with, " or ") + " has " + cmp.Column + " = " + strings.Join(quoted, " or ")
	for _, t := range cmp.Texts {
		if near := nearest.Name(t, values); near != "" {
			return reason + "; did you mean " + quote.SQL(near) + "?"
		}
	}
	if end, _, _ := strings.Cut(cmp.Column, "_"); end == "src" || end == "dst" {
		if t, is := c.elsewhere(ctx, []string{cmp.Column}, cmp.Texts); t != "" {
			return fmt.Sprintf("%s; %s is a %s: use %s_%s", reason, quote.SQL(t), is.field, end, is.column)
		}
	}
	return reason + listed("; "+cmp.Column, values)
}

// elsewhere finds a text that is a name of an endpoint, but of a kind that none of the columns has.
func (c *Case) elsewhere(ctx context.Context, columns, texts []string) (text string, is side) {
	named := c.named(ctx, texts)
	for _, text := range texts {
		for _, side := range sides {
			asked := slices.ContainsFunc(columns, func(name string) bool { return strings.HasSuffix(name, "_"+side.column) })
			if !asked && slices.Contains(named[side.column], any(text)) {
				return text, side
			}
		}
	}
	return "", side{}
}

// hasText reports whether a table has a column of texts.
func hasText(v *view, column string) bool {
	return slices.ContainsFunc(slices.Concat(v.all(), v.absent), func(col duck.Column) bool { return col.Name == column && col.Type == "VARCHAR" })
}

// listed names all values of columns, if they are few, as the end of a sentence.
func listed(columns string, values []string) string {
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 0 || len(values) > maxListed {
		return ""
	}
	return columns + map[bool]string{true: " is ", false: " is one of "}[len(values) == 1] + strings.Join(values, ", ")
}

// likely says how many conversations without a dissector are probably of a protocol, and the filter
// for them; "" if none are.
func (c *Case) likely(ctx context.Context, protocol string, from, to int64) string {
	condition := "payload_protocol == " + strconv.Quote(protocol)
	n, err := c.countOf(ctx, condition, from, to)
	if err != nil || n == 0 {
		return ""
	}
	return plural.Sprintf("%d {conversation looks|conversations look} like it: %s", n, condition)
}

// valuesOf returns distinct values of a text column, and whether the column has any value.
func (c *Case) valuesOf(ctx context.Context, table, column string, isText bool, from, to int64) (values []string, any bool) {
	column = quote.Ident(column)
	what := "count(" + column + ")"
	if isText {
		what = "DISTINCT " + column
	}
	q := Query{SQL: "SELECT " + what + " FROM " + table + " WHERE " + column + " IS NOT NULL", Named: true, Limit: maxValues}
	if from != 0 {
		q.SQL, q.Args = q.SQL+" AND ts_ns >= ?", append(q.Args, from)
	}
	if to != 0 {
		q.SQL, q.Args = q.SQL+" AND ts_ns <= ?", append(q.Args, to)
	}
	r, err := c.query(ctx, q)
	if err != nil {
		return nil, true // unknown
	}
	for _, row := range r.Rows {
		switch v := row[0].(type) {
		case string:
			values = append(values, v)
		case int64:
			any = v > 0
		}
	}
	return values, any || len(values) > 0
}

// named are those of the names that endpoints of the case have, by the column of sides. One question
// about all of them takes hardly longer than one about a single name or column.
func (c *Case) named(ctx context.Context, names []string) map[string][]any {
	v := c.views["endpoints"]
	if v == nil || len(names) == 0 {
		return nil
	}
	var columns, list []string
	var args []any
	for _, side := range sides {
		if hasColumn(v.raw, side.column) {
			columns, args = append(columns, side.column), append(args, names)
			list = append(list, fmt.Sprintf("list(DISTINCT %[1]s) FILTER (list_contains(?, %[1]s))", quote.Ident(side.column)))
		}
	}
	if len(list) == 0 {
		return nil
	}
	r, err := c.query(ctx, Query{SQL: "SELECT " + strings.Join(list, ", ") + " FROM endpoints", Args: args, Limit: 1})
	if err != nil || len(r.Rows) != 1 {
		return nil
	}
	found := map[string][]any{}
	for i, column := range columns {
		found[column], _ = r.Rows[0][i].([]any)
	}
	return found
}
