package clickhouse

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of compressed blocks in a body.
const (
	maxPlain = 8 << 20 // bytes that are read
	maxRatio = 64      // of these to those of the body
)

// result is the shape, and the first rows, of rows in one of the formats of ClickHouse.
type result struct {
	show        bool
	totals      bool // rows after an empty line are totals and extremes
	names       []string
	types       []string
	rows        int64
	counted     bool
	unread      bool // a part could not be read
	preview     []byte
	shown       int
	compression string
}

// count is the number of rows, if all were read.
func (t *result) count() (n table.Opt[int64]) {
	if t.counted && !t.unread {
		n = table.Some(t.rows)
	}
	return n
}

// splitFormat returns the base of a format and the number of lines before its rows: names, and types.
func splitFormat(name string) (base string, heads int) {
	base = strings.ToLower(name)
	if rest, ok := strings.CutSuffix(base, "withnamesandtypes"); ok {
		base, heads = rest, 2
	} else if rest, ok := strings.CutSuffix(base, "withnames"); ok {
		base, heads = rest, 1
	}
	switch base {
	case "tabseparated", "tabseparatedraw", "tsvraw", "raw", "lineasstring":
		base = "tsv"
	case "jsonstringseachrow", "jsonlines", "ndjson", "jsoncompacteachrow", "jsoncompactstringseachrow", "jsoneachrowwithprogress":
		base = "jsoneachrow"
	case "jsonstrings", "jsoncompact", "jsoncompactstrings":
		base = "json"
	}
	return base, heads
}

// read reads rows in a format (https://clickhouse.com/docs/interfaces/formats).
func (t *result) read(format string, b []byte, r *web) {
	if coding := r.field("compress"); t.show && coding == "1" || !t.show && r.field("decompress") == "1" {
		plain, method, whole := b, "", true
		if t.show { // the body of a request is plain here
			plain, method, whole = frames(b)
		}
		b, t.compression, t.unread = plain, method, !whole
	}
	base, heads := splitFormat(format)
	t.counted = true
	switch base {
	case "tsv":
		t.lines(b, heads, func(line []byte) []string { return escaped(bytes.Split(line, []byte{'\t'})) })
	case "jsoneachrow":
		t.lines(b, heads, jsonCells)
	case "json":
		t.json(b)
	case "csv":
		t.csv(b, heads)
	case "native":
		rev, _ := strconv.ParseUint(r.field("client_protocol_version"), 10, 32)
		t.native(b, rev)
	case "rowbinary":
		t.rowBinary(b, heads)
	default:
		t.counted, t.unread = false, t.show
	}
}

// row adds a row.
func (t *result) row(values func() []string) {
	t.rows++
	if !t.show || t.shown == maxShown {
		return
	}
	line := strings.Join(values(), "\t") + "\n"
	if t.shown++; len(t.preview)+len(line) > maxPreview {
		t.shown = maxShown
		return
	}
	t.preview = append(t.preview, line...)
}

// head sets the names of the columns, then their types.
func (t *result) head(i int, values []string) {
	for j, v := range values {
		values[j] = clip.Text(v, maxValue)
	}
	switch values = values[:min(len(values), maxColumns)]; {
	case !t.show:
	case i == 0:
		t.names = values
	default:
		t.types = values
	}
}

// escaped are values that the format has escaped.
func escaped(list [][]byte) (out []string) {
	for _, v := range list[:min(len(list), maxColumns)] {
		out = append(out, clip.Text(v, maxStored))
	}
	return out
}

// cell is a value as the preview shows it.
func cell(s string) string {
	if s == `\N` {
		return s
	}
	return field([]byte(s))
}

// jsonCells are the values of an object or of an array, where more objects and arrays are shown as ….
func jsonCells(v []byte) (out []string) {
	add := func(v []byte) bool {
		switch s := content.Scalar(v); {
		case content.Kind(v) == '{' || content.Kind(v) == '[':
			out = append(out, "…")
		case s == "null":
			out = append(out, `\N`)
		default:
			out = append(out, field([]byte(s)))
		}
		return len(out) < maxColumns
	}
	if content.Kind(v) == '[' {
		for v := range content.Elements(v) {
			if !add(v) {
				break
			}
		}
		return out
	}
	for _, v := range content.Members(v) {
		if !add(v) {
			break
		}
	}
	return out
}

