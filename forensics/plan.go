package forensics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// plan is a Query as SQL.
type plan struct {
	db      *duck.DB // database to query
	sql     string
	args    []any
	visible int // number of requested columns; more columns follow that the answer needs
	keys    []int
	cites   int      // index of the column cites, or -1
	packet  int      // index of the column packet_no, or -1
	bundle  int      // index of the column bundle, or -1
	unnamed int      // bundle of rows without a column bundle: 0, or -1 if the case has several
	skip    int64    // rows before the cursor
	sum     string   // their digest
	cut     []string // notes if more rows follow
	now     int64
	notes   []string

	inner     []string    // columns of other rows of calls that it looks up
	protocols []string    // those that the selected calls can be of; nil: any
	facts     *duck.Facts // tables and columns that it names; nil if unknown
	sel       *selection  // nil for a query in SQL
	sliced    bool        // rows are sorted by time and may be read in time slices
	ordering  string
}

// selection is the FROM and WHERE of a query.
type selection struct {
	view  *view
	raw   bool // NAME_raw suffices
	where []string
	args  []any
}

func (s *selection) add(cond string, args ...any) {
	s.where = append(s.where, cond)
	s.args = append(s.args, args...)
}

// table is the name of the table to read.
func (s *selection) table() string {
	if s.raw {
		return s.view.name + "_raw"
	}
	return s.view.name
}

// from writes the FROM and WHERE of the selection.
func (s *selection) from() string {
	sql := " FROM " + quote.Ident(s.table())
	if len(s.where) > 0 {
		sql += " WHERE " + strings.Join(s.where, " AND ")
	}
	return sql
}

// prepare converts a Query to a plan.
func (c *Case) prepare(ctx context.Context, q *Query) (*plan, error) {
	if q.From != 0 && q.To != 0 && q.To < q.From {
		return nil, usagef("the window ends before it begins")
	}
	if q.Limit < 0 || q.MaxBytes < 0 {
		return nil, usagef("the limit must not be negative")
	}
	cur, err := c.readCursor(q)
	if err != nil {
		return nil, err
	}
	if q.SQL != "" || q.Alone {
		return c.planSQL(ctx, q, cur)
	}
	return c.planRows(ctx, q, cur)
}

func (c *Case) planSQL(ctx context.Context, q *Query, cur *cursor) (*plan, error) {
	if q.KFL != "" || q.Table != "" || q.Order != "" || len(q.Columns)+len(q.GroupBy) > 0 || q.Count || q.From != 0 || q.To != 0 {
		return nil, usagef("SQL cannot be combined with other fields")
	}
	db := c.db
	switch {
	case q.Alone:
		db = db.Alone()
	case !q.Named:
		db = db.Asked()
	}
	facts, err := c.gate(ctx, db, q.SQL)
	if err != nil {
		return nil, err
	}
	facts.Whole = facts.Whole && !q.Named
	p := &plan{db: db, sql: q.SQL, args: q.Args, facts: &facts, visible: -1, cites: -1, packet: -1, bundle: -1}
	if c.several() {
		p.unnamed = -1
	}
	p.after(cur)
	if !facts.Ordered {
		p.cut = []string{unordered}
	}
	return p, nil
}

func (c *Case) planRows(ctx context.Context, q *Query, cur *cursor) (*plan, error) {
	name := q.Table
	if name == "" {
		name = "calls"
	}
	v := c.relation(name)
	if v == nil {
		return nil, unknownName(name, c.order, "this case has no table %s; it has %s", strconv.Quote(name), strings.Join(c.order, ", "))
	}
	p := &plan{db: c.db, cites: -1, packet: -1, bundle: -1, sel: &selection{view: v}}
	used, err := c.restrict(ctx, p, q)
	if err != nil {
		return nil, err
	}
	if err := v.check(q.GroupBy); err != nil {
		return nil, err
	}
	if q.Count || len(q.GroupBy) > 0 {
		return p, c.planCount(p, q, used, cur)
	}
	order, mentioned, err := c.orderOf(v, q.Order)
	if err != nil {
		return nil, err
	}
	if err := v.check(q.Columns); err != nil {
		return nil, err
	}
	v = p.sel.view
	cols := q.Columns
	if len(cols) == 0 {
		cols = c.columnsOfRows(v, p.protocols)
	}
	p.sliced = q.Order == "" && v.key != nil && v.key[0] == v.from
	if cur != nil {
		if err := p.resume(v, cur, q.Order == ""); err != nil {
			return nil, err
		}
	}
	p.hide(v, cols)
	used = append(used, mentioned...)
	p.sel.raw = v.onlyRaw(used) && v.onlyRaw(cols)
	read := append(slices.Clone(cols), p.hidden(v, cols)...)
	p.names(slices.Concat(used, read, v.key, []string{v.from, v.to}))
	p.ordering = order
	p.sql = "SELECT " + identList(read) + p.sel.from()
	switch {
	case order != "":
		p.sql += " ORDER BY " + order
	case q.Limit > 0: // a table without a key
		p.sql += " ORDER BY ALL"
	}
	p.args = p.sel.args
	return p, nil
}

