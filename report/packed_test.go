package report

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/report/render"
)

var streamForm = regexp.MustCompile(`/FlateDecode /Length (\d+)>>\nstream\n`)

// insidePDF applies an edit to the streams of a PDF, up to the first one that it changes.
func insidePDF(change func([]byte) []byte) func([]byte) []byte {
	return func(file []byte) []byte {
		for _, at := range streamForm.FindAllSubmatchIndex(file, -1) {
			var n int
			fmt.Sscan(string(file[at[2]:at[3]]), &n)
			z, err := zlib.NewReader(bytes.NewReader(file[at[1] : at[1]+n]))
			if err != nil {
				continue
			}
			text, err := io.ReadAll(z)
			if err != nil {
				continue
			}
			edited := change(text)
			if bytes.Equal(edited, text) {
				continue
			}
			var b bytes.Buffer
			w := zlib.NewWriter(&b)
			w.Write(edited)
			w.Close()
			return fmt.Appendf(nil, "%s%d>>\nstream\n%s%s", file[:at[2]], b.Len(), b.Bytes(), file[at[1]+n:])
		}
		return file
	}
}

// insideXLSX applies an edit to the parts of a workbook, up to the first one that it changes.
func insideXLSX(change func([]byte) []byte) func([]byte) []byte {
	return func(file []byte) []byte {
		z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return file
		}
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		done := false
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				return file
			}
			text, err := io.ReadAll(r)
			if err != nil {
				return file
			}
			if edited := change(text); !done && !bytes.Equal(edited, text) {
				text, done = edited, true
			}
			part, err := w.Create(f.Name)
			if err != nil {
				return file
			}
			part.Write(text)
		}
		if w.Close() != nil || !done {
			return file
		}
		return b.Bytes()
	}
}

