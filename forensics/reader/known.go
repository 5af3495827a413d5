package reader

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of the search for secrets, as those of package forensics.
const (
	knownRows  = 200_000
	knownBytes = 32 << 20
	leastText  = 8 // bytes of a text that can have a secret
)

// collected limits what is collected from one source.
type collected struct {
	rows, bytes int
	add         func(name, text string)
}

func (c *collected) text(name, text string) {
	if c.rows++; c.rows <= knownRows && c.bytes < knownBytes {
		c.bytes += len(text)
		c.add(name, text)
	}
}

// learn collects the values that the policy masks, to mask them wherever they appear.
func (r *Reader) learn() error {
	all := r.policy.Collect()
	if err := r.learnCalls(all); err != nil {
		return err
	}
	if err := r.learnBodies(all); err != nil {
		return err
	}
	r.known = all.Known()
	return nil
}

func (r *Reader) learnCalls(all *redact.Collector) error {
	// each calls f for the calls with a value of a column.
	each := func(column string, more []string, f func(p place, v any)) error {
		for _, c := range r.calls {
			if !c.Has(column) {
				continue
			}
			if err := c.load(append(more, column)...); err != nil {
				return err
			}
			for row := range c.rows {
				if v := c.at(column, row); v != nil {
					f(place{c, row}, v)
				}
			}
		}
		return nil
	}
	texts := func(column string, least int, to *collected, name func(p place) string, more ...string) error {
		return each(column, more, func(p place, v any) {
			if s, ok := v.(string); ok && len(s) >= least {
				to.text(name(p), s)
			}
		})
	}
	content := func() *collected { return &collected{add: all.Text} }
	always := func(name string) func(place) string { return func(place) string { return name } }
	headers := &collected{add: func(name, value string) { all.Header(name, strings.TrimSpace(value)) }}
	err := each("headers", nil, func(_ place, v any) {
		list, _ := v.([]any)
		for _, x := range list {
			h, _ := x.(forensics.Struct)
			name, _ := h.Get("name").(string)
			if value, _ := h.Get("value").(string); len(value) >= leastText {
				headers.text(name, value)
			}
		}
	})
	for _, column := range []string{"query_string", "http1_target"} {
		to := content()
		if err == nil {
			err = each(column, nil, func(_ place, v any) {
				if s, ok := v.(string); ok && strings.Contains(s, "=") {
					to.text("application/x-www-form-urlencoded", s)
				}
			})
		}
	}
	if err == nil {
		var queries []string
		for _, d := range table.Databases() {
			queries = append(queries, d.Column("query"))
		}
		err = texts("summary", leastText, content(), func(p place) string {
			return redact.SummaryAs(p.of.text("protocol", p.row), func(column string) (string, bool) { return p.of.text(column, p.row), p.of.Has(column) })
		}, append(queries, "protocol")...)
	}
	for _, s := range []struct {
		column string
		least  int
		to     *collected
		name   func(p place) string
		more   []string
	}{
		{"path", leastText, content(), always("plain"), nil},
		{"redis_reply", leastText, &collected{add: all.Reply}, func(p place) string { return p.of.text("redis_command", p.row) }, []string{"redis_command"}},
		{"grpc_request_text", 0, content(), always(""), nil},
		{"grpc_response_text", 0, content(), always(""), nil},
		{"redis_command", 0, content(), always("command"), nil},
	} {
		if err == nil {
			err = texts(s.column, s.least, s.to, s.name, s.more...)
		}
	}
	for _, d := range table.Databases() {
		if err == nil {
			err = texts(d.Column("preview"), 0, &collected{add: all.Rows}, func(p place) string { return strings.Join(textsOf(p.of.at(d.Column("columns"), p.row)), "\t") }, d.Column("columns"))
		}
		if err == nil {
			err = each(d.Column("params"), []string{d.Column("query")}, func(p place, v any) {
				if list := textsOf(v); len(list) > 0 {
					all.Params(p.of.text(d.Column("query"), p.row), list)
				}
			})
		}
		if err == nil {
			err = texts(d.Column("query"), 0, content(), always("sql"))
		}
	}
	return err
}

func textsOf(v any) (list []string) {
	values, _ := v.([]any)
	for _, x := range values {
		s, _ := x.(string)
		list = append(list, s)
	}
	return list
}

func (r *Reader) learnBodies(all *redact.Collector) error {
	keys := map[string][]string{} // by the hash of a body: names of the one key that Memcached got it by
	for _, c := range r.calls {
		if !c.Has("memcached_keys") {
			continue
		}
		if err := c.load("memcached_keys", "request_body_sha256", "response_body_sha256"); err != nil {
			return err
		}
		for row := range c.rows {
			if list := textsOf(c.at("memcached_keys", row)); len(list) == 1 {
				for _, side := range []string{"request", "response"} {
					if hash, ok := c.at(side+"_body_sha256", row).([]byte); ok {
						keys[string(hash)] = append(keys[string(hash)], list[0])
					}
				}
			}
		}
	}
	content, pairs := &collected{add: all.Text}, &collected{add: all.Pair}
	return r.eachBody([]string{"sha256", "part", "content_type", "text"}, func(row map[string]any) error {
		text, _ := row["text"].(string)
		if len(text) < leastText {
			return nil
		}
		kind, _ := row["content_type"].(string)
		content.text(kind, text)
		if hash, _ := row["sha256"].([]byte); row["part"] == int64(0) {
			for _, key := range keys[string(hash)] {
				pairs.text(key, text)
			}
		}
		return nil
	})
}

// eachBody reads some columns of table bodies, which is not kept.
func (r *Reader) eachBody(columns []string, f func(row map[string]any) error) error {
	t, err := r.table("bodies", "part")
	if err != nil || len(t.Columns) == 0 {
		return err
	}
	var names []string
	for _, c := range t.Columns {
		for _, name := range columns {
			if c.Name == name {
				names = append(names, name)
			}
		}
	}
	row := map[string]any{}
	return t.Each(columns, func(values []any) error {
		for i, v := range values {
			row[names[i]] = valueOf(v)
		}
		return f(row)
	})
}
