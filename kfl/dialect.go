package kfl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Dialect has the forms that differ between the engines for which a query is compiled. In a form, @
// is the next piece, and $ the variable of a lambda. An empty form is one that the engine lacks.
type Dialect struct {
	Name string

	quote   string                      // around a name
	literal func(string) string         // of text; nil: text is an argument
	pattern func(string) (string, bool) // a Go pattern in the engine's syntax; nil: as it is
	types   map[kind]string
	listOf  string            // type of a list of type @
	calls   map[string]string // string functions that differ from stringCalls
	lambdas
	texts
	numbers
}

// lambdas are the forms of lists.
type lambdas struct {
	list, filter, transform, length, has, element, first, flatten, keys, concat string
}

// texts are the forms of text and bytes.
type texts struct {
	contains, startsWith, endsWith, matches, extract                    string
	bytesContain, bytesStart, bytesEnd, bytesOf, unhex, hex, blobLength string
	octets, lowerName, part, last, tail, split, trimBlanks              string
}

// numbers are the forms of conversions and arithmetic.
type numbers struct {
	wide, quotient, remainder, over, fits, tried, finite, truncated, tryCast, hexNumber string
}

// duckDB is the dialect of Query.SQL.
var duckDB = Dialect{
	Name: "duckdb", quote: `"`, types: duckTypes, listOf: "@[]",
	lambdas: lambdas{
		list: "[@]", filter: "list_filter(@, lambda $: @)", transform: "list_transform(@, lambda $: @)", length: "len(@)", has: "list_contains(@, @)",
		// Bounds prevent overflow of the sum; element 0 and the one past the end are NULL.
		element: "list_extract(@, greatest(least(@, 2147483646), -1) + 1)",
		first:   "@[1]", flatten: "flatten(@)", keys: "list_sort(list_distinct(@))", concat: "array_to_string(@, ', ')",
	},
	texts: texts{
		contains: "contains(@, @)", startsWith: "starts_with(@, @)", endsWith: "ends_with(@, @)", matches: "regexp_matches(@, @)", extract: "regexp_extract(@, @)",
		// DuckDB cannot search a BLOB, so both are compared as hexadecimal, and a match must begin at
		// an even digit.
		bytesContain: "(contains(hex(@), hex(encode(@))) AND regexp_matches(hex(@), '(^(?:[0-9A-F]{2})*?' || hex(encode(@)) || ')'))",
		bytesStart:   "starts_with(hex(@), hex(encode(@)))", bytesEnd: "ends_with(hex(@), hex(encode(@)))", bytesOf: "encode(@)", unhex: "unhex(@)",
		hex: "lower(hex(@))", blobLength: "octet_length(@)", octets: "strlen(@)",
		// For ASCII text, which has as many bytes as characters, lower() is ten times as fast as
		// translate().
		lowerName: "CASE WHEN strlen(@) = length(@) THEN lower(@) ELSE " + lowerSQL + " END",
		part:      "split_part(@, '@', @)", last: "split_part(@, ':', -1)", tail: "substr(@, instr(@, '=') + 1)", split: "string_split(@, '@')", trimBlanks: "trim(@, chr(32) || chr(9))",
	},
	numbers: numbers{
		wide: "CAST(@ AS HUGEINT)", quotient: "CAST(@ AS HUGEINT) // CAST(@ AS HUGEINT)", remainder: "CAST(@ AS HUGEINT) % CAST(@ AS HUGEINT)", over: "@ / @",
		fits:  "CAST(list_filter([@], lambda $: $ BETWEEN -9223372036854775808 AND 9223372036854775807)[1] AS BIGINT)",
		tried: "list_filter([@], lambda $: $ IS NOT NULL)[1]", finite: "list_filter([@], lambda $: isfinite($))[1]",
		truncated: "TRY_CAST(trunc(@) AS BIGINT)", tryCast: "TRY_CAST(@ AS @)", hexNumber: "TRY_CAST('0x0' || @ AS INTEGER)",
	},
}