// onPaper is text as a page of a PDF shows it.
func onPaper(s string) string {
	var b strings.Builder
	for _, half := range utf16.Encode([]rune(s)) {
		for _, c := range []byte{byte(half >> 8), byte(half)} {
			if strings.IndexByte(`\()`, c) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// packedEdits are edits of forms that compress what a reader sees.
func packedEdits(form string, once, sub func(old, now string) func([]byte) []byte) []fileEdit {
	if form == "xlsx" {
		in := insideXLSX
		return []fileEdit{
			{"a count in the first sentence", "89 of 369", in(once("89 of 369 calls", "9 of 369 calls"))},
			{"a name", "paymenz", in(once("frontend to payment", "frontend to paymenz"))},
			{"a share", "24 %", in(once("(24 %)", "(2 %)"))},
			{"a time", "09:24:48.925", in(once("09:24:48.925", "09:24:40.925"))},
			{"a query", "find-failures", in(once("pcapsule ask find-failures", "pcapsule ask find-errors"))},
			{"a severity", "low", in(once("<t>high</t>", "<t>low</t>"))},
			{"a citation", "frames", in(sub(`shop.pcapng frames [0-9]+`, "shop.pcapng frames 1"))},
			{"a number", "sheet", in(sub(`(<c r="D[0-9]+" s="[0-9]+">)<v>[0-9]+</v>`, "$1<v>7</v>"))},
			{"a point of a chart", "cell C2", in(sub(`(<c r="C2" s="[0-9]+">)<v>[0-9]+</v>`, "$1<v>7</v>"))},
			{"a formula", "1+1", in(sub(`(<c r="A2" [^>]*>)<v>`, "$1<f>1+1</f><v>"))},
			{"a removed row", "missing", in(sub(`<row r="2".*?</row>`, ""))},
			{"a hidden row", "part xl/worksheets", in(once(`<row r="2"`, `<row r="2" hidden="1"`))},
			{"a renamed sheet", "Found", in(once(`name="Findings by cause, worst first"`, `name="Found"`))},
			{"another colour", "part xl/styles.xml", in(once("</styleSheet>", " </styleSheet>"))},
			{"the data alone", "", in(once("&#34;schema&#34;:2", "&#34;schema&#34;:2 "))},
			{"the data removed", "no data", in(sub(`json:[^<]*`, ""))},
			{"a removed byte at the end", "", func(file []byte) []byte { return file[:len(file)-2] }},
		}
	}
	text := func(old, now string) func([]byte) []byte { return insidePDF(once(onPaper(old), onPaper(now))) }
	return []fileEdit{
		{"a count in the first sentence", "89 of 369", text("89 of 369 calls", "9 of 369 calls")},
		{"a name", "paymenz", text("frontend to payment", "frontend to paymenz")},
		{"a share", "24 %", text("(24 %)", "(2 %)")},
		{"a time", "09:24:48.925", text("09:24:48.925", "09:24:40.925")},
		{"a query", "find-failures", text("pcapsule ask find-failures", "pcapsule ask find-errors")},
		{"a severity", "page", text("high", "lower")},
		{"a citation", "page 1", text("frames ", "frames 1-")},
		{"a bar of a chart", "page", insidePDF(sub(`\n[0-9.]+ ([0-9.]+) l\n`, "\n7.00 $1 l\n"))},
		{"a removed line", "missing", insidePDF(sub(`(?s)BT [0-9. ]+ Td \([^)]*\) Tj ET\n`, ""))},
		{"a colour", "page", insidePDF(sub(`\n0\.[0-9]+ 0\.[0-9]+ 0\.[0-9]+ rg\n`, "\n1 1 1 rg\n"))},
		{"the data alone", "", insidePDF(once(`"schema":2`, `"schema":2 `))},
		{"the data removed", "no data", once("/Type /EmbeddedFile", "/Type /XXXXXXXXFile")},
		{"the title of the document", "object", once("– Incident report</rdf:li>", "– Good report</rdf:li>")},
		{"an added object", "object", func(file []byte) []byte { return append(bytes.Clone(file), "9 0 obj\n<<>>\nendobj\n"...) }},
		{"a removed byte at the end", "", func(file []byte) []byte { return file[:len(file)-2] }},
	}
}

// TestHostileFiles reads files that were made to harm: each is an error, in bounded memory.
func TestHostileFiles(t *testing.T) {
	bomb := strings.Repeat(" ", 140<<20)
	book := func(parts ...string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for i := 0; i+1 < len(parts); i += 2 {
			f, err := w.Create(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			f.Write([]byte(parts[i+1]))
		}
		w.Close()
		return b.Bytes()
	}
	const rels = `<Relationships><Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>`
	sheets := func(n int) string {
		return `<workbook><sheets>` + strings.Repeat(`<sheet name="data" id="r1"/>`, n) + `</sheets></workbook>`
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write([]byte(bomb))
	w.Close()
	for _, tt := range []struct{ name, form, want, file string }{
		{"a ZIP bomb", "xlsx", "more than 128 MiB", string(book("xl/_rels/workbook.xml.rels", bomb))},
		{"a part that many sheets have", "xlsx", "more than 128 MiB", string(book("xl/_rels/workbook.xml.rels", rels, "xl/workbook.xml", sheets(150), "xl/worksheets/sheet1.xml", bomb[:1<<20]))},
		{"entities", "xlsx", "invalid character entity", string(book("xl/_rels/workbook.xml.rels", `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]><x>&b;</x>`))},
		{"a text that is not there", "xlsx", "refers to text", string(book("xl/_rels/workbook.xml.rels", rels, "xl/workbook.xml", sheets(1), "xl/worksheets/sheet1.xml", `<c r="A1" t="s"><v>4</v></c>`))},
		{"a part that is not there", "xlsx", "lacks part", string(book("xl/_rels/workbook.xml.rels", rels, "xl/workbook.xml", sheets(1)))},
		{"text that is not XML", "xlsx", "reading xl", string(book("xl/_rels/workbook.xml.rels", "<a"))},
		{"not a ZIP file", "xlsx", "not XLSX", "hello"},
		{"a deflate bomb", "pdf", "too large", fmt.Sprintf("1 0 obj\n<</Type /EmbeddedFile /Filter /FlateDecode /Length %d>>\nstream\n%s\nendstream\nendobj\n", z.Len(), z.Bytes())},
		{"damaged compression", "pdf", "object 1", "1 0 obj\n<</Type /EmbeddedFile /Filter /FlateDecode /Length 3>>\nstream\nabc\nendstream\nendobj\n"},
		{"not a PDF", "pdf", "carries no file", "hello"},
	} {
		f, err := render.FormOf("x." + tt.form)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Read([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
