package reader

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

// describe makes the environment of filters: the columns that the bundle has.
func (r *Reader) describe() error {
	calls, absent := map[string]string{}, map[string]string{}
	for _, c := range r.calls {
		for _, col := range c.Columns {
			calls[col.Name] = col.Kind.String()
		}
	}
	for _, side := range []string{"src_", "dst_"} {
		for _, col := range r.ends.Columns {
			if name := side + col.Name; calls[name] == "" && col.Name != "endpoint_id" {
				calls[name] = col.Kind.String()
			}
		}
	}
	receipts, err := r.table("receipts", "call_no")
	if err != nil {
		return err
	}
	for _, col := range receiptColumns() {
		if len(receipts.Columns) > 0 {
			calls[col.Name] = col.Kind.String()
		} else {
			absent[col.Name] = col.Kind.String()
		}
	}
	for _, col := range table.ProtocolColumns() {
		if calls[col.Name] == "" {
			absent[col.Name] = col.Kind.String()
		}
	}
	tables := map[string]map[string]string{"calls": calls, "calls_raw": calls}
	for name, key := range map[string]string{"flows": "flow_id", "connections": "conn_id", "tls_handshakes": "call_no"} {
		t, err := r.table(name, key)
		if err != nil {
			return err
		}
		columns := map[string]string{}
		for _, col := range t.Columns {
			columns[col.Name] = col.Kind.String()
		}
		tables[name], tables[name+"_raw"] = columns, columns
	}
	_, now, _ := r.window()
	r.env = kfl.Env{Now: now, Columns: calls, Absent: absent, Tables: tables, Bodies: noBodies{},
		Protocol: func(name string) bool { return r.b.Manifest.Calls[name] > 0 }}
	return nil
}

// noBodies is for the SQL of a filter, which is not run.
type noBodies struct{}

func (noBodies) XML(string, []string, func(string) bool) ([][]byte, error) { return nil, nil }

// selected lists the calls that match a filter between two times, both inclusive, by time.
func (r *Reader) selected(filter string, from, to int64) ([]place, error) {
	q, err := kfl.Compile(filter, r.env)
	if err != nil {
		return nil, err
	}
	names := []string{"flow_id", "conn_id"}
	for _, name := range slices.Concat(q.Columns(), q.Inner()) {
		if name != "bundle" {
			names = append(names, name)
		}
	}
	if err := r.load(names...); err != nil {
		return nil, err
	}
	var out []place
	row := &row{r: r}
	for _, p := range r.order {
		if ns := p.of.int("ts_ns", p.row); ns < from || ns > to {
			continue
		}
		row.place = p
		if q.Match(row) {
			out = append(out, p)
		}
		if row.err != nil {
			return nil, row.err
		}
		if n := q.Limit(); n > 0 && len(out) == n {
			break
		}
	}
	return out, nil
}

// row is a call as filters see it. It implements kfl.Row.
type row struct {
	r *Reader
	place
	err error
}

// Column implements kfl.Row.
func (x *row) Column(name string) kfl.Value {
	word, column, joined := strings.Cut(name, ".")
	if !joined {
		v := x.r.value(x.place, name)
		if list, ok := v.([]any); ok && len(list) == 0 && strings.HasPrefix(x.r.env.Columns[name], "STRUCT") {
			return kfl.Headers([]kfl.Header{})
		}
		return filterValue(v)
	}
	v, err := x.r.joined(x.place, word, column)
	if err != nil {
		x.err = err
	}
	return filterValue(v)
}

// joined is a value of another table's row that belongs to a call.
func (r *Reader) joined(p place, word, column string) (any, error) {
	switch word {
	case "flow":
		return r.columnOf("flows", "flow_id", p.of.at("flow_id", p.row), column)
	case "connection":
		return r.columnOf("connections", "conn_id", p.of.at("conn_id", p.row), column)
	}
	first := r.shakes[word+"."+column]
	if first == nil {
		var err error
		if first, err = r.handshakes(word, column); err != nil {
			return nil, err
		}
		r.shakes[word+"."+column] = first
	}
	conn, ok := p.of.at("conn_id", p.row).(int64)
	if !ok {
		return nil, nil
	}
	return first[conn], nil
}

func (r *Reader) columnOf(name, key string, id any, column string) (any, error) {
	t, row, ok, err := r.rowOf(name, key, id)
	if err != nil || !ok {
		return nil, err
	}
	if err := t.load(column); err != nil {
		return nil, err
	}
	return r.cell(t, row, column, t.at(column, row)), nil
}

