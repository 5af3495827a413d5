package forensics

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/copies"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/older"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// view is one table of a case.
type view struct {
	name    string
	columns []duck.Column // columns as queries see them
	raw     []duck.Column // columns of NAME_raw, without the endpoints; nil if there is none
	absent  []duck.Column // columns that queries may name, and that have no value
	key     []string      // columns that identify a row, in default order
	from    string        // column with the first time of a row, or empty
	to      string        // column with its last time
}

// has reports whether queries may name a column.
func (v *view) has(column string) bool {
	return hasColumn(v.columns, column) || hasColumn(v.absent, column)
}

// names lists the columns that queries see.
func (v *view) names() (list []string) {
	for _, c := range v.columns {
		list = append(list, c.Name)
	}
	return list
}

func hasColumn(list []duck.Column, name string) bool {
	return slices.ContainsFunc(list, func(c duck.Column) bool { return c.Name == name })
}

// keys are the columns that order and identify the rows of each table.
var keys = map[string][]string{
	"calls": {"ts_ns", "call_no"}, "flows": {"first_ns", "flow_id"}, "connections": {"first_ns", "conn_id"},
	"packets": {"ts_ns", "packet_no"}, "endpoints": {"endpoint_id"}, "clocks": {"clock_id"}, "tls": {"call_no"},
}

// spans are the columns with the times of a row's traffic.
var spans = map[string][2]string{
	"flows": {"first_ns", "last_ns"}, "connections": {"first_ns", "last_ns"}, "coverage": {"from_ns", "to_ns"},
}

// makeViews makes a view for every table that any bundle has. If an older bundle lacks a table, the
// view reads it from the others.
func (c *Case) makeViews(ctx context.Context) error {
	c.views = map[string]*view{}
	if err := c.splitCalls(ctx); err != nil {
		return fmt.Errorf("table calls: %w", err)
	}
	schemas := table.All()
	for _, s := range schemas {
		c.order = append(c.order, s.Name)
	}
	var others []string
	for _, b := range c.bundles {
		for _, t := range b.Manifest.Tables {
			if plainName(t.Name) && !slices.Contains(c.order, t.Name) && !slices.Contains(others, t.Name) && !strings.HasSuffix(t.Name, "_raw") {
				others = append(others, t.Name)
			}
		}
	}
	slices.Sort(others)
	c.order = append(c.order, others...)
	c.order = slices.DeleteFunc(c.order, func(name string) bool { return c.source(name) == "" })
	// Endpoints come first: other views join them.
	making := slices.Clone(c.order)
	if i := slices.Index(making, "endpoints"); i > 0 {
		making = slices.Insert(slices.Delete(making, i, i+1), 0, "endpoints")
	}
	found, err := c.tellCopies(ctx)
	if err != nil {
		return err
	}
	for _, name := range making {
		if err := c.makeView(ctx, name, schemas); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	if c.copies == nil {
		return nil
	}
	if err := c.makeSightings(ctx); err != nil {
		return err
	}
	if c.views["connections"] == nil {
		return nil
	}
	if err := c.makeSameConnections(ctx, found.Conns); err != nil {
		return fmt.Errorf("table connections: %w", err)
	}
	return nil
}

// tellCopies finds calls that are in several bundles, or nil if no times of bundles overlap, and shares names between the bundles
// that have the same calls.
func (c *Case) tellCopies(ctx context.Context) (*copies.Copies, error) {
	if !c.several() || !slices.Contains(c.order, "calls") {
		return nil, nil
	}
	cols, err := c.describe(ctx, "calls")
	if err != nil {
		return nil, fmt.Errorf("table calls: %w", err)
	}
	redacted := make([]bool, len(c.bundles))
	for i, b := range c.bundles {
		redacted[i] = slices.ContainsFunc(b.Manifest.Derived.Lacks(), func(l bundle.Lack) bool { return l.Reason == bundle.LackRedaction })
	}
	all := copies.Case{Query: c.eachRow, Windows: c.windows(), Ranks: c.ranks(), Redacted: redacted, Conns: c.allOf("connections"),
		Calls: func(i int) string { return c.sourceOf("calls", i, nil, parquet) }}
	f, err := all.Find(ctx)
	if err != nil || f == nil {
		return nil, err
	}
	c.copies, c.copied = f.Some, int64(len(f.Order))
	if err := c.keepCopies(ctx, f); err != nil || c.copied == 0 {
		return f, err
	}
	if err := c.shareNames(ctx, cols, f); err != nil {
		return nil, err
	}
	c.ends, err = c.joinEnds(ctx)
	return f, err
}

// source is the SQL that reads a table's parts, or empty if no bundle has it. A call in several
// bundles is one row of calls.
func (c *Case) source(name string) string { return c.reads(name, eachOnce, nil, parquet) }

// allOf is the SQL for every row of every bundle, as stored.
func (c *Case) allOf(name string) string { return c.reads(name, storedRows, nil, parquet) }

// extent selects the rows of a table to read.
type extent int

const (
	storedRows extent = iota // as the bundles have them
	withCopies               // all rows; a call in several bundles has the best known ends
	eachOnce                 // the same without the copies of calls
)

// reads is the SQL for rows of a table. It has at least the listed columns, or all without a list. read
// writes the SQL for files.
func (c *Case) reads(name string, which extent, columns []string, read func(files []string) string) string {
	var parts []string
	for i := range c.bundles {
		sql := c.sourceOf(name, i, columns, read)
		if sql == "" {
			continue
		}
		if name == "calls" && which == eachOnce && c.copies != nil && c.copies[i] {
			sql = fmt.Sprintf("SELECT * FROM (%s) ANTI JOIN (SELECT call_no FROM %s WHERE bundle = %d) USING (call_no)", sql, copiesTable, i)
		}
		if name == "calls" && which != storedRows {
			sql = c.withEnds(sql, i, columns)
		}
		parts = append(parts, sql)
	}
	if made := c.madeRows(name); made != "" && which != storedRows {
		parts = append(parts, made)
	}
	return strings.Join(parts, " UNION ALL BY NAME ")
}

// sourceOf reads the parts of one bundle's table. It has at least those of the listed columns that the
// bundle has, or all without a list.
func (c *Case) sourceOf(name string, i int, columns []string, read func(files []string) string) string {
	b := c.bundles[i]
	files, these := c.filesOf(name, i)
	if len(files) == 0 {
		return ""
	}
	turn, no := "", ""
	if b.Manifest.Accounts.Counters["flow"][bundle.TurnedFlows] > 0 {
		turn = bundle.Turn(name, parquet(b.TableParts("flows")))
	}
	if c.several() {
		no = fmt.Sprintf("CAST(%d AS INTEGER) AS bundle, ", i)
	}
	some := "*"
	if these != nil {
		some = someOf(these)
	}
	has := func(column string) bool {
		at := slices.IndexFunc(b.Manifest.Tables, func(t bundle.Table) bool { return t.Name == name })
		return at >= 0 && slices.ContainsFunc(b.Manifest.Tables[at].Columns, func(col bundle.Column) bool { return col.Name == column })
	}
	if c.renamed != nil && columns != nil {
		columns = append(slices.Clone(columns), "conn_id")
	}
	if added := older.Missing(name, has); turn != "" || added != "" {
		some += turn + added
	} else if columns != nil {
		some = someOf(columns)
	}
	return c.withNames(fmt.Sprintf("SELECT %s%s FROM %s", no, some, read(files)), name, i, columns)
}

// someOf is the SQL for the named columns that a source has. DuckDB binds an unused column as slowly as
// one that is read.
func someOf(names []string) string {
	if slices.ContainsFunc(names, func(name string) bool { return !plainName(name) }) {
		return "*" // the name could act as a pattern
	}
	return "COLUMNS('^(" + strings.Join(names, "|") + ")$')"
}

// parquet is the SQL that reads files of one table.
func parquet(files []string) string {
	var list []string
	for _, f := range files {
		list = append(list, quote.SQL(escapeGlob(f)))
	}
	return parquetFiles("[" + strings.Join(list, ", ") + "]")
}

// parquetFiles is the SQL that reads a list of files.
func parquetFiles(list string) string {
	return "read_parquet(" + list + ", hive_partitioning=false, union_by_name=true)"
}

// escapeGlob escapes a path so that read_parquet does not treat it as a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(path)
}

