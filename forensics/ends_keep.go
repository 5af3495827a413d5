package forensics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/copies"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/ends"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// keep writes the joined ends to the database. It returns nil if no call has better ends than its own.
func (j *endJoin) keep(ctx context.Context, cols []duck.Column, made []*ends.Row) (*betterEnds, error) {
	contrary, err := j.contrary(ctx)
	if err != nil {
		return nil, err
	}
	out := &betterEnds{replaced: make([][]string, len(j.c.bundles)), made: int64(len(made))}
	better := j.calls[:0]
	row := make([]any, 2+len(betterColumns))
	for _, k := range j.calls {
		j.values(&k, row)
		found := false
		for n, col := range betterColumns {
			if row[2+n] == nil {
				continue
			}
			found = true
			if list := &out.replaced[k.Bundle]; !slices.Contains(*list, col) {
				*list = append(*list, col)
			}
		}
		if found {
			better = append(better, k)
		}
	}
	if len(better) == 0 && len(contrary) == 0 {
		return nil, nil
	}
	out.contrary = int64(len(contrary))
	columns := []string{"bundle INTEGER", "call_no BIGINT", "src_id BIGINT", "dst_id BIGINT", "src_ip VARCHAR", "src_port INTEGER", "dst_ip VARCHAR", "dst_port INTEGER"}
	if err := j.c.insertPlain(ctx, endsTable, columns, len(better), func(i int, row []any) { j.values(&better[i], row) }); err != nil {
		return nil, err
	}
	if err := j.c.insert(ctx, contraryTable, "bundle INTEGER, ts_ns BIGINT, ts TIMESTAMP, source VARCHAR, kind VARCHAR, detail VARCHAR, flow_id BIGINT, packet_no BIGINT, lost_bytes BIGINT, count BIGINT", contrary); err != nil {
		return nil, err
	}
	return out, j.keepMade(ctx, cols, made)
}

// values writes a row of endsTable: what differs from the call's own ends.
func (j *endJoin) values(k *endCall, row []any) {
	row[0], row[1] = int64(k.Bundle), k.No
	for side, no := range k.sets {
		row[2+side], row[4+2*side], row[5+2*side] = nil, nil, nil
		if s := &j.list[no]; s.made {
			row[2+side] = s.id
		}
		if k.addr >= 0 {
			a := &j.addrs[k.addr]
			row[4+2*side], row[5+2*side] = a.ip[side], a.port[side]
		}
	}
}

func (j *endJoin) keepMade(ctx context.Context, cols []duck.Column, made []*ends.Row) error {
	var types []string
	rows := make([][]any, len(made))
	for _, col := range cols {
		types = append(types, quote.Ident(col.Name)+" "+col.Type)
		for i, r := range made {
			switch col.Name {
			case "bundle":
				rows[i] = append(rows[i], int64(r.Bundle))
			case "endpoint_id":
				rows[i] = append(rows[i], r.ID)
			default:
				rows[i] = append(rows[i], r.Values.Get(col.Name))
			}
		}
	}
	return j.c.insert(ctx, madeTable, strings.Join(types, ", "), rows)
}