// hide finds or appends the columns that the answer needs in addition to the requested ones.
func (p *plan) hide(v *view, cols []string) {
	p.visible = len(cols)
	all := append(slices.Clone(cols), p.hidden(v, cols)...)
	at := func(name string) int { return slices.Index(all, name) }
	p.cites, p.bundle = at("cites"), at("bundle")
	if p.cites < 0 && v.name == "packets" || v.name == "tcp_events" || v.name == "anomalies" {
		p.packet = at("packet_no")
	}
	for _, k := range v.key {
		p.keys = append(p.keys, at(k))
	}
}

// hidden returns the columns that the answer needs and that were not requested.
func (p *plan) hidden(v *view, cols []string) []string {
	var out []string
	for _, name := range append([]string{"cites", "packet_no", "bundle"}, v.key...) {
		if v.has(name) && !slices.Contains(cols, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// after skips the rows before a cursor, if any.
func (p *plan) after(cur *cursor) {
	if cur != nil {
		p.skip, p.sum = cur.Row, cur.Sum
	}
}

// resume adds conditions to begin after the row of a cursor.
func (p *plan) resume(v *view, cur *cursor, byKey bool) error {
	if len(cur.Key) == 0 || !byKey {
		p.after(cur)
		return nil
	}
	if len(cur.Key) != len(v.key) {
		return ErrCursor
	}
	// The second condition implies the first one, which lets DuckDB skip row groups by their
	// bounds.
	p.sel.add(quote.Ident(v.key[0])+" >= ?", cur.Key[0])
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(v.key)), ", ")
	args := make([]any, len(cur.Key))
	for i, k := range cur.Key {
		args[i] = k
	}
	p.sel.add("("+identList(v.key)+") > ("+marks+")", args...)
	return nil
}

func identList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote.Ident(n)
	}
	return strings.Join(quoted, ", ")
}

// names records the columns of calls that a query without SQL uses.
func (p *plan) names(columns []string) {
	if p.sel.view.rows.table == "calls" {
		p.facts = factsOf(p.sel, append(columns, p.inner...), p.inner != nil, p.protocols)
	}
}

// factsOf are the facts about a query of a selection. If it looks up other rows of calls, it names the table for these too.
func factsOf(s *selection, columns []string, looksUp bool, protocols []string) *duck.Facts {
	f := &duck.Facts{Tables: []string{s.table()}, Columns: columns, Protocols: protocols}
	for _, name := range []string{"calls", "calls_raw"} {
		if looksUp && name != f.Tables[0] {
			f.Tables = append(f.Tables, name)
		}
	}
	return f
}

// columnsOfRows are the columns of a row of a view if none are asked for. Rows of table calls have the columns of all protocols
// that they can be of; nil means any.
func (c *Case) columnsOfRows(v *view, protocols []string) (list []string) {
	own := c.calls.ofProtocols(c.calls.among(rowsOf{protocols: protocols}))
	for _, col := range v.all() {
		if hasColumn(v.columns, col.Name) || hasColumn(own, col.Name) {
			list = append(list, col.Name)
		}
	}
	return list
}

// unknownName is the error for a name that is not among some, with the one that it most likely means.
func unknownName(name string, among []string, format string, args ...any) error {
	if hint := nearest.Hint(name, among); hint != "" {
		return usagef(format+"; %s", append(args, hint)...)
	}
	return usagef(format, args...)
}

// check rejects columns that the table does not have.
func (v *view) check(cols []string) error {
	for _, name := range cols {
		if !v.has(name) {
			return unknownName(name, v.names(), "table %s has no column %s", v.name, strconv.Quote(clip.Text(name, 60)))
		}
	}
	return nil
}

// onlyRaw reports whether no column comes from the endpoints.
func (v *view) onlyRaw(cols []string) bool {
	for _, name := range cols {
		if !hasColumn(v.raw, name) && !hasColumn(v.own, name) && !hasColumn(v.absent, name) {
			return false
		}
	}
	return true
}

// restrict adds KFL and the window to the selection, and returns the columns that they use.
func (c *Case) restrict(ctx context.Context, p *plan, q *Query) (used []string, err error) {
	v := p.sel.view
	if q.KFL != "" {
		if used, err = c.restrictKFL(ctx, p, q); err != nil {
			return nil, err
		}
	}
	if q.From == 0 && q.To == 0 {
		return used, nil
	}
	if v.from == "" {
		p.notes = append(p.notes, "table "+v.name+" has no times, so the window does not apply")
		return used, nil
	}
	if q.From != 0 {
		p.sel.add(quote.Ident(v.to)+" >= ?", q.From)
	}
	if q.To != 0 {
		p.sel.add(quote.Ident(v.from)+" <= ?", q.To)
	}
	return append(used, v.from, v.to), nil
}

