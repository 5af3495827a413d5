package duck

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/quote"
)

// Limits of a text that Gate passes.
const (
	MaxSQL     = 256 << 10 // bytes
	maxNesting = 200       // brackets in brackets
	// An arrow may be a lambda or a JSON path; DuckDB tries both, so its time doubles
	// with each arrow in an arrow, and nothing interrupts it there.
	maxArrows = 12
)

// Facts are the properties of a query that Gate finds.
type Facts struct {
	Tables   []string   // tables it names, lower case, sorted
	Columns  []string   // words of the columns it names, lower case, sorted
	Compared []Compared // columns that it compares with texts, sorted
	Defined  []string   // tables whose name its WITH defines, sorted
	Whole    bool       // it may ask for all columns of a table
	Ordered  bool       // it has an ORDER BY

	Protocols []string // if not nil, only rows of these protocols of table calls can matter; Gate does not find that
}

// Gate accepts sql if it is exactly one query that uses only tables (lower case) and functions that
// only compute. It does not run it. It returns
//   - *SyntaxError: it does not parse
//   - *RefusedError: it is not a query, or reaches outside the tables
func (d *DB) Gate(ctx context.Context, sql string, tables func(name string) bool) (Facts, error) {
	if len(sql) > MaxSQL {
		return Facts{}, &RefusedError{fmt.Sprintf("the SQL has %d bytes, the limit is %d", len(sql), MaxSQL)}
	}
	if strings.IndexByte(sql, 0) >= 0 {
		return Facts{}, &RefusedError{"the text holds a zero byte"}
	}
	// DuckDB's parser descends once for each bracket, on a stack that we do not own.
	if nesting(sql) > maxNesting {
		return Facts{}, &RefusedError{fmt.Sprintf("brackets nested more than %d deep", maxNesting)}
	}
	text, err := d.serialize(ctx, sql)
	if err != nil {
		return Facts{}, err
	}
	var tree parsed
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		if strings.Contains(err.Error(), "max depth") {
			return Facts{}, &RefusedError{tooDeep}
		}
		return Facts{}, &RefusedError{"a number is out of range; write 'Infinity'::DOUBLE for infinity"} // JSON has no word for it
	}
	switch {
	case tree.Error && deep(tree.Message):
		return Facts{}, &RefusedError{tooDeep}
	case tree.Error && tree.Kind == "parser":
		return Facts{}, syntaxAt(sql, tree.Message, tree.Position)
	case tree.Error:
		return Facts{}, &RefusedError{unreadable(sql, tree.Message)}
	case len(tree.Statements) == 0:
		return Facts{}, &RefusedError{"the query is empty"}
	case len(tree.Statements) != 1:
		return Facts{}, &RefusedError{fmt.Sprintf("%d statements, only one is allowed", len(tree.Statements))}
	}
	w := walk{tables: tables, names: map[string]bool{}, columns: map[string]bool{}, ctes: map[string]bool{}, single: map[string]bool{}, aliases: map[string]bool{}}
	w.collect(tree.Statements[0])
	w.visit(tree.Statements[0], 0)
	switch {
	case w.err != nil:
		return Facts{}, w.err
	case w.unknown != nil:
		return Facts{}, w.missing(sql)
	}
	return Facts{Tables: sorted(w.names), Columns: sorted(w.columns), Compared: inOrder(w.compared), Defined: w.defined(), Whole: w.asksWhole(), Ordered: isOrdered(tree.Statements[0])}, nil
}

// unreadable is the reason for refusing a statement that DuckDB parses and cannot show as a tree.
func unreadable(sql, message string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	switch {
	case !strings.HasPrefix(message, "Only SELECT"):
		return "the query has a part that cannot be checked, such as an array type with a length: write INT[] for INT[3]"
	case strings.EqualFold(word, "PIVOT"), strings.EqualFold(word, "PIVOT_WIDER"):
		return "PIVOT without values creates a type: list them, as in PIVOT calls ON protocol IN ('dns', 'http1') USING count(*)"
	}
	return "only queries are run: SELECT, FROM, WITH, VALUES, TABLE, DESCRIBE, SHOW, SUMMARIZE, PIVOT, UNPIVOT"
}

// parsed is the result of json_serialize_sql.
type parsed struct {
	Error      bool             `json:"error"`
	Kind       string           `json:"error_type"`
	Message    string           `json:"error_message"`
	Position   string           `json:"position"`
	Statements []map[string]any `json:"statements"`
}

