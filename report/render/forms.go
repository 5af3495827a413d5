// Package render writes a report as a file, and reads back the data that every file carries.
//
// A renderer is a pure function of the value: the same value gives the same bytes. Every form has the
// whole value as JSON inside, so that a program can check the file against its bundles.
package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/report/value"
)

// ErrNoData is returned for a file without the data of a report.
var ErrNoData = errors.New("the file has no data of a report: it was not written by pcapsule report, or its data was removed")

// Form is a file format of reports.
type Form struct {
	Name  string // the ending of files, such as html
	Write func(w io.Writer, r *value.Report) error
	data  func(file []byte) ([]byte, error) // the JSON inside
	diff  func(want, got []byte) []string   // differences that a reader sees, in words
}

// Forms lists the formats.
func Forms() []Form {
	return []Form{
		{"html", HTML, htmlData, htmlDiff},
		{"md", Markdown, markdownData, linesDiff},
		{"json", JSON, func(file []byte) ([]byte, error) { return file, nil }, linesDiff},
		{"csv", CSV, csvData, csvDiff},
		{"xlsx", XLSX, xlsxData, xlsxDiff},
		{"pdf", PDF, pdfData, pdfDiff},
	}
}

// FormOf returns the form of a file by the ending of its name.
func FormOf(path string) (Form, error) {
	var names []string
	for _, f := range Forms() {
		if strings.HasSuffix(strings.ToLower(path), "."+f.Name) {
			return f, nil
		}
		names = append(names, "."+f.Name)
	}
	return Form{}, fmt.Errorf("the file name must end in one of %s", strings.Join(names, ", "))
}

// Read reads the value inside a file, and refuses values that no report has.
func (f Form) Read(file []byte) (*value.Report, error) {
	text, err := f.data(file)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var r value.Report
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("the file has no data that this release can read: another release wrote it, or it was changed (%v)", err)
	}
	if r.Schema != value.Schema || r.Basis.Template == "" {
		return nil, fmt.Errorf("the file has no data that this release can read: another release wrote it, or it was changed (schema %d, expected %d)", r.Schema, value.Schema)
	}
	return &r, nil
}

// Differences compares a file with a new rendering of the value, and names the differences that a
// reader can see. A file of the same bytes has none.
func (f Form) Differences(r *value.Report, file []byte) ([]string, error) {
	var want bytes.Buffer
	if err := f.Write(&want, r); err != nil {
		return nil, err
	}
	if bytes.Equal(want.Bytes(), file) {
		return nil, nil
	}
	if list := f.diff(want.Bytes(), file); len(list) > 0 {
		return list, nil
	}
	return []string{bytesDiff(want.Bytes(), file)}, nil
}

// bytesDiff names the first byte that differs.
func bytesDiff(want, got []byte) string {
	n := 0
	for n < len(want) && n < len(got) && want[n] == got[n] {
		n++
	}
	return fmt.Sprintf("line %d, byte %d of the file differs from what its data gives", 1+bytes.Count(want[:n], []byte("\n")), n)
}

// JSON writes the value itself.
func JSON(w io.Writer, r *value.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}

// compact writes the value in one line that is safe inside HTML.
func compact(r *value.Report) (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("writing JSON: %w", err)
	}
	var b strings.Builder
	for _, r := range strings.ReplaceAll(string(text), "--", `-\u002d`) {
		if value.Hidden(r) { // only strings have such characters
			for _, half := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, half)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// evidenceText writes citations in one line.
func evidenceText(list []*value.Citation, many bool) string {
	var parts []string
	for _, c := range list {
		var words []string
		if c.Call != "" {
			words = append(words, "call "+c.Call)
		}
		if c.Flow != 0 {
			words = append(words, fmt.Sprintf("flow %d", c.Flow))
		}
		if c.Packets != "" {
			words = append(words, c.Packets)
		}
		if many && c.Bundle >= 0 {
			words = append(words, fmt.Sprintf("of bundle %d", c.Bundle+1))
		}
		parts = append(parts, strings.Join(words, " "))
	}
	return strings.Join(parts, "; ")
}

// queriesText writes numbers of queries.
func queriesText(list []int) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, fmt.Sprintf("Q%d", n))
	}
	return strings.Join(parts, ", ")
}
