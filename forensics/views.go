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
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// view is one table of a case, or the calls of one protocol.
type view struct {
	name    string
	rows    rowsOf
	columns []duck.Column // columns as queries see them
	raw     []duck.Column // columns of NAME_raw, without the endpoints; nil if there is none
	own     []duck.Column // columns of the case's protocols that queries of table calls may name, and that SELECT * lacks
	absent  []duck.Column // columns that queries may name, and that have no value
	key     []string      // columns that identify a row, in default order
	from    string        // column with the first time of a row, or empty
	to      string        // column with its last time
}

// has reports whether queries may name a column.
func (v *view) has(column string) bool {
	return hasColumn(v.columns, column) || hasColumn(v.own, column) || hasColumn(v.absent, column)
}

// all lists every column that has a value in the case: those of NAME_raw, those of protocols, and those of the ends.
func (v *view) all() []duck.Column {
	return slices.Concat(v.columns[:len(v.raw)], v.own, v.columns[len(v.raw):])
}

// stored lists the columns that are read from files and not from table endpoints.
func (v *view) stored() []duck.Column { return slices.Concat(v.raw, v.own) }

// names lists the columns with a value.
func (v *view) names() []string { return namesOf(v.all()) }

func namesOf(columns []duck.Column) (list []string) {
	for _, c := range columns {
		list = append(list, c.Name)
	}
	return list
}

func hasColumn(list []duck.Column, name string) bool {
	return slices.ContainsFunc(list, func(c duck.Column) bool { return c.Name == name })
}

// without returns the columns whose names no other list has.
func without(columns []duck.Column, others ...[]duck.Column) (list []duck.Column) {
	names := map[string]bool{}
	for _, other := range others {
		for _, col := range other {
			names[col.Name] = true
		}
	}
	for _, col := range columns {
		if !names[col.Name] {
			list = append(list, col)
		}
	}
	return list
}

// keys are the columns that order and identify the rows of each table.
var keys = map[string][]string{
	"calls": {"ts_ns", "call_no"}, "flows": {"first_ns", "flow_id"}, "connections": {"first_ns", "conn_id"},
	"packets": {"ts_ns", "packet_no"}, "endpoints": {"endpoint_id"}, "clocks": {"clock_id"}, "tls_handshakes": {"call_no"},
}

// spans are the columns with the times of a row's traffic.
var spans = map[string][2]string{
	"flows": {"first_ns", "last_ns"}, "connections": {"first_ns", "last_ns"}, "coverage": {"from_ns", "to_ns"},
}