// serialize parses sql with DuckDB. The function accepts only a literal, so the text is quoted; only a
// quote ends a literal.
func (d *DB) serialize(ctx context.Context, sql string) (string, error) {
	rows, err := d.Query(ctx, "SELECT CAST(json_serialize_sql("+quote.SQL(sql)+") AS VARCHAR)")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	if !rows.Next() {
		return "", fmt.Errorf("SQL: parsing: %w", rows.Err())
	}
	return rows.Text(0), nil
}

func syntaxAt(sql, msg, position string) *SyntaxError {
	e := &SyntaxError{Offset: -1, Msg: msg}
	at, err := strconv.Atoi(position)
	if err != nil || at < 0 || at > len(sql) {
		return e
	}
	e.Offset, e.Line = at, 1+strings.Count(sql[:at], "\n")
	e.Col = at - strings.LastIndexByte(sql[:at], '\n')
	return e
}

// nesting is the depth of brackets in sql. It also counts brackets in literals, which is safe.
func nesting(sql string) (deepest int) {
	depth := 0
	for i := range len(sql) {
		switch sql[i] {
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth--
		}
	}
	return deepest
}

// walk checks a parsed query. It rejects every node type that it does not know.
type walk struct {
	tables   func(string) bool
	ctes     map[string]bool
	names    map[string]bool
	columns  map[string]bool
	single   map[string]bool // columns that are named by one word
	aliases  map[string]bool // of tables
	compared []Compared
	whole    bool
	err      *RefusedError
	unknown  map[string]any // the first reference to a table that does not exist
}

func (w *walk) refuse(format string, args ...any) {
	if w.err == nil {
		w.err = &RefusedError{fmt.Sprintf(format, args...)}
	}
}

// collect finds the names that WITH defines. A name from another part of the query may hide a table
// here, so such a name must be a plain word, which cannot refer to a file.
func (w *walk) collect(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			w.collect(x)
		}
	case map[string]any:
		if m, ok := v["cte_map"].(map[string]any); ok {
			list, _ := m["map"].([]any)
			for _, e := range list {
				entry, _ := e.(map[string]any)
				w.cte(str(entry, "key"))
			}
		}
		if name := str(v, "cte_name"); name != "" {
			w.cte(name)
		}
		for _, x := range v {
			w.collect(x)
		}
	}
}

func (w *walk) cte(name string) {
	if !plain(name) {
		w.refuse("%s as a name in WITH, which must consist of letters, digits and _", strconv.Quote(name))
	}
	w.ctes[strings.ToLower(name)] = true
}

func plain(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if !(c >= 'a' && c <= 'z' || s[i] >= '0' && s[i] <= '9' || s[i] == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func (w *walk) visit(v any, arrows int) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			w.visit(x, arrows)
		}
	case map[string]any:
		w.object(v)
		if str(v, "class") == "LAMBDA" {
			if arrows++; arrows > maxArrows {
				w.refuse("more than %d arrows (->) in one another", maxArrows)
				return
			}
		}
		for key, x := range v {
			// A constant's value may look like anything.
			if key == "value" && str(v, "class") == "" && v["type"] != nil {
				continue
			}
			w.visit(x, arrows)
		}
	}
}

func (w *walk) object(o map[string]any) {
	kind := str(o, "type")
	if name, ok := o["function_name"].(string); ok {
		w.function(o, strings.ToLower(name))
	}
	switch str(o, "class") {
	case "COLUMN_REF":
		w.column(o)
		return
	case "POSITIONAL_REFERENCE":
		w.whole = true // #2 is the second of all columns
		return
	case "COMPARISON", "OPERATOR":
		w.compare(o)
		return
	case "":
	default:
		return
	}
	switch {
	case strings.HasSuffix(kind, "_NODE"):
		w.node(o)
		if !slices.Contains(nodes, kind) {
			w.refuse("%s is not a query", kind)
		}
	case kind == "BASE_TABLE":
		w.table(o)
	case kind == "SHOW_REF":
		w.show(o)
	case kind == "JOIN":
		w.join(o)
	case kind == "TABLE_FUNCTION":
		f, _ := o["function"].(map[string]any)
		if name := strings.ToLower(str(f, "function_name")); !slices.Contains(tableFunctions, name) {
			w.refuse("table function %s is not allowed; SHOW TABLES lists the tables of the case", strconv.Quote(name))
		}
	case o["sample"] != nil || kind == "EMPTY" || slices.Contains(references, kind):
	case isReference(o) && !slices.Contains(references, kind):
		w.refuse("%s cannot be read from", kind)
	}
}

