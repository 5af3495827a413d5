package forensics

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Table calls has about three hundred columns, including those of its ends, and DuckDB processes all
// of them for every query that uses the table. So a query gets the table with only the columns that
// it names, through two names in WITH that hide the views.

// narrow adds WITH clauses with only the columns that a query names, and their parameters before the
// query's own. It returns the query unchanged if it may use all columns.
func (c *Case) narrow(sql string, args []any, f duck.Facts) (string, []any) {
	wide, ends := slices.Contains(f.Tables, "calls_raw"), slices.Contains(f.Tables, "calls")
	if c.views["calls"] == nil || f.Whole || !wide && !ends {
		return sql, args
	}
	var with []string
	files := &fileList{bound: !strings.Contains(sql, "$")} // numbered parameters begin with $
	for _, name := range []string{"calls_raw", "calls"} {
		if slices.Contains(f.Tables, name) {
			with = append(with, name+" AS NOT MATERIALIZED ("+c.callsWith(f.Columns, name == "calls", files)+")")
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
	case "select":
		return "WITH " + with + "\n" + sql
	case "with":
		if next, after := word(rest); next == "recursive" {
			return "WITH RECURSIVE " + with + ",\n" + after
		}
		return "WITH " + with + ",\n" + rest
	}
	return sql
}

// word returns the first word of a query in lower case, or "" if it does not begin with a word, and
// the rest.
func word(sql string) (first, rest string) {
	sql = strings.TrimLeft(sql, " \t\r\n")
	i := 0
	for i < len(sql) && (sql[i]|0x20 >= 'a' && sql[i]|0x20 <= 'z') {
		i++
	}
	return strings.ToLower(sql[:i]), sql[i:]
}

// callsWith is SQL that reads calls with the named columns, including those of its ends if ends is
// true.
func (c *Case) callsWith(names []string, ends bool, files *fileList) string {
	v := c.views["calls"]
	has := func(name string) bool { return slices.Contains(names, name) }
	var read, raw, out []string
	var src, dst bool
	for _, col := range v.raw {
		if slices.Contains([]string{"bundle", "call_no", "src_id", "dst_id", "ts_ns"}, col.Name) || has(col.Name) {
			read, raw, out = append(read, col.Name), append(raw, duck.Ident(col.Name)), append(out, "t."+duck.Ident(col.Name))
		}
	}
	if c.mask {
		read = append(read, redact.ContextColumns...)
	}
	source := c.masked(c.reads("calls", true, read, files.parquet), v.raw, has)
	inner := "SELECT " + strings.Join(raw, ", ") + " FROM (" + source + ")"
	if !ends {
		return inner
	}
	for _, col := range v.columns[len(v.raw):] {
		name := duck.Ident(col.Name)
		switch {
		case !has(col.Name):
		case col.Name == "ts_exact":
			out = append(out, "make_timestamp_ns(t.ts_ns) AS ts_exact")
		case strings.HasPrefix(col.Name, "src_"):
			src, out = true, append(out, "s."+duck.Ident(col.Name[4:])+" AS "+name)
		case strings.HasPrefix(col.Name, "dst_"):
			dst, out = true, append(out, "d."+duck.Ident(col.Name[4:])+" AS "+name)
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
	err = c.short(p, sql, args, func(sql string, args []any) error {
		rows, err = p.db.Query(ctx, sql, args...)
		return err
	})
	if err == nil && p.spread != nil {
		rows.Spread(p.spread)
	}
	return rows, err
}

// short calls do with narrowed SQL. If that fails, it calls do with the original SQL, so that an
// error has its place in the user's text.
func (c *Case) short(p *plan, sql string, args []any, do func(sql string, args []any) error) error {
	if p.facts == nil {
		return do(sql, args)
	}
	short, all := c.narrow(sql, args, *p.facts)
	err := do(short, all)
	if bad := (*duck.SyntaxError)(nil); short != sql && errors.As(err, &bad) {
		return do(sql, args)
	}
	return err
}