// makeViews makes a view for every table that any bundle has, and for the calls of every protocol that the case has. If an
// older bundle lacks a table, the view reads it from the others.
func (c *Case) makeViews(ctx context.Context) error {
	c.views = map[string]*view{}
	if err := c.readTables(); err != nil {
		return err
	}
	for _, s := range table.All() {
		c.order = append(c.order, s.Name)
	}
	var others []string
	for name := range c.stated {
		if plainName(name) && !slices.Contains(c.order, name) && !strings.HasSuffix(name, "_raw") {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	c.order = append(c.order, others...)
	c.order = slices.DeleteFunc(c.order, func(name string) bool { return c.source(name) == "" })
	for _, name := range c.order {
		if err := fits(name, c.stated[name]); err != nil {
			return err
		}
	}
	found, err := c.tellCopies(ctx)
	if err != nil {
		return err
	}
	// Endpoints come first: other views join them.
	making := slices.Clone(c.order)
	if i := slices.Index(making, "endpoints"); i > 0 {
		making = slices.Insert(slices.Delete(making, i, i+1), 0, "endpoints")
	}
	for _, name := range making {
		c.makeView(c.newView(name, rowsOf{table: name}, c.describe(name)))
	}
	c.makeRelations()
	if c.copies == nil {
		return nil
	}
	c.makeSightings()
	if c.views["connections"] == nil {
		return nil
	}
	if err := c.makeSameConnections(ctx, found.Conns); err != nil {
		return fmt.Errorf("table connections: %w", err)
	}
	return nil
}

// makeRelations makes the views of protocols, and those of table calls for columns of protocols.
func (c *Case) makeRelations() {
	calls := c.views["calls"]
	if calls == nil {
		return
	}
	there := c.calls.there()
	calls.own = without(c.calls.ofProtocols(there), calls.columns)
	calls.absent = without(c.calls.all(), calls.columns, calls.own)
	c.offerReceipts(calls)
	for _, protocol := range there {
		if v := c.relation(protocol); v != nil && c.views[protocol] == nil && plainName(protocol) {
			c.makeView(v)
			c.order = append(c.order, protocol)
		}
	}
}

// relation returns the view of a table or of a protocol's calls; nil if there is none. A protocol that this release knows and
// of which the case has no calls has a view without rows, which the database does not have.
func (c *Case) relation(name string) *view {
	if v := c.views[name]; v != nil {
		return v
	}
	own, ok := c.calls.own[name]
	if !ok || c.views["calls"] == nil {
		return nil
	}
	v := c.newView(name, rowsOf{table: "calls", protocols: []string{name}}, c.describe("calls"))
	if slices.Contains(c.calls.there(), name) {
		v.raw = append(v.raw, own...)
	}
	c.columnsOf(v)
	v.absent = without(c.calls.all(), v.columns)
	c.offerReceipts(v)
	v.setKeys(c.several())
	return v
}

// tellCopies finds calls that are in several bundles, or nil if no times of bundles overlap, and shares names between the bundles
// that have the same calls.
func (c *Case) tellCopies(ctx context.Context) (*copies.Copies, error) {
	if !c.several() || !slices.Contains(c.order, "calls") {
		return nil, nil
	}
	redacted := make([]bool, len(c.bundles))
	for i, b := range c.bundles {
		redacted[i] = slices.ContainsFunc(b.Manifest.Derived.Lacks(), func(l bundle.Lack) bool { return l.Reason == bundle.LackRedaction })
	}
	all := copies.Case{Query: c.eachRow, Windows: c.windows(), Ranks: c.ranks(), Redacted: redacted, Conns: c.allOf("connections"),
		Calls: func(i int) string { return c.sourceOf(rowsOf{table: "calls"}, i, namesOf(c.calls.shared), parquet) }}
	f, err := all.Find(ctx)
	if err != nil || f == nil {
		return nil, err
	}
	c.copies, c.copied = f.Some, int64(len(f.Order))
	if err := c.keepCopies(ctx, f); err != nil || c.copied == 0 {
		return f, err
	}
	if err := c.shareNames(ctx, f); err != nil {
		return nil, err
	}
	c.ends, err = c.joinEnds(ctx)
	return f, err
}

// source is the SQL that reads a table's parts, or empty if no bundle has it. A call in several
// bundles is one row of calls.
func (c *Case) source(name string) string {
	return c.reads(rowsOf{table: name}, eachOnce, nil, parquet)
}

// allOf is the SQL for every row of every bundle, as stored.
func (c *Case) allOf(name string) string {
	return c.reads(rowsOf{table: name}, storedRows, nil, parquet)
}

// extent selects the rows of a table to read.
type extent int

const (
	storedRows extent = iota // as the bundles have them
	withCopies               // all rows; a call in several bundles has the best known ends
	eachOnce                 // the same without the copies of calls
)

// reads is the SQL for rows of a table. It has at least the listed columns, or all without a list. read
// writes the SQL for files.
func (c *Case) reads(r rowsOf, which extent, columns []string, read reader) string {
	var parts []string
	for i := range c.bundles {
		sql := c.sourceOf(r, i, columns, read)
		if sql == "" {
			continue
		}
		if r.table == "calls" && which == eachOnce && c.copies != nil && c.copies[i] {
			sql = fmt.Sprintf("SELECT * FROM (%s) ANTI JOIN (SELECT call_no FROM %s WHERE bundle = %d) USING (call_no)", sql, copiesTable, i)
		}
		if r.table == "calls" && which != storedRows {
			sql = c.withEnds(sql, i, columns)
		}
		parts = append(parts, sql)
	}
	if made := c.madeRows(r.table); made != "" && which != storedRows {
		parts = append(parts, made)
	}
	return strings.Join(parts, " UNION ALL BY NAME ")
}

// sourceOf reads the parts of one bundle's table. It has at least those of the listed columns that the
// bundle has, or all without a list.
func (c *Case) sourceOf(r rowsOf, i int, columns []string, read reader) string {
	if c.renamed != nil && columns != nil {
		columns = append(slices.Clone(columns), "conn_id")
	}
	late := r.table == "calls" && slices.ContainsFunc(columns, isReceipt)
	if late {
		columns = append(slices.Clone(columns), receiptNeeds...)
	}
	list, from := c.filesOf(r, i, columns, read)
	if from == "" {
		return ""
	}
	if b := c.bundles[i]; b.Manifest.Accounts.Counters["flow"][bundle.TurnedFlows] > 0 {
		list += bundle.Turn(r.table, parquet(b.TableParts("flows"), true))
	}
	if c.several() {
		list = fmt.Sprintf("CAST(%d AS INTEGER) AS bundle, ", i) + list
	}
	sql := "SELECT " + list + " FROM " + from
	if late {
		sql = c.withReceipts(sql, i, columns, read)
	}
	return c.withNames(sql, r.table, i, columns)
}

// reader writes the SQL that reads files of one table. union says that some of the columns are not in all of them.
type reader func(files []string, union bool) string

// parquet is a reader that names the files in the SQL.
func parquet(files []string, union bool) string {
	var list []string
	for _, f := range files {
		list = append(list, quote.SQL(escapeGlob(f)))
	}
	return parquetFiles("["+strings.Join(list, ", ")+"]", union)
}

// parquetFiles is the SQL that reads a list of files.
func parquetFiles(list string, union bool) string {
	return fmt.Sprintf("read_parquet(%s, hive_partitioning=false, union_by_name=%t)", list, union)
}

// escapeGlob escapes a path so that read_parquet does not treat it as a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(path)
}

// newView begins the view of rows with these columns.
func (c *Case) newView(name string, rows rowsOf, raw []duck.Column) *view {
	return &view{name: name, rows: rows, raw: raw}
}

// makeView has the database make a view when a query first names it.
func (c *Case) makeView(v *view) {
	source := c.reads(v.rows, eachOnce, namesOf(v.raw), parquet)
	joined := c.joined(v, maskedSchema)
	seen := c.readMasked(v.rows, eachOnce, v.raw, parquet)
	if c.mask && (seen != source || strings.Contains(joined[1], "JOIN")) {
		c.unmasked = append(c.unmasked, viewSQL("CREATE TEMP VIEW", unmaskedSchema, v.name, source, c.joined(v, unmaskedSchema))...)
	}
	c.db.Define(viewSQL("CREATE VIEW", maskedSchema, v.name, seen, joined)...)
	c.columnsOf(v)
	v.setKeys(c.several())
	c.views[v.name] = v
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

// columnsOf sets the columns of a view: those of NAME_raw, the exact time, and those of both endpoints.
func (c *Case) columnsOf(v *view) {
	v.columns = slices.Clone(v.raw)
	if hasColumn(v.raw, "ts_ns") {
		v.columns = append(v.columns, duck.Column{Name: "ts_exact", Type: "TIMESTAMP_NS"})
	}
	for _, prefix := range []string{"src_", "dst_"} {
		for _, col := range c.endColumns(v, prefix) {
			v.columns = append(v.columns, duck.Column{Name: prefix + col.Name, Type: col.Type})
		}
	}
}

// endColumns lists the columns of an endpoint that a view has with a prefix, which are those that its table has not itself,
// such as src_ip.
func (c *Case) endColumns(v *view, prefix string) (list []duck.Column) {
	ends := c.views["endpoints"]
	if ends == nil || !hasColumn(v.raw, "src_id") || !hasColumn(v.raw, "dst_id") {
		return nil
	}
	for _, col := range ends.columns {
		if col.Name != "endpoint_id" && col.Name != "bundle" && !hasColumn(v.raw, prefix+col.Name) {
			list = append(list, col)
		}
	}
	return list
}

// joined is the SQL around NAME_raw that adds the exact time and both endpoints from the schema's view.
func (c *Case) joined(v *view, schema string) [2]string {
	list, from := "SELECT t.*", " t"
	if hasColumn(v.raw, "ts_ns") {
		list += ", make_timestamp_ns(t.ts_ns) AS ts_exact"
	}
	for _, end := range []struct{ alias, prefix, id string }{{"s", "src_", "src_id"}, {"d", "dst_", "dst_id"}} {
		columns := c.endColumns(v, end.prefix)
		if columns == nil {
			continue
		}
		for _, col := range columns {
			list += fmt.Sprintf(", %s.%s AS %s", end.alias, quote.Ident(col.Name), quote.Ident(end.prefix+col.Name))
		}
		from += c.joinEnd(schema, end.alias, end.id)
	}
	return [2]string{list + " FROM ", from}
}

// masked reads a source with these columns and masks them.
func (c *Case) masked(source string, cols []duck.Column) string {
	replace := c.Policy().Replace(cols)
	if !c.mask || len(replace) == 0 {
		return source
	}
	return "SELECT * REPLACE (" + strings.Join(replace, ", ") + ") FROM (" + source + ")"
}

// readMasked reads columns of rows and masks them.
func (c *Case) readMasked(rows rowsOf, which extent, cols []duck.Column, read reader) string {
	all := cols
	if c.mask && rows.table == "calls" {
		there := slices.Concat(c.describe("calls"), c.calls.ofProtocols(c.calls.among(rows)))
		for _, name := range redact.Context(namesOf(cols)) {
			if i := slices.IndexFunc(there, func(col duck.Column) bool { return col.Name == name }); i >= 0 && !hasColumn(all, name) {
				all = append(slices.Clip(all), there[i])
			}
		}
	}
	source := c.masked(c.reads(rows, which, namesOf(all), read), all)
	if len(all) > len(cols) {
		source = "SELECT " + identList(namesOf(cols)) + " FROM (" + source + ")"
	}
	return source
}

func damagedTable(name string, err error) error {
	what, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), duck.ErrDamaged.Error()+": "), "\n") // the rest is our SQL
	return &bundle.DamagedError{File: "data/tables/" + name, What: what, Err: err}
}

