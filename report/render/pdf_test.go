package render

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/pdf"
	"github.com/pcapsule/pcapsule/report/value"
)

// hard is a report with what is hard to print: long words, many columns, a row that is higher than a
// page, letters that the fonts lack, and pictures that are higher than a page.
func hard() *value.Report {
	r := &value.Report{Schema: value.Schema, Title: "Отчёт 漢字 " + strings.Repeat("x", 200), Kind: "Test", From: "2026-11-20T09:00:00Z", To: "2026-11-20T10:00:00Z", Basis: value.Basis{Template: "x"}}
	r.Facts = []value.Number{{Label: "a label that needs two lines at least", Text: "1,234,567,890,123", Bad: true}}
	r.Statements = []value.Statement{{ID: "s", Head: "What", Text: strings.Repeat("word ", 1500), Bad: true, Queries: []int{1}}}
	wide := &value.Table{ID: "wide", Title: "Wide"}
	row := value.Row{Bad: true}
	share := 500
	for i := range 25 {
		wide.Columns = append(wide.Columns, value.NumberColumn(fmt.Sprintf("Column%d", i), "averylongdescription"))
		row.Cells = append(row.Cells, value.Cell{Text: strconv.Itoa(i * 1_000_000), Share: &share})
	}
	wide.Rows = []value.Row{row, row}
	high := &value.Table{ID: "high", Title: "High", Columns: []value.Column{value.TextColumn("Name"), value.CodeColumn("Path")}, Note: "A note."}
	high.Add([]*value.Citation{{Call: strings.Repeat("0f", 16), Packets: "1-3"}}, value.WordCell("señor Ωmega"), value.WordCell(strings.Repeat("/path", 4000)))
	high.Add(nil, value.Cell{Text: "last", Bad: true}, value.WordCell("end of the table"))
	sequence := &value.SequenceChart{Actors: []string{"a", "b"}}
	for i := range 60 {
		done := int64(i*1000 + 500)
		sequence.Messages = append(sequence.Messages, value.Message{From: i % 2, To: 1 - i%2, AtUs: int64(i * 1000), DoneUs: &done, Text: fmt.Sprintf("message %d", i), Answer: "漢字"})
	}
	gaps := &value.TimeChart{BucketNs: 1e9, Unit: "bytes", Stretches: []value.Stretch{{First: 10, Count: 4}}, Series: []value.Series{{Name: "http1", Total: 10, Values: []int64{1, 2, 3, 4}}, {Name: "failed", Class: "bad", Total: 1, Values: []int64{0, 0, 1, 0}}},
		Holes: []value.Span{{FromNs: 11e9, ToNs: 12e9, Reason: "drop"}}}
	r.Sections = []value.Section{
		{ID: "a", Title: "Tables", Text: []string{"How to read it."}, Blocks: []value.Block{value.TableBlock(wide), value.TableBlock(high)}},
		{ID: "b", Title: "Charts", Blocks: []value.Block{value.FigureBlock(&value.Figure{ID: "g", Title: "Gaps", Time: gaps, Note: "Times are UTC."}), value.FigureBlock(&value.Figure{ID: "q", Title: "Sequence", Sequence: sequence})}},
		{ID: "c", Title: "Sign-off", Sign: []string{"Prepared by", "Date"}},
	}
	r.Queries = []value.Query{{Command: strings.Repeat("query ", 300)}}
	return r
}

var placed = regexp.MustCompile(`BT ([0-9.-]+) ([0-9.-]+) Td “(.*)” Tj`)

