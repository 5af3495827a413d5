package forensics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Table calls has many columns, including those of its ends, and DuckDB processes all of them for every
// query that uses the table. So a query gets the table with only the columns that it names, through two
// names in WITH that hide the views.

// narrow adds WITH clauses with only the columns that a query names, and their parameters before the
// query's own. A query that may use all columns gets those of the views and the absent ones that it
// names. The query stays as it is if that adds nothing or cannot be added.
func (c *Case) narrow(sql string, args []any, f duck.Facts) (string, []any) {
	wide, ends := slices.Contains(f.Tables, "calls_raw"), slices.Contains(f.Tables, "calls")
	v := c.views["calls"]
	if v == nil || !wide && !ends || f.Whole && len(v.nulls(f.Columns)) == 0 {
		return sql, args
	}
	var with []string
	files := &fileList{bound: !strings.Contains(sql, "$")} // numbered parameters begin with $
	for _, name := range []string{"calls_raw", "calls"} {
		if slices.Contains(f.Tables, name) {
			with = append(with, name+" AS NOT MATERIALIZED ("+c.callsWith(&f, name == "calls", files)+")")
		}
	}
	short := prefix(sql, strings.Join(with, ", "))
	if short == sql {
		return sql, args
	}
	return short, append(files.args, args...)
}

// fileList writes the files of tables into SQL, as parameters if bound is true.
//
// DuckDB plans a query when it is prepared and, if it reads Parquet files, again when it runs.
// Planning stops early at a list of files without a value, so such a query is planned only once.
type fileList struct {
	bound bool
	args  []any // values of the parameters, each a []string
}

func (l *fileList) parquet(files []string) string {
	if !l.bound {
		return parquet(files)
	}
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = escapeGlob(f)
	}
	l.args = append(l.args, list)
	return parquetFiles("?")
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

// callsWith is SQL that reads calls with the columns of a query, including those of its ends if ends is
// true.
func (c *Case) callsWith(f *duck.Facts, ends bool, files *fileList) string {
	v := c.views["calls"]
	has := func(name string) bool { return f.Whole || slices.Contains(f.Columns, name) }
	var read, raw, out []string
	var src, dst bool
	for _, col := range v.columns[len(v.raw):] {
		src = src || ends && strings.HasPrefix(col.Name, "src_") && has(col.Name)
		dst = dst || ends && strings.HasPrefix(col.Name, "dst_") && has(col.Name)
	}
	needed := []string{"bundle", "call_no", "ts_ns"}
	if src {
		needed = append(needed, "src_id")
	}
	if dst {
		needed = append(needed, "dst_id")
	}
	for _, col := range v.raw {
		if slices.Contains(needed, col.Name) || has(col.Name) {
			read, raw, out = append(read, col.Name), append(raw, quote.Ident(col.Name)), append(out, "t."+quote.Ident(col.Name))
		}
	}
	if c.mask {
		read = append(read, redact.ContextColumns...)
	}
	if f.Whole {
		read = nil
	}
	for _, col := range v.nulls(f.Columns) {
		raw, out = append(raw, nullSQL(col)), append(out, "t."+quote.Ident(col.Name))
	}
	source := c.masked(c.reads("calls", eachOnce, read, files.parquet), v.raw, has)
	inner := "SELECT " + strings.Join(raw, ", ") + " FROM (" + source + ")"
	if !ends {
		return inner
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
	sql := "SELECT " + strings.Join(out, ", ") + " FROM (" + inner + ") t"
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
	err = c.short(p, sql, args, func(db *duck.DB, sql string, args []any) error {
		rows, err = db.Query(ctx, sql, args...)
		return err
	})
	return rows, err
}

// short calls do with narrowed SQL. If that fails, it calls do with the original SQL, so that an
// error has its place in the user's text.
func (c *Case) short(p *plan, sql string, args []any, do func(db *duck.DB, sql string, args []any) error) error {
	if p.facts == nil {
		return do(p.db, sql, args)
	}
	if short, all := c.narrow(sql, args, *p.facts); short != sql {
		err := do(p.db.Hiding("calls", "calls_raw"), short, all)
		if bad := (*duck.SyntaxError)(nil); !errors.As(err, &bad) {
			return err
		}
	}
	return do(c.withAbsent(p.db, p.facts), sql, args)
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
