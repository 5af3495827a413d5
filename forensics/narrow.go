package forensics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// DuckDB processes every column of a table for every query that uses it. So a query gets table calls and the calls of a
// protocol with only the columns that it names, through names in WITH that hide the views. For table calls these may also be
// columns of protocols, which its view has not.

// narrow adds WITH clauses with only the columns that a query names, and their parameters before the
// query's own. A query that may use all columns gets those of the views, and those of protocols and the absent ones that it
// names. It returns the names that it defined. The query stays as it is if that adds nothing or cannot be added.
func (c *Case) narrow(sql string, args []any, f duck.Facts) (short string, all []any, defined []string) {
	var with []string
	files := &fileList{bound: !strings.Contains(sql, "$")} // numbered parameters begin with $
	for _, name := range f.Tables {
		base, raw := strings.CutSuffix(name, "_raw")
		v := c.relation(base)
		if v == nil || v.rows.table != "calls" || c.kept[name] || v.rows.protocols != nil && slices.Contains(f.Defined, name) {
			continue
		}
		if f.Whole && c.views[base] != nil && !v.lacks(f.Columns) && f.Protocols == nil {
			continue
		}
		with = append(with, quote.Ident(name)+" AS NOT MATERIALIZED ("+c.callsWith(v, &f, !raw, files)+")")
		defined = append(defined, name)
	}
	if with == nil {
		return sql, args, nil
	}
	if short = prefix(sql, strings.Join(with, ", ")); short == sql {
		return sql, args, nil
	}
	return short, append(files.args, args...), defined
}

// lacks reports whether a statement names columns that the view has not.
func (v *view) lacks(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return hasColumn(v.own, name) || hasColumn(v.absent, name) })
}

// fileList writes the files of tables into SQL, as parameters if bound is true.
//
// DuckDB plans a query when it is prepared and, if it reads Parquet files, again when it runs.
// Planning stops early at a list of files without a value, so such a query is planned only once.
type fileList struct {
	bound bool
	args  []any // values of the parameters, each a []string
}

func (l *fileList) parquet(files []string, union bool) string {
	if !l.bound {
		return parquet(files, union)
	}
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = escapeGlob(f)
	}
	l.args = append(l.args, list)
	return parquetFiles("?", union)
}

// prefix adds WITH clauses to a query and merges them with its own WITH, if any.
func prefix(sql, with string) string {
	switch first, rest := word(sql); first {
	case "with":
		if next, after := word(rest); next == "recursive" {
			return "WITH RECURSIVE " + with + ",\n" + after
		}
		return "WITH " + with + ",\n" + rest
	case "describe", "desc", "summarize", "show":
		return sql
	}
	return "WITH " + with + "\n" + sql
}

// word returns the first word of a query in lower case, or "" if it does not begin with a word, and
// the rest. It skips remarks.
func word(sql string) (first, rest string) {
	sql = strings.TrimLeft(sql, " \t\r\n")
	for _, remark := range [][2]string{{"--", "\n"}, {"/*", "*/"}} {
		if _, after, ok := strings.Cut(sql, remark[1]); ok && strings.HasPrefix(sql, remark[0]) {
			return word(after)
		}
	}
	i := 0
	for i < len(sql) && (sql[i]|0x20 >= 'a' && sql[i]|0x20 <= 'z') {
		i++
	}
	return strings.ToLower(sql[:i]), sql[i:]
}

// callsWith is SQL that reads calls with the columns of a query, including those of their ends if ends is
// true.
func (c *Case) callsWith(v *view, f *duck.Facts, ends bool, files *fileList) string {
	named := func(name string) bool { return slices.Contains(f.Columns, name) }
	has := func(name string) bool { return f.Whole || named(name) }
	var read []duck.Column
	var out []string
	var src, dst bool
	for _, col := range v.columns[len(v.raw):] {
		src = src || ends && strings.HasPrefix(col.Name, "src_") && has(col.Name)
		dst = dst || ends && strings.HasPrefix(col.Name, "dst_") && has(col.Name)
	}
	keep := func(col duck.Column) { read, out = append(read, col), append(out, "t."+quote.Ident(col.Name)) }
	for _, col := range v.raw {
		switch {
		case has(col.Name), col.Name == "bundle", col.Name == "call_no", col.Name == "ts_ns", src && col.Name == "src_id", dst && col.Name == "dst_id":
			keep(col)
		}
	}
	rows := v.rows
	if f.Protocols != nil {
		rows.protocols = f.Protocols
	}
	there := c.calls.ofProtocols(c.calls.among(rows))
	if c.stated[receipts] != nil {
		there = append(there, receiptColumns()...)
	}
	var nulls []string
	for _, col := range slices.Concat(v.own, v.absent) {
		switch {
		case !named(col.Name):
		case hasColumn(there, col.Name):
			keep(col)
		default:
			nulls = append(nulls, nullSQL(col))
		}
	}
	source := c.readMasked(rows, eachOnce, read, files.parquet)
	if !ends {
		return "SELECT " + strings.Join(append([]string{identList(namesOf(read))}, nulls...), ", ") + " FROM (" + source + ")"
	}
	for _, col := range v.columns[len(v.raw):] {
		name := quote.Ident(col.Name)
		switch {
		case !has(col.Name):
		case col.Name == "ts_exact":
			out = append(out, "make_timestamp_ns(t.ts_ns) AS ts_exact")
		case strings.HasPrefix(col.Name, "src_"):
			out = append(out, "s."+quote.Ident(col.Name[4:])+" AS "+name)
		case strings.HasPrefix(col.Name, "dst_"):
			out = append(out, "d."+quote.Ident(col.Name[4:])+" AS "+name)
		}
	}
	sql := "SELECT " + strings.Join(append(out, nulls...), ", ") + " FROM (" + source + ") t"
	if src {
		sql += c.joinEnd(c.schema(), "s", "src_id")
	}
	if dst {
		sql += c.joinEnd(c.schema(), "d", "dst_id")
	}
	return sql
}

