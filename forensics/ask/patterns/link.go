package patterns

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// The text of a call: without its values, and as it was.
var (
	callWords  = `CASE WHEN NOT ` + statements.Accesses + ` THEN NULL WHEN ` + statements.IsStatement + ` THEN ` + statements.Part("", "query") + ` ` + ownWords() + ` ELSE coalesce(method || ' ', '') || coalesce(path, '') END`
	valuesHash = `hash(CASE WHEN ` + statements.IsStatement + ` THEN array_to_string(` + statements.Part("", "params") + `, ',') ELSE coalesce(query_string, '') || coalesce(hex(request_body_sha256), '') END)`
)

// ownWords are the texts of protocols whose calls have other words than method and path.
func ownWords() (sql string) {
	for _, p := range table.AllTraits() {
		if p.Words != "" {
			sql += "WHEN protocol = '" + p.Protocol + "' THEN " + p.Words + " "
		}
	}
	return strings.TrimSpace(sql)
}

// allRequests is SQL for table a: the number of requests of each endpoint.
var allRequests = fmt.Sprintf(`a AS (SELECT bn, far, protocol, coalesce(method, '') AS method, %s AS tpl, count(*) AS n_all FROM %s WHERE protocol IN %s GROUP BY ALL)`, terms.PathTemplate, chainTable, terms.Serving)

// loadLinks loads the latest requests and the calls that they caused, once for all kinds that need
// them: tables chainTable, linkTable, and familyTable with the calls of requests that caused several.
func (l *finder) loadLinks(ctx context.Context) error {
	if l.linked {
		return nil
	}
	w, since, err := l.k.Latest(ctx, l.c, "protocol IN "+terms.Serving, relation.MaxParents)
	if err != nil {
		return err
	}
	if since != "" {
		l.note(fmt.Sprintf("n_plus_one, blocking, caching: only requests from %s on (the latest %d) and the calls that they caused were examined", since, relation.MaxParents))
	}
	bits := "0"
	switch {
	case !l.requested("caching"):
	case w.Kept != "":
		bits = "bits"
	default:
		bits = headerBits
	}
	calls := w.Ends(l.c, "service") + fmt.Sprintf(`SELECT %s AS k, call_id, protocol, method, path, endpoint, host, status_code, ts_ns, elapsed_us, %s AS done, ap, bp, bn, far, %s,
		%s AS raw, %s AS more, hash(%s) AS thing, %s AS stored, %s AS bits FROM x WHERE %s`, terms.NumberOf(l.c), terms.Until, relation.Ties, callWords, valuesHash, relation.Asked, statements.IsStatement+" AND "+statements.Accesses, bits, relation.Made)
	if w.Kept == "" {
		for _, name := range []string{"sname", "dname", "front"} {
			if err := l.c.Keep(ctx, name, forensics.Query{SQL: w.Ends(l.c, "service") + "SELECT * FROM " + name, Args: w.Args, Named: true}); err != nil {
				return err
			}
		}
	}
	for _, t := range l.linkTables(calls, w.Args) {
		if err := l.c.Keep(ctx, t.name, forensics.Query{SQL: t.sql, Args: t.args, Named: true}); err != nil {
			return err
		}
	}
	l.linked = true
	return nil
}

// tempTable is a temporary table.
type tempTable struct {
	name, sql string
	args      []any
}

// linkTables are the tables that loadLinks loads, in order. calls is the SQL of the first.
func (l *finder) linkTables(calls string, args []any) []tempTable {
	few := minSteps
	if !l.requested("blocking") {
		few = minSimilar
	}
	return []tempTable{
		{chainTable, calls, args},
		{linkTable, linkSQL, nil},
		{familyTable, fmt.Sprintf(`WITH q AS (SELECT pk FROM %[1]s WHERE with_text GROUP BY pk HAVING count(*) >= %[3]d),
			c AS MATERIALIZED (SELECT pk, grade, k, call_id, bn AS cbn, far AS cfar, protocol, ts_ns AS began, done, raw, more, endpoint, stored FROM %[1]s JOIN q USING (pk) JOIN %[2]s USING (k) WHERE with_text),
			t AS MATERIALIZED (SELECT raw, protocol, CASE WHEN stored THEN %[4]s WHEN protocol IN %[5]s THEN regexp_replace(raw, '[0-9]{2,}|[0-9a-fA-F-]{16,}|[0-9]+', '?', 'g') ELSE name END AS text FROM (SELECT raw, protocol, any_value(endpoint) AS name, bool_or(stored) AS stored FROM c GROUP BY raw, protocol))
			SELECT c.*, t.text FROM c JOIN t USING (raw, protocol)`, linkTable, chainTable, few, fmt.Sprintf(terms.NormalSQL, "raw"), table.ProtocolsIn(func(t *table.Traits) bool { return t.Words != "" })), nil},
	}
}

// linkSQL is relation.Linked for the calls of chainTable, with few columns: pk is the number of the
// request, with_text is true if the call has a text.
var linkSQL = fmt.Sprintf(`WITH par AS MATERIALIZED (%s), ci AS NOT MATERIALIZED (SELECT k, ap AS pod, trace, traced, req, reqd, ts_ns AS began, raw IS NOT NULL AS with_text FROM %s)
	SELECT k, pk, with_text, grade FROM (%s)`,
	relation.Requests(fmt.Sprintf("SELECT k, bp, ap AS up, trace, traced, req, reqd, ts_ns AS t0, done AS t1, %s FROM %s WHERE protocol IN %s", relation.Waits, chainTable, terms.Serving)), chainTable, relation.Linked("ci"))
