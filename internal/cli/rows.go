package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
)

// rowWriter prints rows in one format.
type rowWriter interface {
	begin(cols []forensics.Column) error
	row(cols []forensics.Column, row []any) error
	end() error
}

// rowFormats are the formats for rows; calls can also be written as har and curl.
var rowFormats = []string{"table", "json", "ndjson", "csv", "parquet"}

func newRowWriter(format string, e *env) (rowWriter, error) {
	w := bufio.NewWriterSize(e.out, 64<<10)
	switch format {
	case "table":
		return &tableWriter{w: w, e: e}, nil
	case "json":
		return &jsonWriter{w: w, array: true}, nil
	case "ndjson":
		return &jsonWriter{w: w}, nil
	case "csv":
		return &csvWriter{w: csv.NewWriter(w), flush: w}, nil
	case "parquet":
		if terminal(e.out) {
			return nil, exit.Usagef("refusing to write Parquet to a terminal: redirect it to a file")
		}
		return &parquetWriter{out: e.exact()}, nil
	}
	return nil, fmt.Errorf("format %q is not a format for rows", format)
}

// stamp writes a time as RFC 3339 with nine digits and Z.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z") }

func appendJSON(b []byte, v any) []byte {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, strings.TrimSuffix(buf.String(), "\n")...)
}

// jsonWriter prints one object per row, as a list or one per line.
type jsonWriter struct {
	w     *bufio.Writer
	array bool
	n     int
	line  []byte
}

func (j *jsonWriter) begin([]forensics.Column) error {
	if j.array {
		j.w.WriteString("[")
	}
	return nil
}

func (j *jsonWriter) row(cols []forensics.Column, row []any) error {
	if j.array && j.n > 0 {
		j.w.WriteString(",")
	}
	if j.array {
		j.w.WriteString("\n ")
	}
	j.n++
	b := forensics.AppendRow(j.line[:0], cols, row)
	if !j.array {
		b = append(b, '\n')
	}
	j.line = b
	_, err := j.w.Write(b)
	return err
}

func (j *jsonWriter) end() error {
	if j.array {
		if j.n > 0 {
			j.w.WriteString("\n")
		}
		j.w.WriteString("]\n")
	}
	return j.w.Flush()
}

type csvWriter struct {
	w     *csv.Writer
	flush *bufio.Writer
	line  []string
}

func (c *csvWriter) begin(cols []forensics.Column) error {
	c.line = c.line[:0]
	for _, col := range cols {
		c.line = append(c.line, notFormula(col.Name))
	}
	return c.w.Write(c.line)
}

func (c *csvWriter) row(cols []forensics.Column, row []any) error {
	c.line = c.line[:0]
	for i, col := range cols {
		text := valueText(col.Name, row[i])
		switch row[i].(type) {
		case nil, bool, int64, int32, float64: // a negative number is not a formula
		default:
			text = notFormula(text)
		}
		c.line = append(c.line, text)
	}
	return c.w.Write(c.line)
}

// notFormula puts ' before a text that a spreadsheet would run as a formula, and before a
// text that begins with '. Removing one leading ' restores the original.
func notFormula(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	if strings.ContainsRune("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20", r) {
		return "'" + s
	}
	return s
}

func (c *csvWriter) end() error {
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return err
	}
	return c.flush.Flush()
}

// valueText writes a value as text; null is empty.
func valueText(col string, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b := forensics.AppendJSON(nil, v)
	if len(b) > 1 && b[0] == '"' { // times and bytes
		return string(b[1 : len(b)-1])
	}
	return string(b)
}
