package render

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/report/value"
)

func TestNamesOfSheets(t *testing.T) {
	n := newSheetNames("Report", dataSheet)
	seen := map[string]bool{}
	for _, tt := range []struct{ name, title, want string }{
		{"a title is a name", "Questions", "Questions"},
		{"the second one has a number", "questions", "questions (2)"},
		{"a name of the file is taken", "report", "report (2)"},
		{"a name that Excel keeps", "History", "History (2)"},
		{"forbidden characters", `a/b\c?d*e[f]:g`, "a b c d e f g"},
		{"quotes at the ends", "'quoted'", "quoted"},
		{"a long title", strings.Repeat("x", 40), strings.Repeat("x", 30) + "…"},
		{"the same again", strings.Repeat("x", 40), strings.Repeat("x", 26) + "… (2)"},
		{"letters of two units", strings.Repeat("\U0001f600", 20), strings.Repeat("\U0001f600", 15) + "…"},
		{"nothing left", "???", "sheet"},
		{"nothing left again", "", "sheet (2)"},
	} {
		got := n.unique(tt.title)
		if got != tt.want || seen[strings.ToLower(got)] {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		seen[strings.ToLower(got)] = true
	}
}

func TestLimitsOfWorkbooks(t *testing.T) {
	long := strings.Repeat("ä", maxCellText+5)
	cut := fitCell(long)
	if n := utf8.RuneCountInString(cut); n > maxCellText || !strings.Contains(cut, "105 more characters do not fit in a cell") {
		t.Errorf("a long text has %d characters and ends in %q", n, cut[len(cut)-90:])
	}
	if whole := strings.Repeat("ä", maxCellText); fitCell(whole) != whole {
		t.Error("a text that fits is cut")
	}
	g := grid{columns: []string{"A"}}
	for range 10 {
		g.add("x")
	}
	if g.fit(11); len(g.rows) != 10 {
		t.Errorf("%d rows of 10 are left", len(g.rows))
	}
	if g.fit(10); len(g.rows) != 9 || !strings.HasPrefix(g.rows[8][0].(string), "2 more rows do not fit") {
		t.Errorf("%d rows, the last is %v", len(g.rows), g.rows[len(g.rows)-1])
	}
	if big := int64(maxExact + 1); exact(&big) != "9007199254740993" {
		t.Errorf("a number that would be rounded: %v", exact(&big))
	}
}

// Hostile text is text in every cell, and the data survives it.
func TestTextOfWorkbooks(t *testing.T) {
	n := int64(1234567)
	texts := []string{"=1+1", "+1", "-1", "@SUM(A1)", "<b>&\"'", "_x0041_x0042_", "\t tab", "漢字 \U0001f600", `a\_x000a`}
	r := &value.Report{Schema: value.Schema, Title: "=HYPERLINK(\"x\")", Basis: value.Basis{Template: "x"}}
	table := &value.Table{ID: "t", Title: "=T", Columns: []value.Column{value.TextColumn("=Name"), value.NumberColumn("Calls", ""), value.NumberColumn("Took", "p50"), value.NumberColumn("Bytes", "")}}
	for _, text := range texts {
		table.Add(nil, value.WordCell(text), value.CountCell(n), value.MicrosCell(n), value.BytesCell(n))
	}
	r.Sections = []value.Section{{ID: "s", Title: "S", Blocks: []value.Block{value.TableBlock(table)}}}
	var b bytes.Buffer
	if err := XLSX(&b, r); err != nil {
		t.Fatal(err)
	}
	f, err := FormOf("x.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	back, err := f.Read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	list, err := readBook(b.Bytes(), "")
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string]string{}
	for _, s := range list {
		for _, c := range s.cells {
			cells[s.name+"!"+c.ref] = c.text
		}
	}
	for i, want := range texts {
		if got := back.Sections[0].Blocks[0].Table.Rows[i].Cells[0].Text; got != table.Rows[i].Cells[0].Text {
			t.Errorf("the data has %q, want %q", got, want)
		}
	}
	for at, want := range map[string]string{"=T!A2": "=1+1", "=T!B1": "Calls", "=T!B2": "1234567", "=T!C2": "1.23 s", "=T!D1": "Took (p50), µs", "=T!D2": "1234567",
		"=T!E2": "1.2 MB", "=T!F1": "Bytes, bytes", "=T!A7": `\u{5f}x0041\u{5f}x0042_`, "=T!A9": "漢字 \U0001f600"} {
		if cells[at] != want {
			t.Errorf("cell %s is %q, want %q", at, cells[at], want)
		}
	}
	if bytes.Contains(b.Bytes(), []byte("<f>")) {
		t.Error("a formula")
	}
}

func FuzzReadBook(f *testing.F) {
	var b bytes.Buffer
	if err := XLSX(&b, &value.Report{Title: "x"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		data, err := xlsxData(file)
		if (err == nil) == (len(data) == 0) {
			t.Errorf("%d bytes and %v", len(data), err)
		}
		partTokens(file)
	})
}

// TestNoUnreadableWorkbook writes a workbook, and checks that a reader's limits apply to what is written.
func TestNoUnreadableWorkbook(t *testing.T) {
	var file bytes.Buffer
	if err := XLSX(&file, &value.Report{Title: "t", Sections: []value.Section{{ID: "a", Title: "A", Text: []string{"x"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := readBook(file.Bytes(), ""); err != nil {
		t.Errorf("what was written cannot be read: %v", err)
	}
	for _, tt := range []struct {
		cells int
		most  uint64
		ok    bool
	}{{100, maxBook, true}, {maxCells + 1, maxBook, false}, {100, 1000, false}} {
		if err := readable(file.Bytes(), tt.cells, tt.most); (err == nil) != tt.ok {
			t.Errorf("%d cells, at most %d bytes: %v", tt.cells, tt.most, err)
		}
	}
}