// isReference reports whether o is a table reference.
func isReference(o map[string]any) bool {
	_, sample := o["sample"]
	_, alias := o["alias"]
	return sample && alias
}

var (
	nodes          = []string{"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
	references     = []string{"SUBQUERY", "JOIN", "EXPRESSION_LIST", "EMPTY", "PIVOT", "CTE", "COLUMN_DATA"}
	tableFunctions = []string{"range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row"}

	// Functions that read the configuration or a view's text, write somewhere, wait, take arguments
	// that only the optimizer may pass, or confirm masked values.
	badFunctions = []string{
		"current_setting", "current_query", "getenv", "nextval", "currval", "setseed", "sleep_ms", "pg_sleep", "stats", "write_log", "json_serialize_plan",
		"json_execute_serialized_sql", "query", "query_table", "which_secret", "finalize", "combine", "pg_get_viewdef", "pg_get_constraintdef", "format_type",
		"create_sort_key", "vector_type", "add_parquet_key", "parse_duckdb_log_message", "get_block_size",
	}
	badPrefixes = []string{"__internal", "pragma_", "duckdb_", "read_", "write_", "parquet_", "st_", "enable_", "disable_", "force_", "pcapsule_"}
)

func (w *walk) function(o map[string]any, name string) {
	if schema := str(o, "schema"); schema != "" && schema != "main" && schema != "pg_catalog" {
		w.refuse("function %s of schema %s", strconv.Quote(name), strconv.Quote(schema))
	}
	if b, _ := o["export_state"].(bool); b {
		w.refuse("EXPORT_STATE is not allowed")
	}
	bad := slices.Contains(badFunctions, name)
	for _, p := range badPrefixes {
		bad = bad || strings.HasPrefix(name, p)
	}
	if bad {
		w.refuse("function %s is not allowed", strconv.Quote(name))
	}
}

func (w *walk) table(o map[string]any) {
	name, schema, catalog := strings.ToLower(str(o, "table_name")), strings.ToLower(str(o, "schema_name")), strings.ToLower(str(o, "catalog_name"))
	if o["at_clause"] != nil {
		w.refuse("AT is not allowed")
	}
	if schema == "information_schema" && catalog == "" && (name == "tables" || name == "columns") {
		return
	}
	if catalog != "" && catalog != "memory" || schema != "" && schema != "main" && schema != "memory" {
		w.refuse("%s is not a table of the case", strconv.Quote(strings.TrimPrefix(catalog+"."+schema+"."+name, ".")))
		return
	}
	if w.ctes[name] && schema == "" && catalog == "" {
		if w.tables(name) {
			w.names[name] = true
		}
		return
	}
	if !w.tables(name) {
		if plain(name) && !strings.HasPrefix(name, "duckdb_") && !strings.HasPrefix(name, "pg_") && !strings.HasPrefix(name, "sqlite_") && !strings.HasPrefix(name, "pragma_") {
			if w.unknown == nil { // DuckDB would also find our own tables, and suggest those of its catalog
				w.unknown = o
			}
			return
		}
		w.refuse("%s is not a table of the case", strconv.Quote(name))
		return
	}
	w.names[name] = true
}

// missing is the error for the table that does not exist.
func (w *walk) missing(sql string) error {
	at, _ := w.unknown["query_location"].(json.Number)
	name := str(w.unknown, "table_name")
	e := syntaxAt(sql, "there is no table "+name+" in this case", at.String())
	e.Table = name
	return e
}

// show is DESCRIBE, SUMMARIZE or SHOW.
func (w *walk) show(o map[string]any) {
	if str(o, "catalog_name") != "" || str(o, "schema_name") != "" {
		w.refuse("SHOW of another schema")
	}
	if o["query"] != nil {
		w.whole = true
		return // the query below is visited as any other
	}
	name := strings.ToLower(strings.Trim(str(o, "table_name"), `"`))
	if name != "tables" && !w.tables(name) {
		w.refuse("SHOW %s is not allowed", strconv.Quote(name))
	}
}

func str(o map[string]any, key string) string {
	s, _ := o[key].(string)
	return s
}

// isOrdered reports whether the outermost query has an ORDER BY, or lists tables or columns, which have an order.
func isOrdered(statement map[string]any) bool {
	node, _ := statement["node"].(map[string]any)
	if from, _ := node["from_table"].(map[string]any); str(from, "type") == "SHOW_REF" {
		return true
	}
	list, _ := node["modifiers"].([]any)
	for _, m := range list {
		o, _ := m.(map[string]any)
		if str(o, "type") == "ORDER_MODIFIER" {
			return true
		}
	}
	return false
}

func sorted(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