// fits checks that a table of ours has the columns that its schema names, in their types.
func fits(name string, cols []duck.Column) error {
	schemas := table.All()
	at := slices.IndexFunc(schemas, func(s *table.Schema) bool { return s.Name == name })
	if at < 0 {
		return nil
	}
	for i := range schemas[at].Columns {
		want := &schemas[at].Columns[i]
		switch at := slices.IndexFunc(cols, func(c duck.Column) bool { return c.Name == want.Name }); {
		case at < 0:
			return badTable(name, "column "+want.Name+" is missing")
		case cols[at].Type != want.Kind.String():
			return badTable(name, fmt.Sprintf("column %s is %.100s instead of %s", want.Name, cols[at].Type, want.Kind))
		}
	}
	return nil
}

// setKeys sets the columns for the order and the times of rows.
func (v *view) setKeys(several bool) {
	v.key = nil
	list := keys[v.rows.table]
	for i, k := range list {
		if several && i == len(list)-1 {
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
	if s, ok := spans[v.rows.table]; ok && v.has(s[0]) && v.has(s[1]) {
		v.from, v.to = s[0], s[1]
	}
}

// isTable reports whether queries may use a name as a table.
func (c *Case) isTable(name string) bool {
	return c.relation(strings.TrimSuffix(name, "_raw")) != nil || c.kept[name]
}