// TestPaper prints a report that is hard to print. All text is there, and none is outside of its page.
func TestPaper(t *testing.T) {
	r := hard()
	var b, again bytes.Buffer
	if err := PDF(&b, r); err != nil {
		t.Fatal(err)
	}
	if err := PDF(&again, r); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same report twice differs, or %v", err)
	}
	if path := os.Getenv("PCAPSULE_ONE"); path != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var all strings.Builder
	sizes := sizesOf(t, b.Bytes())
	if !slices.Contains(sizes, [2]float64{842, 595}) || !slices.Contains(sizes, [2]float64{595, 842}) {
		t.Errorf("the table of 24 columns is not on pages in landscape format: %v", sizes)
	}
	pages := map[string]bool{}
	for _, p := range pdf.Parts(b.Bytes(), maxData) {
		m := placed.FindStringSubmatch(p.Text)
		if m == nil || !strings.HasPrefix(p.Place, "page") {
			continue
		}
		pages[p.Place] = true
		x, _ := strconv.ParseFloat(m[1], 64)
		y, _ := strconv.ParseFloat(m[2], 64)
		n, _ := strconv.Atoi(strings.TrimPrefix(p.Place, "page "))
		if size := sizes[n-1]; x < 42 || x > size[0]-42 || y < 15 || y > size[1]-12 {
			t.Errorf("%s: %q is at %s, %s", p.Place, m[3], m[1], m[2])
		}
		all.WriteString(m[3])
	}
	text := all.String()
	for _, want := range []string{"Отчёт", `\u{6f22}\u{5b57}`, "señor", "Ωmega", "24000000", "Column24", "message 59", "Prepared by", "Page 1 of ", fmt.Sprintf("Page %d of %[1]d", len(pages)), "end of the table", "Q1", "http1 10 B"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(text, "/"); n != 4000 {
		t.Errorf("%d of 4,000 parts of a long text", n)
	}
	if n := strings.Count(text, "word"); n != 1500 {
		t.Errorf("%d of 1,500 words", n)
	}
}

var pageForm = regexp.MustCompile(`(?s)/Type /Page\b[^s].*?endobj`)

// sizesOf are the widths and heights of the pages of a PDF, in whole points.
func sizesOf(t *testing.T, file []byte) (list [][2]float64) {
	t.Helper()
	for _, page := range pageForm.FindAll(file, -1) {
		size := [2]float64{595, 842}
		if _, box, ok := strings.Cut(string(page), "/MediaBox [0 0 "); ok {
			fmt.Sscan(box, &size[0], &size[1])
		}
		list = append(list, [2]float64{math.Round(size[0]), math.Round(size[1])})
	}
	return list
}

// TestTags checks what programs that read aloud get of a report that is hard to print: each line of
// text belongs to a tag or to a footer, and each table has a head and all of its cells.
func TestTags(t *testing.T) {
	r := hard()
	var b bytes.Buffer
	if err := PDF(&b, r); err != nil {
		t.Fatal(err)
	}
	tags, footers, open, stray := map[string]int{}, 0, "", 0
	tree := ""
	for _, p := range pdf.Parts(b.Bytes(), maxData) {
		switch {
		case !strings.HasPrefix(p.Place, "page"):
			if strings.Contains(p.Text, "/StructTreeRoot /K") {
				tree = p.Text
			}
		case strings.HasSuffix(p.Text, "BDC"), strings.HasSuffix(p.Text, "BMC"):
			open, _, _ = strings.Cut(p.Text, " ")
		case p.Text == "EMC":
			open = ""
		case placed.MatchString(p.Text) && open == "":
			stray++
		case placed.MatchString(p.Text) && open == "/Artifact":
			footers++
		case placed.MatchString(p.Text):
			tags[open]++
		}
	}
	if stray > 0 || footers == 0 || tags["/P"] == 0 || tags["/H1"] == 0 || tags["/TH"] == 0 || tags["/TD"] == 0 || tags["/Figure"] == 0 {
		t.Errorf("%d lines without a mark, %d that are not read, and %v", stray, footers, tags)
	}
	rows, columns, cells := 0, 0, 0
	for _, table := range []*value.Table{r.Sections[0].Blocks[0].Table, r.Sections[0].Blocks[1].Table} {
		wide := len(table.Columns)
		if table.Cited() {
			wide++
		}
		rows, columns, cells = rows+1+len(table.Rows), columns+wide, cells+wide*len(table.Rows)
	}
	for tag, want := range map[string]int{"Table": 2, "TR": rows, "TH": columns, "TD": cells, "Figure": 2, "H1": 1, "Document": 1} {
		if got := strings.Count(tree, "<</S /"+tag+" "); got != want {
			t.Errorf("%d tags %s, want %d", got, tag, want)
		}
	}
	if strings.Count(tree, "/Alt <FEFF") != 2 || strings.Count(tree, "/Scope /Column") != columns {
		t.Error("a figure without a text, or a head without its direction")
	}
}