func (c *Case) makeView(ctx context.Context, name string, schemas []*table.Schema) error {
	v := &view{name: name}
	source := c.source(name)
	var err error
	if v.raw, err = c.describe(ctx, name); err != nil {
		return err
	}
	if err := fits(name, v.raw, schemas); err != nil {
		return err
	}
	seen := c.masked(source, v.raw, every)
	joined := c.joined(v, maskedSchema)
	if c.mask && (seen != source || strings.Contains(joined[1], "JOIN")) {
		c.unmasked = append(c.unmasked, viewSQL("CREATE TEMP VIEW", unmaskedSchema, name, source, c.joined(v, unmaskedSchema))...)
	}
	c.db.Define(viewSQL("CREATE VIEW", maskedSchema, name, seen, joined)...)
	if name == "calls" {
		v.absent = slices.DeleteFunc(slices.Clone(c.calls.all), func(col duck.Column) bool { return hasColumn(v.columns, col.Name) })
	}
	v.setKeys(c.several())
	c.views[name] = v
	return nil
}

// Schemas of the views: for all connections, and for Unmasked.
const maskedSchema, unmaskedSchema = "memory.main", "temp.main"

// viewSQL makes the views of a table in a schema: NAME_raw reads its source, and NAME adds the columns
// of joined.
func viewSQL(create, schema, name, source string, joined [2]string) []duck.View {
	raw := schema + "." + quote.Ident(name+"_raw")
	return []duck.View{
		{Name: name + "_raw", SQL: create + " " + raw + " AS " + source},
		{Name: name, SQL: create + " " + schema + "." + quote.Ident(name) + " AS " + joined[0] + raw + joined[1]},
	}
}