// contrary makes the anomalies: one for each flow with an end of which bundles name different owners.
func (j *endJoin) contrary(ctx context.Context) ([][]any, error) {
	if !slices.Contains(j.c.order, "anomalies") {
		return nil, nil
	}
	calls := map[copies.Row]*endCall{}
	numbers := make([][]int64, len(j.c.bundles))
	for i := range j.calls {
		if k := &j.calls[i]; j.list[k.sets[0]].readings != "" || j.list[k.sets[1]].readings != "" {
			calls[k.Row] = k
			numbers[k.Bundle] = append(numbers[k.Bundle], k.No)
		}
	}
	type place struct {
		bundle int
		flow   int64
		side   int
		text   string
	}
	at := map[place]int{}
	var out [][]any
	for b, list := range numbers {
		if len(list) == 0 {
			continue
		}
		source := j.c.sourceOf(rowsOf{table: "calls"}, b, []string{"call_no", "ts_ns", "flow_id", "cites"}, parquet)
		rows, err := j.c.db.Query(ctx, "SELECT call_no, ts_ns, flow_id, cites[1].first FROM ("+source+") WHERE call_no IN (SELECT unnest(?)) ORDER BY ts_ns, call_no", list)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			for side, no := range calls[copies.Row{Bundle: b, No: rows.Int(0)}].sets {
				p := place{b, rows.Int(2), side, j.list[no].readings}
				if p.text == "" {
					continue
				}
				if n, ok := at[p]; ok {
					out[n][9] = out[n][9].(int64) + 1
					continue
				}
				at[p] = len(out)
				text := "bundles name different owners of the " + [2]string{"client", "server"}[side] + "; the first is shown: " + p.text
				out = append(out, []any{int64(b), rows.Int(1), micros(rows.Int(1)), "case", "contrary_ends", text, p.flow, rows.Int(3), int64(0), int64(1)})
			}
		}
		if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// micros is a time in SQL.
type micros int64

// Limits of one INSERT statement. DuckDB plans every literal, so many rows are texts that it splits.
const (
	literalRows = 500
	plainRows   = 200_000
)

// insertPlain makes a table with n rows of numbers and texts; get writes one. Every process of the database
// repeats the statements.
func (c *Case) insertPlain(ctx context.Context, name string, columns []string, n int, get func(i int, row []any)) error {
	if err := c.db.Exec(ctx, "CREATE TABLE "+name+"("+strings.Join(columns, ", ")+")"); err != nil {
		return err
	}
	const separator = "\x1f"
	row, texts := make([]any, len(columns)), make([][]byte, len(columns))
	for from := 0; from < n; from += plainRows {
		for k := range texts {
			texts[k] = texts[k][:0]
		}
		for i := from; i < min(n, from+plainRows); i++ {
			get(i, row)
			for k, v := range row {
				if i > from {
					texts[k] = append(texts[k], separator...)
				}
				switch v := v.(type) {
				case int64:
					texts[k] = strconv.AppendInt(texts[k], v, 10)
				case string:
					texts[k] = append(texts[k], strings.NewReplacer(separator, "\uFFFD", "\x00", "\uFFFD").Replace(v)...)
				}
			}
		}
		var values, lists []string
		for k, column := range columns {
			_, kind, _ := strings.Cut(column, " ")
			values = append(values, fmt.Sprintf("nullif(c%d, '')::%s", k, kind))
			lists = append(lists, fmt.Sprintf("unnest(string_split(%s, chr(31))) AS c%d", quote.SQL(string(texts[k])), k))
		}
		if err := c.db.Exec(ctx, "INSERT INTO "+name+" SELECT "+strings.Join(values, ", ")+" FROM (SELECT "+strings.Join(lists, ", ")+")"); err != nil {
			return err
		}
	}
	return nil
}

// insert makes a table with a few rows of any kind.
func (c *Case) insert(ctx context.Context, name, columns string, rows [][]any) error {
	if err := c.db.Exec(ctx, "CREATE TABLE "+name+"("+columns+")"); err != nil {
		return err
	}
	for part := range slices.Chunk(rows, literalRows) {
		b := []byte("INSERT INTO " + name + " VALUES ")
		for i, row := range part {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '(')
			for k, v := range row {
				if k > 0 {
					b = append(b, ',')
				}
				b = appendLiteral(b, v)
			}
			b = append(b, ')')
		}
		if err := c.db.Exec(ctx, string(b)); err != nil {
			return err
		}
	}
	return nil
}

// appendLiteral writes a value as SQL.
func appendLiteral(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "NULL"...)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case micros:
		return fmt.Appendf(b, "make_timestamp(%d // 1000)", int64(v))
	case []any:
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendLiteral(b, x)
		}
		return append(b, ']')
	case duck.Struct:
		b = append(b, '{')
		for i, f := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, quote.SQL(f.Name)...), ':')
			b = appendLiteral(b, f.Value)
		}
		return append(b, '}')
	case string: // no statement may have a zero byte
		return append(b, quote.SQL(strings.ReplaceAll(v, "\x00", "\uFFFD"))...)
	}
	return append(b, quote.SQL(fmt.Sprint(v))...) // a column of a later release
}

