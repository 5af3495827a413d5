// Package format writes rows and calls in the formats that query, sql and show offer: tables and
// JSON, CSV, Parquet, HAR and curl.
//
// Output for people is printable and fits the screen; the other formats are exact and can be read
// without this program. A writer that fails has written a part of the output.
package format

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Rows writes the rows of an answer: Begin once, then Row for each, then End.
type Rows interface {
	Begin(cols []forensics.Column) error
	Row(cols []forensics.Column, row []any) error
	End() error
}

// OfRows are the formats for rows.
func OfRows() []string { return []string{"table", "json", "ndjson", "csv", "parquet"} }

// OfCalls are those for whole calls only: HAR, Curl, and spans of OpenTelemetry (package spans).
func OfCalls() []string { return []string{"har", "curl", "otlp"} }

// NewRows returns a writer to standard output in one of the formats OfRows. A table does not
// show the columns in hidden, which only set the colour of its rows.
func NewRows(format string, s *console.Streams, hidden ...string) (Rows, error) {
	w := bufio.NewWriterSize(s.Out, 64<<10)
	switch format {
	case "table":
		return &table{w: w, s: s, hidden: hidden}, nil
	case "json":
		return &jsonRows{w: w, array: true}, nil
	case "ndjson":
		return &jsonRows{w: w}, nil
	case "csv":
		return &csvRows{w: csv.NewWriter(w), flush: w}, nil
	case "parquet":
		if console.Terminal(s.Out) {
			return nil, exit.Usagef("refusing to write Parquet to a terminal: redirect it to a file")
		}
		return &parquetRows{out: s.Exact()}, nil
	}
	return nil, fmt.Errorf("format %q is not a format for rows", format)
}

// Moment writes a time for people: when.Stamp as tables have it, without T and Z. Every flag accepts it.
func Moment(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000000000") }

// AppendJSON appends v as JSON without escaping <, > and &.
func AppendJSON(b []byte, v any) []byte {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, strings.TrimSuffix(buf.String(), "\n")...)
}

// jsonRows prints one object per row, as a list or one per line.
type jsonRows struct {
	w     *bufio.Writer
	array bool
	n     int
	line  []byte
}

// Begin implements Rows.
func (j *jsonRows) Begin([]forensics.Column) error {
	if j.array {
		j.w.WriteString("[")
	}
	return nil
}

// Row implements Rows.
func (j *jsonRows) Row(cols []forensics.Column, row []any) error {
	if j.array && j.n > 0 {
		j.w.WriteString(",")
	}
	if j.array {
		j.w.WriteString("\n ")
	}
	j.n++
	b := encode.Row(j.line[:0], cols, row)
	if !j.array {
		b = append(b, '\n')
	}
	j.line = b
	_, err := j.w.Write(b)
	return err
}

// End implements Rows.
func (j *jsonRows) End() error {
	if j.array {
		if j.n > 0 {
			j.w.WriteString("\n")
		}
		j.w.WriteString("]\n")
	}
	return j.w.Flush()
}

type csvRows struct {
	w     *csv.Writer
	flush *bufio.Writer
	line  []string
}

// Begin implements Rows.
func (c *csvRows) Begin(cols []forensics.Column) error {
	c.line = c.line[:0]
	for _, col := range cols {
		c.line = append(c.line, quote.Cell(col.Name))
	}
	return c.w.Write(c.line)
}

// Row implements Rows.
func (c *csvRows) Row(cols []forensics.Column, row []any) error {
	c.line = c.line[:0]
	for i, col := range cols {
		text := Value(col.Name, row[i])
		switch row[i].(type) {
		case nil, bool, int64, int32, float64: // a negative number is not a formula
		default:
			text = quote.Cell(text)
		}
		c.line = append(c.line, text)
	}
	return c.w.Write(c.line)
}

// End implements Rows.
func (c *csvRows) End() error {
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return err
	}
	return c.flush.Flush()
}

// Value writes a value as text; null is empty.
func Value(col string, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b := encode.JSON(nil, v)
	if len(b) > 1 && b[0] == '"' { // times and bytes
		return string(b[1 : len(b)-1])
	}
	return string(b)
}

// Text returns a text of a row, "" for null and other types.
func Text(v any) string { s, _ := v.(string); return s }

// Number returns a whole number of a row, 0 for null and other types.
func Number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case interface{ Int64() int64 }: // sums are 128 bits wide
		return v.Int64()
	}
	return 0
}