// joined is the SQL around NAME_raw that adds the exact time and both endpoints from the schema's view;
// it sets the columns of the view.
func (c *Case) joined(v *view, schema string) [2]string {
	exact := ""
	v.columns = slices.Clone(v.raw)
	if hasColumn(v.raw, "ts_ns") {
		exact = ", make_timestamp_ns(t.ts_ns) AS ts_exact"
		v.columns = append(v.columns, duck.Column{Name: "ts_exact", Type: "TIMESTAMP_NS"})
	}
	ends := c.views["endpoints"]
	if ends == nil || !hasColumn(v.raw, "src_id") || !hasColumn(v.raw, "dst_id") {
		return [2]string{"SELECT t.*" + exact + " FROM ", " t"}
	}
	return [2]string{"SELECT t.*" + exact + v.endColumns(ends, "s", "src_") + v.endColumns(ends, "d", "dst_") + " FROM ",
		" t" + c.joinEnd(schema, "s", "src_id") + c.joinEnd(schema, "d", "dst_id")}
}

// masked reads a source and masks the columns that want selects.
func (c *Case) masked(source string, cols []duck.Column, want func(name string) bool) string {
	replace := c.Policy().Replace(cols, want)
	if !c.mask || len(replace) == 0 {
		return source
	}
	return "SELECT * REPLACE (" + strings.Join(replace, ", ") + ") FROM (" + source + ")"
}

func every(string) bool { return true }

// describe finds the columns of a table.
//
// A part that somebody cut or overwrote is found here or when it is read, as an error
// that names the file: a bundle is only hashed when it is verified.
func (c *Case) describe(ctx context.Context, name string) ([]duck.Column, error) {
	files := &fileList{bound: true}
	cols, err := c.columnsOf(ctx, c.reads(name, storedRows, nil, files.parquet), files.args...)
	if err != nil {
		return nil, damagedTable(name, err)
	}
	return cols, nil
}

func damagedTable(name string, err error) error {
	what, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), duck.ErrDamaged.Error()+": "), "\n") // the rest is our SQL
	return &bundle.DamagedError{File: "data/tables/" + name, What: what, Err: err}
}

// fits checks that a table of ours has the columns that its schema names, in their types.
// A protocol that a bundle has not may lack its columns.
func fits(name string, cols []duck.Column, schemas []*table.Schema) error {
	at := slices.IndexFunc(schemas, func(s *table.Schema) bool { return s.Name == name })
	if at < 0 {
		return nil
	}
	plain := strings.NewReplacer(`"`, "").Replace
	for i := range schemas[at].Columns {
		want := &schemas[at].Columns[i]
		at := slices.IndexFunc(cols, func(c duck.Column) bool { return c.Name == want.Name })
		switch {
		case at < 0 && want.Protocol != "":
		case at < 0:
			return &bundle.DamagedError{File: "data/tables/" + name, What: "column " + want.Name + " is missing"}
		case plain(cols[at].Type) != plain(want.Kind.String()):
			return &bundle.DamagedError{File: "data/tables/" + name, What: fmt.Sprintf("column %s is %.100s instead of %s", want.Name, cols[at].Type, want.Kind)}
		}
	}
	return nil
}

func (c *Case) columnsOf(ctx context.Context, sql string, args ...any) ([]duck.Column, error) {
	rows, err := c.db.Query(ctx, sql+" LIMIT 0", args...)
	if err != nil {
		return nil, err
	}
	return rows.Columns, rows.Close()
}

// endColumns adds an endpoint's columns with a prefix, except those that the table has itself, such as
// src_ip. It returns the SQL for them.
func (v *view) endColumns(ends *view, alias, prefix string) string {
	var b strings.Builder
	for _, col := range ends.columns {
		if name := prefix + col.Name; col.Name != "endpoint_id" && col.Name != "bundle" && !hasColumn(v.raw, name) {
			fmt.Fprintf(&b, ", %s.%s AS %s", alias, quote.Ident(col.Name), quote.Ident(name))
			v.columns = append(v.columns, duck.Column{Name: name, Type: col.Type})
		}
	}
	return b.String()
}

// setKeys sets the columns for the order and the times of rows.
func (v *view) setKeys(several bool) {
	for _, k := range keys[v.name] {
		if several && (k == keys[v.name][len(keys[v.name])-1]) {
			v.key = append(v.key, "bundle")
		}
		v.key = append(v.key, k)
	}
	for _, k := range v.key {
		if !v.has(k) {
			v.key = nil
			break
		}
	}
	if v.has("ts_ns") {
		v.from, v.to = "ts_ns", "ts_ns"
	}
	if s, ok := spans[v.name]; ok && v.has(s[0]) && v.has(s[1]) {
		v.from, v.to = s[0], s[1]
	}
}

// isTable reports whether queries may use a name as a table.
func (c *Case) isTable(name string) bool {
	base := strings.TrimSuffix(name, "_raw")
	return c.views[base] != nil || c.kept[name]
}