// withEnds is the SQL for rows of calls of a bundle with the ends that another bundle knows better, if
// any of the columns are of ends; nil means all columns.
func (c *Case) withEnds(sql string, bundle int, columns []string) string {
	if c.ends == nil {
		return sql
	}
	var replace []string
	for _, col := range c.ends.replaced[bundle] {
		if columns == nil || slices.Contains(columns, col) {
			replace = append(replace, fmt.Sprintf("coalesce(e.%[1]s, t.%[1]s) AS %[1]s", col))
		}
	}
	if len(replace) == 0 {
		return sql
	}
	return fmt.Sprintf("SELECT t.* REPLACE (%s) FROM (%s) t LEFT JOIN (SELECT * FROM %s WHERE bundle = %d) e ON e.call_no = t.call_no", strings.Join(replace, ", "), sql, endsTable, bundle)
}

// madeRows is the SQL for the rows that a table has in addition to those of the bundles, or empty.
func (c *Case) madeRows(name string) string {
	switch {
	case c.ends == nil:
	case name == "endpoints" && c.ends.made > 0:
		return "SELECT * FROM " + madeTable
	case name == "anomalies" && c.ends.contrary > 0:
		return "SELECT * FROM " + contraryTable
	}
	return ""
}

// eachRow reads the rows of SQL; the row that each gets is reused.
func (c *Case) eachRow(ctx context.Context, sql string, each func(row []any) error) error {
	return eachRow(ctx, c.db, sql, each)
}

func eachRow(ctx context.Context, db *duck.DB, sql string, each func(row []any) error) error {
	rows, err := db.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]any, len(rows.Columns))
	for rows.Next() {
		if err := rows.Row(row); err != nil {
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// copiesTable is the table with the copies; user queries cannot reach it.
const copiesTable = "memory.main.copies_of_calls"

// keepCopies writes the copies to the database.
func (c *Case) keepCopies(ctx context.Context, f *copies.Copies) error {
	return c.insertPlain(ctx, copiesTable, []string{"bundle INTEGER", "call_no BIGINT", "of_bundle INTEGER", "of_call_no BIGINT"}, len(f.Order), func(i int, row []any) {
		k := f.Order[i]
		of := f.Of[k]
		row[0], row[1], row[2], row[3] = int64(k.Bundle), k.No, int64(of.Bundle), of.No
	})
}

// sightingColumns are the columns of calls that view sightings has.
var sightingColumns = []string{"bundle", "call_no", "call_id", "ts_ns", "ts", "src_id", "dst_id", "src_ip", "src_port", "dst_ip", "dst_port"}

// makeSightings makes the view with the other sightings of calls.
func (c *Case) makeSightings() {
	var cols []duck.Column
	for _, col := range c.describe("calls") {
		if slices.Contains(sightingColumns, col.Name) {
			cols = append(cols, col)
		}
	}
	list := namesOf(cols)
	source := "SELECT t." + strings.Join(list, ", t.") + ", k.of_bundle, k.of_call_no FROM " + copiesTable + " k JOIN (" +
		c.reads(rowsOf{table: "calls"}, storedRows, list, parquet) + ") t ON t.bundle = k.bundle AND t.call_no = k.call_no"
	cols = append(cols, duck.Column{Name: "of_bundle", Type: "INTEGER"}, duck.Column{Name: "of_call_no", Type: "BIGINT"})
	c.defineView("sightings", source, cols, view{key: []string{"ts_ns", "bundle", "call_no"}, from: "ts_ns", to: "ts_ns"})
}

// defineView adds a view that no bundle has as a table.
func (c *Case) defineView(name, source string, cols []duck.Column, v view) {
	source = c.masked(source, cols)
	c.db.Define(duck.View{Name: name + "_raw", SQL: "CREATE VIEW memory.main." + name + "_raw AS " + source})
	c.addView(name, source, cols, v)
}

// defineTable adds a view whose rows every process of the database computes once, when a query first names it. None
// of its columns are masked.
func (c *Case) defineTable(name, source string, cols []duck.Column, v view) {
	c.db.Define(duck.View{Name: name + "_raw", SQL: "CREATE TABLE memory.main." + name + "_raw AS " + source})
	c.addView(name, "SELECT * FROM memory.main."+name+"_raw", cols, v)
}

func (c *Case) addView(name, source string, cols []duck.Column, v view) {
	c.db.Define(duck.View{Name: name, SQL: "CREATE VIEW memory.main." + name + " AS " + source})
	v.name, v.columns, v.raw = name, cols, cols
	c.views[name] = &v
	c.order = append(c.order, name)
}
