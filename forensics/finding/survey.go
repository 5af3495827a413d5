package finding

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// survey is which needs of analyzers hold in a scope. One query finds out all of them, because a query takes several
// milliseconds, however few rows there are.
type survey map[Need]bool

// has reports whether a need holds. It is true if that is not known.
func (s survey) has(n Need) bool {
	holds, known := s[n]
	return holds || !known
}

// any reports whether one of the needs holds, or there are none.
func (s survey) any(needs []Need) bool {
	return len(needs) == 0 || slices.ContainsFunc(needs, s.has)
}

// surveyOf finds out which needs of analyzers hold in the scope of a look. After an error nothing is known: what fails this
// query, such as a damaged table, also fails the analyzers that it concerns.
func surveyOf(ctx context.Context, l Look, analyzers []Analyzer) survey {
	needs := []Need{proxyLogin, Proxied}
	for _, a := range analyzers {
		needs = append(needs, a.Basis.Is...)
		for _, s := range a.Steps {
			needs = slices.Concat(needs, s.Needs, s.Parts)
		}
	}
	l.Unmasked() // masking would take longer than all else
	out, t := survey{}, tableau{l: &l, stated: statedRows(l.Case)}
	for _, n := range needs {
		if _, known := out[n]; known {
			continue
		}
		out[n] = t.add(n)
	}
	if t.join(); !t.read(ctx, out) {
		return nil
	}
	if t.proxied = out[Proxied]; t.proxied {
		t.parts = slices.DeleteFunc(t.parts, func(p *part) bool { return p.table != InWindow })
		if !t.read(ctx, out) {
			return nil
		}
	}
	return out
}

// tableau is the query of a survey.
type tableau struct {
	l      *Look
	stated map[string]stated
	parts  []*part

	proxied bool // some calls passed through a proxy, so the flows with such calls are of interest
}

// read runs the query. It returns false after an error.
func (t *tableau) read(ctx context.Context, to survey) bool {
	if len(t.parts) == 0 {
		return true
	}
	sql, args := t.sql()
	r, err := t.l.Case.Query(ctx, forensics.Query{SQL: sql, Args: args, Named: true})
	if err != nil || len(r.Rows) != 1 {
		return false
	}
	at := 0
	for _, p := range t.parts {
		for _, n := range p.needs {
			to[n], _ = r.Rows[0][at].(bool)
			at++
		}
	}
	return true
}

// part reads a table once, for all needs of it.
type part struct {
	table, where string
	protocols    []string // of calls; nil: all
	needs        []Need
}

// few is the number of calls that one pass compares with everything as fast as DuckDB plans another one.
const few = 50_000

// add adds a need to the query. It returns false if the manifests state that there are no rows that can meet it.
func (t *tableau) add(n Need) bool {
	p := part{table: n.Table, where: n.Where, needs: []Need{n}}
	if p.table == "calls_raw" && t.l.Where == "true" {
		p.table = InScope
	}
	rows, known := t.stated[p.stored()]
	switch {
	case !known:
	case rows.all == 0 || n.Protocols != "" && rows.of(n.Protocols) == nil:
		return false
	case p.table == InScope && rows.all <= few:
		p.where = ""
	default:
		p.protocols = rows.of(n.Protocols)
	}
	t.parts = append(t.parts, &p)
	return true
}

var quoted = regexp.MustCompile(`'[^']+'`)

// join joins the parts that read the same rows. Those of all protocols stay apart, because few needs are about them.
func (t *tableau) join() {
	for i := 0; i < len(t.parts); i++ {
		p := t.parts[i]
		for k := i + 1; k < len(t.parts); k++ {
			if q := t.parts[k]; p.overlaps(q) {
				p.needs = append(p.needs, q.needs...)
				p.protocols = append(p.protocols, q.protocols...)
				t.parts = slices.Delete(t.parts, k, k+1)
				k = i // p may overlap more parts now
			}
		}
	}
}

