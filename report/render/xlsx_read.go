package render

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of a workbook that is read. XLSX writes no larger one.
const (
	maxBook  = 2 * maxData // bytes of all parts when decompressed; the cells repeat the data, with markup
	maxCells = 2_000_000
)

var (
	errTooLarge = fmt.Errorf("the file has more than %d MiB when decompressed", maxBook>>20)
	errCells    = fmt.Errorf("the file has more than %d cells", maxCells)
)

// workbook reads the cells of a file without trust in it: its parts together have at most maxBook
// bytes, its sheets at most maxCells cells, and entities of XML are not expanded. It also reads
// files of Excel and others.
type workbook struct {
	parts  map[string]*zip.File
	left   int64 // bytes that may still be decompressed
	shared []string
	cells  int
}

// sheetCells is a sheet with its cells that have text, in their order.
type sheetCells struct {
	name  string
	cells []sheetCell
}

type sheetCell struct{ ref, text string }

// readable refuses a workbook with more bytes or cells than a reader takes.
func readable(file []byte, cells int, most uint64) error {
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	size := uint64(0)
	for _, f := range z.File {
		size += f.UncompressedSize64
	}
	if size > most || cells > maxCells {
		return fmt.Errorf("the report has %s cells with %d MiB, at most %s with %d MiB fit in this format: narrow it with --from, --to and --kfl, or write .csv, .html or .json",
			plural.Thousands(int64(cells)), size>>20, plural.Thousands(maxCells), most>>20)
	}
	return nil
}

// readBook reads all sheets, or only the one with a name.
func readBook(file []byte, only string) ([]sheetCells, error) {
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, fmt.Errorf("the file is not XLSX: %w", err)
	}
	b := &workbook{parts: map[string]*zip.File{}, left: maxBook}
	for _, f := range z.File {
		b.parts[f.Name] = f
	}
	targets := map[string]string{}
	err = b.each("xl/_rels/workbook.xml.rels", func(d *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local == "Relationship" {
			target := attribute(e, "Target")
			if !strings.HasPrefix(target, "/") {
				target = path.Join("xl", target)
			}
			targets[attribute(e, "Id")] = strings.TrimPrefix(target, "/")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b.parts["xl/sharedStrings.xml"] != nil {
		if err := b.each("xl/sharedStrings.xml", b.sharedString); err != nil {
			return nil, err
		}
	}
	var list []sheetCells
	err = b.each("xl/workbook.xml", func(d *xml.Decoder, e xml.StartElement) error {
		s := sheetCells{name: attribute(e, "name")}
		if e.Name.Local != "sheet" || only != "" && s.name != only {
			return nil
		}
		err := b.each(targets[attribute(e, "id")], func(d *xml.Decoder, e xml.StartElement) error { return b.cell(&s, d, e) })
		list = append(list, s)
		return err
	})
	return list, err
}

// open opens a part.
func (b *workbook) open(name string) (io.ReadCloser, error) {
	f := b.parts[name]
	if f == nil {
		return nil, fmt.Errorf("the file is not XLSX: it lacks part %q", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return r, nil
}

// inflated reads a part and counts its bytes.
type inflated struct {
	b *workbook
	r io.Reader
}

// Read implements io.Reader.
func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if i.b.left -= int64(n); i.b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// read decompresses a part.
func (b *workbook) read(name string) ([]byte, error) {
	r, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(&inflated{b, r})
	if err != nil && !errors.Is(err, errTooLarge) {
		err = fmt.Errorf("reading %s: %w", name, err)
	}
	return text, err
}

// each calls do for every element of a part that no call has read. It decompresses the part as it reads it.
func (b *workbook) each(name string, do func(*xml.Decoder, xml.StartElement) error) error {
	f, err := b.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	d := xml.NewDecoder(bufio.NewReader(&inflated{b, f}))
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errTooLarge) {
			return errTooLarge
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if e, ok := t.(xml.StartElement); ok {
			if err := do(d, e); err != nil {
				return err
			}
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// texts joins the texts of an element until its end: those in elements with one of the names.
func (b *workbook) texts(d *xml.Decoder, end string, names ...string) (string, error) {
	var out strings.Builder
	inside := false
	for {
		t, err := d.RawToken()
		if err != nil {
			return "", fmt.Errorf("reading cells: %w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			inside = slices.Contains(names, t.Name.Local)
		case xml.CharData:
			if inside {
				out.Write(t)
			}
		case xml.EndElement:
			if inside = false; t.Name.Local == end {
				return out.String(), nil
			}
		}
	}
}

func (b *workbook) sharedString(d *xml.Decoder, e xml.StartElement) error {
	if e.Name.Local != "si" {
		return nil
	}
	if len(b.shared) == maxCells {
		return errCells
	}
	text, err := b.texts(d, "si", "t")
	b.shared = append(b.shared, text)
	return err
}

// cell reads a cell. A formula is part of what it shows.
func (b *workbook) cell(s *sheetCells, d *xml.Decoder, e xml.StartElement) error {
	if e.Name.Local != "c" {
		return nil
	}
	if b.cells++; b.cells > maxCells {
		return errCells
	}
	text, err := b.texts(d, "c", "v", "t", "f")
	if err != nil {
		return err
	}
	if attribute(e, "t") == "s" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n >= len(b.shared) {
			return fmt.Errorf("reading sheet %s: cell %s refers to text %q, which the file does not have", quoted(s.name), attribute(e, "r"), text)
		}
		text = b.shared[n]
	}
	if text != "" {
		s.cells = append(s.cells, sheetCell{attribute(e, "r"), text})
	}
	return nil
}

// xlsxData joins the data in a workbook.
func xlsxData(file []byte) ([]byte, error) {
	list, err := readBook(file, dataSheet)
	if err != nil {
		return nil, fmt.Errorf("%w (%v)", ErrNoData, err)
	}
	var out bytes.Buffer
	for _, s := range list {
		for _, c := range s.cells {
			if piece, ok := strings.CutPrefix(c.text, dataPrefix); ok {
				out.WriteString(piece)
			}
		}
	}
	if out.Len() == 0 {
		return nil, ErrNoData
	}
	return out.Bytes(), nil
}

// xlsxDiff compares cells, and if they are the same, the parts of the files.
func xlsxDiff(want, got []byte) []string {
	a, err := bookTokens(want)
	if err != nil {
		return []string{err.Error()}
	}
	b, err := bookTokens(got)
	if err != nil {
		return []string{err.Error()}
	}
	if list := compare(a, b); len(list) > 0 {
		return list
	}
	return compare(partTokens(want), partTokens(got))
}

func bookTokens(file []byte) (out []token, err error) {
	list, err := readBook(file, "")
	for _, s := range list {
		out = append(out, token{"workbook", "sheet " + s.name})
		for _, c := range s.cells {
			out = append(out, token{fmt.Sprintf("sheet %s, cell %s", quoted(s.name), c.ref), c.text})
		}
	}
	return out, err
}

// partTokens has the parts of a workbook, which also have formats and properties.
func partTokens(file []byte) (out []token) {
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return []token{{"workbook", err.Error()}}
	}
	b := &workbook{parts: map[string]*zip.File{}, left: maxData}
	for _, f := range z.File {
		b.parts[f.Name] = f
		text, err := b.read(f.Name)
		if err != nil {
			text = []byte(err.Error())
		}
		out = append(out, token{"part " + f.Name, string(text)})
	}
	return out
}