// choose chooses the narrowest relation that has all calls that KFL can match: those of a protocol, or the parts of table
// calls with those of some protocols.
func (c *Case) choose(p *plan, k *kfl.Query) {
	list := k.Protocols(c.protocolsWith)
	if list == nil || p.sel.view.rows.protocols != nil {
		return
	}
	p.protocols = c.calls.among(rowsOf{protocols: list})
	if len(p.protocols) == 1 {
		if v := c.views[p.protocols[0]]; v != nil && v.rows.table == "calls" {
			p.sel.view, p.protocols = v, nil
		}
	}
}

// protocolsWith lists the protocols of the case whose calls have a column of table calls, nil if all calls have it.
func (c *Case) protocolsWith(column string) []string {
	if v := c.views["calls"]; isReceipt(column) || !hasColumn(v.own, column) && !hasColumn(v.absent, column) {
		return nil
	}
	return slices.DeleteFunc(c.calls.there(), func(protocol string) bool { return !hasColumn(c.calls.own[protocol], column) })
}

// ties are the columns that link rows of other tables to calls.
var ties = []string{"call_no", "flow_id", "conn_id"}

func (c *Case) restrictKFL(ctx context.Context, p *plan, q *Query) (used []string, err error) {
	calls := c.views["calls"]
	if calls == nil {
		return nil, usagef("the case has no table calls")
	}
	k, err := c.compile(ctx, q.KFL, q.Macros)
	if err != nil {
		return nil, err
	}
	if k.UsesNow() {
		_, p.now, _ = c.Window()
	}
	p.notes = append(p.notes, k.Notes()...)
	if n := k.Limit(); n > 0 && (q.Limit == 0 || n < q.Limit) {
		q.Limit = n
	}
	where, args := k.SQL()
	if p.sel.view.rows.table == "calls" {
		p.inner = k.Inner()
		c.choose(p, k)
		p.sel.add("("+where+")", args...)
		return k.Columns(), nil
	}
	inner := &selection{view: calls, raw: calls.onlyRaw(k.Columns())}
	p.facts = factsOf(inner, slices.Concat(k.Columns(), ties, k.Inner()), k.Inner() != nil, k.Protocols(c.protocolsWith))
	inner.add("("+where+")", args...)
	for _, tie := range ties {
		if p.sel.view.has(tie) && calls.has(tie) {
			cols := quote.Ident(tie)
			if c.several() {
				cols = "bundle, " + cols
			}
			p.sel.add("("+cols+") IN (SELECT ("+cols+")"+inner.from()+")", inner.args...)
			return nil, nil
		}
	}
	return nil, usagef("KFL filters calls, but rows of table %s do not belong to calls", p.sel.view.name)
}

// orderOf parses an order "column [asc|desc], …" and appends the key, so that the order of equal rows
// is fixed.
func (c *Case) orderOf(v *view, order string) (sql string, used []string, err error) {
	var parts []string
	for _, item := range strings.Split(order, ",") {
		words := strings.Fields(item)
		if len(words) == 0 {
			continue
		}
		way := ""
		if len(words) > 1 {
			way = strings.ToLower(words[1])
		}
		if len(words) > 2 || way != "" && way != "asc" && way != "desc" {
			return "", nil, usagef("order %s: must be columns with asc or desc", strconv.Quote(strings.TrimSpace(item)))
		}
		if err := v.check(words[:1]); err != nil {
			return "", nil, err
		}
		used = append(used, words[0])
		parts = append(parts, strings.TrimSpace(quote.Ident(words[0])+" "+way))
	}
	for _, k := range v.key {
		if !slices.Contains(used, k) {
			parts = append(parts, quote.Ident(k))
			used = append(used, k)
		}
	}
	return strings.Join(parts, ", "), used, nil
}

// planCount plans a count of rows, by group if GroupBy is set.
func (c *Case) planCount(p *plan, q *Query, used []string, cur *cursor) error {
	v := p.sel.view
	if len(q.Columns) > 0 || q.Order != "" {
		return usagef("a count cannot be combined with columns or an order")
	}
	p.after(cur)
	used = append(used, q.GroupBy...)
	p.sel.raw = v.onlyRaw(used)
	p.names(append(used, v.key...))
	p.args = p.sel.args
	p.visible = len(q.GroupBy) + 1
	if len(q.GroupBy) == 0 {
		p.sql = "SELECT count(*) AS count" + p.sel.from()
		return nil
	}
	list := identList(q.GroupBy)
	p.sql = fmt.Sprintf("SELECT %s, count(*) AS count%s GROUP BY %s ORDER BY count DESC, %s", list, p.sel.from(), list, list)
	return nil
}