// schema is the schema with the views of the case.
func (c *Case) schema() string {
	if c.options.MaskSecrets && !c.mask {
		return unmaskedSchema
	}
	return maskedSchema
}

// joinEnd joins an end of a row t to the endpoints of a schema.
func (c *Case) joinEnd(schema, alias, id string) string {
	on := ""
	if c.several() {
		on = alias + ".bundle = t.bundle AND "
	}
	return " LEFT JOIN " + schema + ".endpoints " + alias + " ON " + on + alias + ".endpoint_id = t." + id
}

// run runs SQL with only the columns that a plan needs.
func (c *Case) run(ctx context.Context, p *plan, sql string, args []any) (rows *duck.Rows, err error) {
	if c.options.Watch != nil {
		c.options.Watch(sql)
	}
	err = c.short(ctx, p, sql, args, func(db *duck.DB, sql string, args []any) error {
		rows, err = db.Query(ctx, sql, args...)
		return err
	})
	return rows, err
}

// short calls do with narrowed SQL. If that fails, it calls do with the original SQL, so that an
// error has its place in the user's text.
func (c *Case) short(ctx context.Context, p *plan, sql string, args []any, do func(db *duck.DB, sql string, args []any) error) error {
	if p.facts == nil {
		return do(p.db, sql, args)
	}
	if short, all, defined := c.narrow(sql, args, *p.facts); defined != nil {
		err := do(p.db.Hiding(defined...), short, all)
		if bad := (*duck.SyntaxError)(nil); !errors.As(err, &bad) {
			return err
		}
	}
	return do(c.withAbsent(p.db, p.facts), sql, args)
}

// full is the same database with views of calls that have the columns of all protocols.
type full struct {
	sync.Once
	db *duck.DB
}

// withAbsent returns a database in which a statement can name the columns of all protocols of table calls, however it names
// the table. The tables of narrow, with only the columns that a statement needs, are faster, but do not apply
// to a name such as main.calls.
func (c *Case) withAbsent(db *duck.DB, f *duck.Facts) *duck.DB {
	v := c.views["calls"]
	reads := slices.Contains(f.Tables, "calls") || slices.Contains(f.Tables, "calls_raw") // other tables have columns with the same names
	if v == nil || !reads || c.kept != nil || c.schema() != maskedSchema || !v.lacks(f.Columns) {
		return db
	}
	c.full.Do(func() {
		sql := "SELECT *"
		for _, col := range v.absent {
			sql += ", " + nullSQL(col)
		}
		sql += " FROM (" + c.readMasked(v.rows, eachOnce, v.stored(), parquet) + ")"
		c.full.db = c.db.With(viewSQL("CREATE TEMP VIEW", unmaskedSchema, "calls", sql, c.joined(v, maskedSchema)))
	})
	return db.Like(c.full.db)
}

// Limits of the memory for SQL that passed the gate.
const (
	maxGated    = 512      // texts
	maxGatedSQL = 16 << 10 // bytes of one
)

// gated remembers which SQL passed the gate, because most questions have the same few hundred texts
// with other values, and parsing one takes a round trip to the worker and a tree in JSON. The
// tables of a case do not change, except those that a case aside keeps.
type gated struct {
	mu    sync.Mutex
	facts map[string]duck.Facts // by the names of kept tables and the text
}

// gate is DB.Gate with the tables of the case. What did not pass is not remembered.
func (c *Case) gate(ctx context.Context, db *duck.DB, sql string) (duck.Facts, error) {
	key := strings.Join(slices.Sorted(maps.Keys(c.kept)), ",") + "\n" + sql
	c.gated.mu.Lock()
	facts, ok := c.gated.facts[key]
	c.gated.mu.Unlock()
	if ok {
		return facts, nil
	}
	facts, err := db.Gate(ctx, sql, c.isTable)
	if bad := (*duck.SyntaxError)(nil); errors.As(err, &bad) && bad.Table != "" {
		if near := nearest.Name(strings.ToLower(bad.Table), c.order); near != "" {
			bad.Msg += "; did you mean " + near + "?"
		}
	}
	if err != nil || len(sql) > maxGatedSQL {
		return facts, err
	}
	c.gated.put(key, facts)
	return facts, nil
}

// put remembers one text; when there are too many, all others are forgotten.
func (g *gated) put(key string, facts duck.Facts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.facts == nil || len(g.facts) >= maxGated {
		g.facts = map[string]duck.Facts{}
	}
	g.facts[key] = facts
}
