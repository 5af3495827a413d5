package redact

import "strings"

// maxItems limits the parameters of statements that are stored per list.
const maxItems = 1000

// item is the place of a text or number in a list.
type item struct {
	start, end int
	quoted     bool
}

// isStatementName reports whether a member may hold a statement of SQL with parameters beside it.
func isStatementName(name string) bool {
	switch strings.ToLower(name) {
	case "sql", "query", "statement", "stmt", "cql", "q", "text":
		return true
	}
	return false
}

// isParamsName reports whether a member may hold the parameters of a statement beside it.
func isParamsName(name string) bool {
	switch strings.ToLower(name) {
	case "params", "parameters", "args", "arguments", "values", "bindings", "binds", "bind":
		return true
	}
	return false
}

// takesParams reports whether a text may be a statement with parameters.
func takesParams(text string) bool {
	return len(text) > 8 && strings.ContainsAny(text, "?$:") && strings.IndexByte(text, ' ') > 0
}

// item stores a value: a statement, or what may be its parameter.
func (d *document) item(start, end int, quoted bool) {
	n := len(d.open)
	if n == 0 || d.over > 0 {
		return
	}
	switch l := &d.open[n-1]; {
	case l.object:
		if quoted && l.statement == "" && isStatementName(d.key) && takesParams(d.s[start:end]) {
			l.statement = unescape(d.s[start:end])
		}
	case quoted && l.statement == "" && len(l.items) == 0 && takesParams(d.s[start:end]):
		l.statement = unescape(d.s[start:end])
	case (l.statement != "" || isParamsName(l.key)) && len(l.items) < maxItems:
		l.items = append(l.items, item{start, end, quoted})
	}
}

// closed masks the parameters of the statement in a level that ends, or hands its items to the level around it.
func (d *document) closed(l *level) {
	switch n := len(d.open); {
	case l.object:
		for _, row := range l.rows {
			d.params(l.statement, row)
		}
	case l.statement != "": // ["INSERT … VALUES (?)", …]
		d.params(l.statement, l.items)
	case n > 0 && isParamsName(l.key) && len(d.open[n-1].rows) < maxItems:
		d.open[n-1].rows = append(d.open[n-1].rows, append(l.rows, l.items)...)
	}
}

// params masks the parameters of a statement that belong to secret columns.
func (d *document) params(statement string, items []item) {
	if statement == "" || len(items) == 0 {
		return
	}
	secret := d.t.secretPlaces(statement)
	for i, it := range items {
		if text := d.s[it.start:it.end]; secret[i] && text != "" && text != d.t.p.mask {
			e := d.t.cover(d.s, it.start, it.end)
			if !it.quoted {
				e.with = `"` + e.with + `"`
			}
			d.edits = append(d.edits, e)
		}
	}
}