// handshakes are the values of a column of the first TLS handshake of each connection that has one: of its call, or of its row
// of table tls_handshakes.
func (r *Reader) handshakes(word, column string) (map[int64]any, error) {
	type found struct {
		no int64
		v  any
	}
	best := map[int64]found{}
	for _, c := range r.calls {
		if err := c.load("protocol", "conn_id", "call_no", column); err != nil {
			return nil, err
		}
		for i := range c.rows {
			if c.text("protocol", i) != "tls" || c.at("conn_id", i) == nil {
				continue
			}
			no, v := c.int("call_no", i), any(nil)
			if word == "hello" {
				v = r.value(place{c, i}, column)
			} else {
				var err error
				if v, err = r.columnOf("tls_handshakes", "call_no", no, column); err != nil {
					return nil, err
				}
			}
			if b, ok := best[c.int("conn_id", i)]; v != nil && (!ok || no < b.no) {
				best[c.int("conn_id", i)] = found{no, v}
			}
		}
	}
	out := map[int64]any{}
	for conn, b := range best {
		out[conn] = b.v
	}
	return out, nil
}

// Body implements kfl.Row.
func (x *row) Body(side kfl.Side) (list []kfl.BodyPart) {
	name := "request_body_sha256"
	if side == kfl.Response {
		name = "response_body_sha256"
	}
	hash, ok := x.of.at(name, x.place.row).([]byte)
	if !ok {
		return nil
	}
	all, err := x.r.bodyParts()
	if err != nil {
		x.err = err
		return nil
	}
	return all[string(hash)]
}

// bodyParts are the masked parts of all bodies, by hash, for filters about bodies.
func (r *Reader) bodyParts() (map[string][]kfl.BodyPart, error) {
	if r.parts != nil {
		return r.parts, nil
	}
	all, size := map[string][]kfl.BodyPart{}, 0
	err := r.eachBody([]string{"sha256", "part", "offset", "size", "content_type", "text", "bytes"}, func(row map[string]any) error {
		hash, _ := row["sha256"].([]byte)
		p := kfl.BodyPart{}
		no, _ := row["part"].(int64)
		p.Part = int32(no)
		p.Offset, _ = row["offset"].(int64)
		p.Size, _ = row["size"].(int64)
		of := func(name string) (any, bool) { v, ok := row[name]; return v, ok }
		p.Text, p.IsText = r.masker.Cell("text", row["text"], of).(string)
		p.Bytes, _ = r.masker.Cell("bytes", row["bytes"], of).([]byte)
		if size += len(p.Text) + len(p.Bytes); size > maxBodies {
			return &TooLargeError{fmt.Sprintf("%s has more than %d bytes of bodies, which a filter about bodies would need in memory", r.name, maxBodies)}
		}
		all[string(hash)] = append(all[string(hash)], p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.parts = all
	return all, nil
}

// maxBodies is how many bytes of bodies a filter may need.
const maxBodies = 256 << 20

// filterValue is a value as filters see it.
func filterValue(v any) kfl.Value {
	switch v := v.(type) {
	case bool:
		return kfl.Bool(v)
	case int64:
		return kfl.Int(v)
	case string:
		return kfl.Text(v)
	case []byte:
		return kfl.Bytes(v)
	case []any:
		return filterList(v)
	}
	return kfl.Value{}
}

func filterList(list []any) kfl.Value {
	texts, heads, pairs := []string{}, []kfl.Header{}, []kfl.Pair{}
	for _, x := range list {
		switch x := x.(type) {
		case string:
			texts = append(texts, x)
		case forensics.Struct:
			name, _ := x.Get("name").(string)
			value, _ := x.Get("value").(string)
			if kind, ok := x.Get("kind").(string); ok {
				heads = append(heads, kfl.Header{Name: name, Value: value, Kind: kind})
			} else {
				pairs = append(pairs, kfl.Pair{Name: name, Value: value})
			}
		case int64:
			return kfl.Ints(list)
		}
	}
	switch {
	case len(heads) > 0:
		return kfl.Headers(heads)
	case len(pairs) > 0:
		return kfl.Pairs(pairs)
	}
	return kfl.Texts(texts)
}

// hexOf is the text of an id.
func hexOf(v any) string {
	id, _ := v.([]byte)
	return hex.EncodeToString(id)
}