// lines reads a row of each line.
func (t *result) lines(b []byte, heads int, values func(line []byte) []string) {
	for n := 0; len(b) > 0; n++ {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if b = rest; !whole && len(line) == 0 {
			return
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		switch {
		case n < heads:
			t.head(n, values(line))
		case len(line) == 0 && t.totals:
			return
		default:
			if t.show && t.names == nil && content.Kind(line) == '{' {
				for name := range content.Members(line) {
					if t.names = append(t.names, clip.Text(name, maxValue)); len(t.names) == maxColumns {
						break
					}
				}
			}
			t.row(func() []string { return values(line) })
		}
	}
}

// csv reads rows with commas between values and quotes around texts.
func (t *result) csv(b []byte, heads int) {
	c := csv.NewReader(bytes.NewReader(b))
	c.LazyQuotes, c.FieldsPerRecord, c.ReuseRecord = true, -1, true
	for n := 0; ; n++ {
		record, err := c.Read()
		if err != nil {
			t.unread = t.unread || err.Error() != "EOF"
			return
		}
		out := func() (list []string) {
			for _, v := range record[:min(len(record), maxColumns)] {
				list = append(list, cell(v))
			}
			return list
		}
		if n < heads {
			t.head(n, out())
		} else {
			t.row(out)
		}
	}
}

// json reads one object with columns, rows and their number.
func (t *result) json(b []byte) {
	for name, v := range content.Members(b) {
		switch name {
		case "meta":
			for c := range content.Elements(v) {
				if len(t.names) < maxColumns {
					t.names = append(t.names, clip.Text(content.String(content.Member(c, "name")), maxValue))
					t.types = append(t.types, clip.Text(content.String(content.Member(c, "type")), maxValue))
				}
			}
		case "data":
			for row := range content.Elements(v) {
				t.row(func() []string { return jsonCells(row) })
			}
		}
	}
}

// native reads blocks as the native protocol has them, without their packets. Revision 0 has no numbered fields before
// the columns.
func (t *result) native(b []byte, rev uint64) {
	kinds := map[string]*kind{}
	for len(b) > 0 {
		d := decoder{rev: rev, kinds: kinds, show: t.show}
		if rev == 0 || len(b) < 8 || !plainBlock(b) {
			d.rev, d.stage = 0, 1
		}
		n, err := d.read(b)
		if t.names == nil && t.show && len(d.names) > 0 {
			t.names, t.types = d.names, d.typeNames
		}
		if err != nil || !d.done {
			t.unread = true
			return
		}
		t.rows += int64(d.rows)
		if t.show {
			t.preview = append(t.preview, d.preview(maxPreview-len(t.preview))...)
		}
		b = b[n:]
	}
}

// rowBinary reads rows of values without names. Without types they have no end.
func (t *result) rowBinary(b []byte, heads int) {
	r := &cursor{b: b}
	var kinds []*kind
	if heads > 0 {
		n := min(r.uvarint(), maxColumns)
		for i := range heads {
			var list []string
			for range n {
				list = append(list, string(r.bytes(maxType)))
			}
			if i == 1 {
				for _, name := range list {
					kinds = append(kinds, parseKind(name, 0))
				}
			}
			t.head(i, list)
		}
	}
	if len(kinds) == 0 {
		t.unread = true
		return
	}
	for r.err == nil && r.at < len(b) {
		var list []string
		for _, k := range kinds {
			list = append(list, k.rowValue(r))
		}
		if r.err == nil {
			t.row(func() []string { return list })
		}
	}
	t.unread = t.unread || r.err != nil
}

// rowValue reads one value of format RowBinary.
func (k *kind) rowValue(r *cursor) string {
	switch k.shape {
	case fixed:
		if b := r.take(k.size); b != nil {
			return clip.Text(k.format(b), maxStored)
		}
	case text:
		return field(r.bytes(maxText))
	case nullable:
		if r.flag() {
			return `\N`
		}
		return k.inner[0].rowValue(r)
	case lowCard:
		if k.scale == 1 && r.flag() {
			return `\N`
		}
		return k.inner[0].rowValue(r)
	case array:
		for n := r.uvarint(); n > 0 && r.err == nil; n-- {
			k.inner[0].rowValue(r)
		}
		return "…"
	case tuple:
		for _, inner := range k.inner {
			inner.rowValue(r)
		}
		return "…"
	default:
		r.fail(errUnread)
	}
	return ""
}

// frames decompresses the frames of a body, as of the native protocol. whole reports whether it could be read to its end.
func frames(b []byte) (plain []byte, method string, whole bool) {
	most := min(maxPlain, maxRatio*len(b)+maxForm) // so that a bomb costs time in proportion to its packets
	for len(b) > 0 {
		f, size, err := parseFrame(b)
		if err != nil || f.content == nil || len(plain)+f.plain > most {
			return plain, method, false
		}
		content, err := f.open(dissect.Decompress)
		if err != nil {
			return plain, method, false
		}
		plain, method, b = append(plain, content...), methods[f.method], b[size:]
	}
	return plain, method, true
}