// spark is Spark 3.5, with and without ANSI mode.
var spark = Dialect{
	Name: "spark", quote: "`", literal: sparkLiteral, pattern: backtracking, listOf: "ARRAY<@>",
	types: map[kind]string{kBool: "BOOLEAN", kInt: "BIGINT", kFloat: "DOUBLE", kText: "STRING", kTime: "BIGINT", kDuration: "BIGINT", kBytes: "BINARY"},
	calls: map[string]string{
		"trim": "trim(BOTH '" + blanks + "' FROM @)", "split": "split(@, @, -1)", "join": "array_join(@, @)",
		"substring": "get(transform(array(named_struct('s', @, 'a', @, 'b', @)), kfl_s -> CASE WHEN kfl_s.a >= 0 AND kfl_s.a <= kfl_s.b AND kfl_s.b <= length(kfl_s.s) THEN substring(kfl_s.s, CAST(kfl_s.a + 1 AS INT), CAST(kfl_s.b - kfl_s.a AS INT)) END), 0)",
	},
	lambdas: lambdas{
		list: "array(@)", filter: "filter(@, $ -> @)", transform: "transform(@, $ -> @)", length: "CAST(array_size(@) AS BIGINT)", has: "array_contains(@, @)",
		element: "get(@, CAST(greatest(least(@, 2147483646), -1) AS INT))", first: "get(@, 0)", flatten: "flatten(@)", keys: "array_sort(array_distinct(@))", concat: "array_join(@, ', ')",
	},
	texts: texts{
		contains: "contains(@, @)", startsWith: "startswith(@, @)", endsWith: "endswith(@, @)", matches: "regexp_like(@, @)", extract: "regexp_extract(@, @, 0)",
		bytesContain: "contains(@, CAST(@ AS BINARY))", bytesStart: "startswith(@, CAST(@ AS BINARY))", bytesEnd: "endswith(@, CAST(@ AS BINARY))", bytesOf: "CAST(@ AS BINARY)", unhex: "unhex(@)",
		hex: "lower(hex(@))", blobLength: "CAST(length(@) AS BIGINT)", octets: "octet_length(@)", lowerName: lowerSQL,
		part: "split_part(@, '@', @)", last: "split_part(@, ':', -1)", tail: "substr(@, instr(@, '=') + 1)", split: "split(@, '@', -1)", trimBlanks: "trim(BOTH ' \t' FROM @)",
	},
	numbers: numbers{
		wide: "CAST(@ AS DECIMAL(19, 0))",
		quotient: "get(transform(array(named_struct('a', CAST(@ AS BIGINT), 'b', CAST(@ AS BIGINT))), $ -> CASE WHEN $.b = 0 THEN NULL " +
			"WHEN $.b = -1 THEN -CAST($.a AS DECIMAL(20, 0)) ELSE CAST($.a div $.b AS DECIMAL(20, 0)) END), 0)",
		remainder: "get(transform(array(named_struct('a', CAST(@ AS BIGINT), 'b', CAST(@ AS BIGINT))), $ -> CASE WHEN $.b = 0 THEN NULL WHEN $.b = -1 THEN $.a - $.a ELSE $.a % $.b END), 0)",
		over:      "try_divide(@, @)",
		fits:      "CAST(get(filter(array(@), $ -> $ BETWEEN -9223372036854775808BD AND 9223372036854775807BD), 0) AS BIGINT)",
		tried:     "@", finite: "get(filter(array(@), $ -> abs($) < CAST('Infinity' AS DOUBLE)), 0)",
		truncated: "CAST(get(filter(array(@), $ -> $ >= -9.223372036854775808E18 AND $ < 9.223372036854775808E18), 0) AS BIGINT)",
		tryCast:   "try_cast(@ AS @)", hexNumber: "CAST(conv('0' || @, 16, 10) AS BIGINT)",
	},
}

