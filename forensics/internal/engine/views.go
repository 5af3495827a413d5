package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// DuckDB binds every column of a view when it makes the view, which for calls takes longer than most
// queries. So each view is made when the first query names it.

// session is a connection and the views that only it has.
type session struct {
	conn duckdb.Connection
	made map[string]bool
}

// kindOf is the state that connections of one kind share.
type kindOf struct {
	views map[string]string // statements that make them, by name
	free  []*session
}

// catalog are words of queries that list tables and columns.
var catalog = []string{"show", "information_schema"}

// readers are words of SQL after which the name of a table follows.
var readers = []string{"from", "join", "table", "describe", "desc", "show", "summarize", "pivot", "unpivot"}

// viewOf identifies a view.
type viewOf struct {
	kind int
	name string
}

// define adds views to a kind, or the next kind with them.
func (d *database) define(v *wire.Views) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.Kind == len(d.kinds) {
		d.kinds = append(d.kinds, &kindOf{views: map[string]string{}})
	}
	if v.Kind >= len(d.kinds) || len(v.Names) != len(v.SQL) {
		return fmt.Errorf("%w: %d names and %d statements for connections of kind %d of %d", wire.ErrFrame, len(v.Names), len(v.SQL), v.Kind, len(d.kinds))
	}
	for i, name := range v.Names {
		d.kinds[v.Kind].views[strings.ToLower(name)] = v.SQL[i]
	}
	return nil
}

// makeViews makes the missing views that a query may name.
func (d *database) makeViews(s *session, q *wire.Question) error {
	names := d.named(q.Kind, q.SQL, q.Hidden)
	if len(names) == 0 {
		return nil
	}
	d.making.Lock()
	defer d.making.Unlock()
	return d.makeNamed(s, names)
}

func (d *database) makeNamed(s *session, names []viewOf) error {
	for _, v := range names {
		made := s.made
		if v.kind == 0 {
			made = d.made
		}
		if made[v.name] {
			continue
		}
		d.mu.Lock()
		sql := d.kinds[v.kind].views[v.name]
		d.mu.Unlock()
		made[v.name] = true // its own name in its statement needs no other view
		err := d.makeNamed(s, d.named(v.kind, sql, nil))
		if err == nil {
			err = each(s.conn, []string{sql})
		}
		if err != nil {
			delete(made, v.name)
			return err
		}
	}
	return nil
}

// named lists the views that SQL may name on a connection of a kind: every word of it that is the name of
// one, except those that it hides, or all if it reads the catalog, so that its answer does not depend on
// earlier queries. Comments name none. A text in single quotes names one only where a table is read: others are values, such as
// names of protocols, or paths.
func (d *database) named(number int, sql string, hidden []string) (list []viewOf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if number >= len(d.kinds) {
		return nil // another kind than that of the connection
	}
	shared, own := d.kinds[0].views, d.kinds[number].views
	add := func(v viewOf) {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	sql = strings.ToLower(sql)
	before := "" // the word directly before
	for i := 0; i < len(sql); i++ {
		word, end := textAt(sql, i)
		value := end > i && !slices.Contains(readers, before)
		if end == i {
			end = wordEnd(sql, i)
			word = sql[i:end]
		}
		if end > i {
			i = end - 1
		}
		switch {
		case word != "":
			before = word
		case sql[i] > ' ' && end == i:
			before = ""
		}
		if value || wordEnd(word, 0) < len(word) {
			continue // a text that is a value, or more than a name
		}
		parts := strings.Split(strings.ReplaceAll(word, `"`, ""), ".")
		for i, name := range parts {
			_, ofKind := own[name]
			_, ofAll := shared[name]
			switch {
			case slices.Contains(catalog, name):
				for _, name := range slices.Sorted(maps.Keys(shared)) {
					add(viewOf{0, name})
				}
			case i == 0 && slices.Contains(hidden, name):
			case ofKind && parts[0] != "memory":
				add(viewOf{number, name})
			case ofAll:
				add(viewOf{0, name})
			}
		}
	}
	return list
}

// textAt returns the text in quotes that begins at i and its end, or the end of a comment that does; i if neither
// does.
func textAt(sql string, i int) (text string, end int) {
	rest := sql[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		line, _, _ := strings.Cut(rest, "\n")
		return "", i + len(line)
	case strings.HasPrefix(rest, "/*"):
		if comment, _, ok := strings.Cut(rest, "*/"); ok {
			return "", i + len(comment) + len("*/")
		}
	case rest[0] == '$': // $tag$…$tag$
		n := 1
		for n < len(rest) && isWord(rest[n]) {
			n++
		}
		if n < len(rest) && rest[n] == '$' {
			tag := rest[:n+1]
			if text, _, ok := strings.Cut(rest[len(tag):], tag); ok {
				return text, i + len(text) + 2*len(tag)
			}
		}
	case rest[0] == '\'':
		escapes := i > 0 && sql[i-1] == 'e' && (i == 1 || !isWord(sql[i-2])) // E'…'
		for n := 1; n < len(rest); n++ {
			switch {
			case escapes && rest[n] == '\\', rest[n] == '\'' && strings.HasPrefix(rest[n+1:], "'"):
				n++
			case rest[n] == '\'':
				return rest[1:n], i + n + 1
			}
		}
	}
	return "", i
}

// wordEnd is the end of the names, quoted or not, with periods between them, that begin at i; i if there is
// none. A quote that begins no such name may be one in a comment, and ends nothing.
func wordEnd(sql string, i int) int {
	for {
		end := i
		for end < len(sql) && isWord(sql[end]) {
			end++
		}
		if end == i && i < len(sql) && sql[i] == '"' {
			for end++; end < len(sql) && isWord(sql[end]); {
				end++
			}
			if end++; end > len(sql) || sql[end-1] != '"' {
				return i
			}
		}
		if end == i || end+1 >= len(sql) || sql[end] != '.' || !isWord(sql[end+1]) && sql[end+1] != '"' {
			return end
		}
		i = end + 1
	}
}

func isWord(c byte) bool { return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' }