// overlaps reports whether two parts read the same rows.
func (p *part) overlaps(q *part) bool {
	if p.table != q.table || p.where != q.where || (p.protocols == nil) != (q.protocols == nil) {
		return false
	}
	return p.protocols == nil || slices.ContainsFunc(p.protocols, func(name string) bool { return slices.Contains(q.protocols, name) })
}

// stored is the table of the case whose rows a part reads.
func (p *part) stored() string {
	switch p.table {
	case InScope:
		return "calls"
	case InWindow:
		return "flows"
	case ofFiles:
		return "objects"
	}
	return strings.TrimSuffix(p.table, "_raw")
}

// sql is the text of the query, with its arguments. It returns one row, with a column for each need. DuckDB joins by
// position in the order of the text: for other joins of ten tables it spends half of the time on finding a good order.
func (t *tableau) sql() (string, []any) {
	var parts []string
	var args []any
	for _, p := range t.parts {
		from, where := p.table, []string{}
		switch p.table {
		case InScope:
			from, where, args = t.l.Calls, append(where, t.l.Where), append(args, t.l.Args...)
		case InWindow:
			proxied, flow := "false", t.l.Bundle("flow_id")
			if t.proxied {
				proxied = "(" + flow + ") IN (SELECT (" + flow + ") FROM calls_raw WHERE " + proxying + ")"
			}
			from = "(SELECT *, " + proxied + " AS proxied FROM flows WHERE " + t.l.Flows() + ")"
		case ofFiles:
			key := t.l.Bundle("call_no")
			if from = "objects"; t.l.Where != "true" || t.l.Case.Several() {
				from = "(SELECT " + key + " FROM objects) JOIN (SELECT " + key + " FROM " + t.l.Calls + " WHERE " + t.l.Where + ") USING (" + key + ")"
				args = append(args, t.l.Args...)
			}
		}
		if p.where != "" {
			where = append(where, p.where)
		}
		if p.protocols != nil {
			slices.Sort(p.protocols)
			where = append(where, "protocol IN ('"+strings.Join(slices.Compact(p.protocols), "', '")+"')")
		}
		var columns []string
		for _, n := range p.needs {
			if n.Where != "" {
				n.Have = Any(n.Where)
			}
			columns = append(columns, n.Have)
		}
		if len(where) > 0 {
			from += " WHERE (" + strings.Join(where, ") AND (") + ")"
		}
		if p.where != "" {
			columns, from = []string{"count(*) > 0"}, "(SELECT 1 FROM "+from+" LIMIT 1)"
		}
		parts = append(parts, "(SELECT "+strings.Join(columns, ", ")+" FROM "+from+")")
	}
	return "SELECT * FROM " + strings.Join(parts, " POSITIONAL JOIN "), args
}

// stated is the number of rows of a table that the manifests of a case state.
type stated struct {
	all       int64
	by        map[string]int64 // of calls, by protocol
	manifests int              // that name the table
}

// of returns those of some protocols of which there are rows.
func (s stated) of(protocols string) (list []string) {
	for _, name := range quoted.FindAllString(protocols, -1) {
		if name = strings.Trim(name, "'"); s.by[name] > 0 {
			list = append(list, name)
		}
	}
	return list
}

// statedRows returns what the manifests state by table. A table that one of them does not name is left out, as those of a
// run that continues.
func statedRows(c *forensics.Case) map[string]stated {
	out := map[string]stated{}
	for _, b := range c.Bundles() {
		here := map[string]bool{}
		for _, t := range b.Manifest.Tables {
			s := out[t.Name]
			if s.by == nil {
				s.by = map[string]int64{}
			}
			if s.all, s.by[t.Protocol] = s.all+t.Rows, s.by[t.Protocol]+t.Rows; !here[t.Name] {
				s.manifests, here[t.Name] = s.manifests+1, true
			}
			out[t.Name] = s
		}
	}
	maps.DeleteFunc(out, func(_ string, s stated) bool { return s.manifests < len(c.Bundles()) })
	return out
}