// trino is Trino 476.
var trino = Dialect{
	Name: "trino", quote: `"`, literal: plainLiteral, pattern: backtracking, listOf: "ARRAY(@)",
	types: map[kind]string{kBool: "BOOLEAN", kInt: "BIGINT", kFloat: "DOUBLE", kText: "VARCHAR", kTime: "BIGINT", kDuration: "BIGINT", kBytes: "VARBINARY"},
	calls: map[string]string{
		"trim": "trim(BOTH '" + blanks + "' FROM @)", "split": "split(@, @)", "join": "array_join(@, @)", "indexOf": "strpos(@, @) - 1",
		"substring": "element_at(transform(ARRAY[ROW(@, @, @)], kfl_s -> CASE WHEN kfl_s[2] >= 0 AND kfl_s[2] <= kfl_s[3] AND kfl_s[3] <= length(kfl_s[1]) THEN substr(kfl_s[1], kfl_s[2] + 1, kfl_s[3] - kfl_s[2]) END), 1)",
	},
	lambdas: lambdas{
		list: "ARRAY[@]", filter: "filter(@, $ -> @)", transform: "transform(@, $ -> @)", length: "cardinality(@)", has: "contains(@, @)",
		// element_at counts from the end below 0, and fails at 0.
		element: "element_at(@, nullif(greatest(least(@, 2147483646), -1) + 1, 0))",
		first:   "element_at(@, 1)", flatten: "flatten(@)", keys: "array_sort(array_distinct(@))", concat: "array_join(@, ', ')",
	},
	texts: texts{
		contains: "(strpos(@, @) > 0)", startsWith: "starts_with(@, @)", endsWith: "starts_with(reverse(@), reverse(@))", matches: "regexp_like(@, @)", extract: "regexp_extract(@, @)",
		bytesContain: "regexp_like(to_hex(@), '\\A(?:[0-9A-F]{2})*?' || to_hex(to_utf8(@)))",
		bytesStart:   "starts_with(to_hex(@), to_hex(to_utf8(@)))", bytesEnd: "starts_with(reverse(to_hex(@)), reverse(to_hex(to_utf8(@))))", bytesOf: "to_utf8(@)", unhex: "from_hex(@)",
		hex: "lower(to_hex(@))", blobLength: "length(@)", octets: "length(to_utf8(@))", lowerName: lowerSQL,
		part: "split_part(@, '@', @)", last: "reverse(split_part(reverse(@), ':', 1))", tail: "substr(@, strpos(@, '=') + 1)", split: "split(@, '@')", trimBlanks: "trim(BOTH ' \t' FROM @)",
	},
	numbers: numbers{
		wide:      "CAST(@ AS DECIMAL(19, 0))",
		quotient:  "element_at(transform(ARRAY[ROW(CAST(@ AS BIGINT), CAST(@ AS BIGINT))], $ -> CASE WHEN $[2] = 0 THEN NULL WHEN $[2] = -1 THEN -CAST($[1] AS DECIMAL(20, 0)) ELSE CAST($[1] / $[2] AS DECIMAL(20, 0)) END), 1)",
		remainder: "element_at(transform(ARRAY[ROW(CAST(@ AS BIGINT), CAST(@ AS BIGINT))], $ -> CASE WHEN $[2] = 0 THEN NULL WHEN $[2] = -1 THEN $[1] - $[1] ELSE $[1] % $[2] END), 1)",
		over:      "CAST(@ AS DOUBLE) / CAST(@ AS DOUBLE)",
		fits:      "CAST(element_at(filter(ARRAY[@], $ -> $ BETWEEN DECIMAL '-9223372036854775808' AND DECIMAL '9223372036854775807'), 1) AS BIGINT)",
		tried:     "@", finite: "element_at(filter(ARRAY[@], $ -> is_finite($)), 1)",
		truncated: "TRY_CAST(truncate(@) AS BIGINT)", tryCast: "TRY_CAST(@ AS @)", hexNumber: "TRY(from_base('0' || @, 16))",
	},
}

var dialects = []*Dialect{&duckDB, &spark, &trino}

// Dialects returns the names of the dialects that SQLIn knows.
func Dialects() (names []string) {
	for _, d := range dialects {
		names = append(names, d.Name)
	}
	return names
}

// SQLIn returns the query as a condition in a dialect, complete with its texts, on a relation that
// has the columns of the view calls. The error is an *Error, with the place of the part that the
// dialect does not support.
func (q *Query) SQLIn(dialect string) (string, error) {
	at := slices.Index(Dialects(), dialect)
	if at < 0 {
		return "", fmt.Errorf("unknown dialect %q: use %s", dialect, strings.Join(Dialects(), ", "))
	}
	d := *dialects[at]
	if d.literal == nil {
		// DuckDB 2 refuses a division by 0; the release that pcapsule contains returns NULL.
		d.literal, d.over = plainLiteral, "@ / nullif(@, 0)"
		d.quotient, d.remainder = "CAST(@ AS HUGEINT) // nullif(CAST(@ AS HUGEINT), 0)", "CAST(@ AS HUGEINT) % nullif(CAST(@ AS HUGEINT), 0)"
	}
	w := &writer{d: &d, src: q.src}
	if usesXML(q.root) {
		w.lacks(q.root, "xml()")
	}
	where := w.cond(q.root)
	switch {
	case w.lacking != nil:
		return "", w.lacking
	case w.tooLong:
		err := parse.ErrorAt(q.src, 0, len(q.src), "split the query", "the query compiles to more than %d bytes of SQL", maxSQL)
		err.Limit = true
		return "", err
	}
	return where.sql, nil
}

// lacks records that the dialect cannot express n, and returns a placeholder.
func (w *writer) lacks(n *node, what string) frag {
	if w.lacking == nil {
		w.lacking = parse.ErrorAt(w.src, n.pos, max(n.pos, n.end), "pcapsule query and pcapsule lake query can, with DuckDB", "dialect %s cannot express %s", w.d.Name, what)
	}
	return frag{sql: "NULL"}
}

// beyond names an operation that only DuckDB's dialect has, because it reads other tables than
// calls or needs functions that the other engines lack.
func beyond(n *node) string {
	switch n.op {
	case opDoc, opPath, opParse, opSpread, opDeep:
		return "json()"
	case opBodyIs, opBodyHas, opBodyRe, opWhole, opBody:
		return "a message body"
	case opXML, opXMLStep, opXMLDeep:
		return "xml()"
	case opFinding, opFindings:
		return "findings"
	case opJoined:
		return n.str + ", a column of another table"
	case opConvert:
		if n.args[0].typ.kind == kJSON {
			return "json()"
		}
		if n.typ.kind == kText && n.args[0].typ.kind == kFloat {
			return "string() of a float"
		}
	}
	return ""
}

// fn writes a form with a lambda's variable.
func (w *writer) fn(form, variable string, parts ...frag) frag {
	return w.f(strings.ReplaceAll(form, "$", variable), parts...)
}

// put writes a form in which every @ is the same text.
func put(form, text string) string { return strings.ReplaceAll(form, "@", text) }

// plainLiteral is standard SQL's literal. DuckDB refuses U+0000 in SQL text.
func plainLiteral(s string) string {
	s = "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, "\x00") {
		return "(" + strings.ReplaceAll(s, "\x00", "' || chr(0) || '") + ")"
	}
	return s
}

// sparkLiteral escapes backslashes, and the beginning of a variable such as ${x}, which Spark
// replaces before it parses.
func sparkLiteral(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "${", `\u0024{`, "\x00", `\0`).Replace(s) + "'"
}
