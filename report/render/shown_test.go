package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/report/value"
)

// TestLongAndEmptyTables holds that pages say which columns have no value and how many rows are not
// shown, and that the data in the file has all.
func TestLongAndEmptyTables(t *testing.T) {
	table := &value.Table{ID: "long", Title: "Long", Note: "Complete.", Columns: []value.Column{value.TextColumn("Name"), value.TextColumn("Pod"), value.TextColumn("User")}}
	for range mostPageRows + 1 {
		table.Add(nil, value.WordCell("a row"), value.WordCell(""), value.WordCell(""))
	}
	r := &value.Report{Schema: value.Schema, Title: "x", Basis: value.Basis{Template: "x"}, Sections: []value.Section{{ID: "s", Title: "s", Blocks: []value.Block{value.TableBlock(table)}}}}
	for _, tt := range []struct{ form, rows string }{{"html", "10,000"}, {"md", "10,000"}, {"pdf", "2,000"}, {"csv", ""}} {
		f, err := FormOf("x." + tt.form)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := f.Write(&b, r); err != nil {
			t.Fatal(err)
		}
		again, err := f.Read(b.Bytes())
		if err != nil || len(again.Sections[0].Blocks[0].Table.Rows) != mostPageRows+1 || len(again.Sections[0].Blocks[0].Table.Columns) != 3 {
			t.Errorf("%s does not have all rows and columns: %v", tt.form, err)
		}
		if list, err := f.Differences(r, b.Bytes()); err != nil || len(list) > 0 {
			t.Errorf("%s: %q, %v", tt.form, list, err)
		}
		if want := "Complete. No row has a value in: Pod and User. Shown here: the first " + tt.rows + " rows of 10,001."; (tt.form == "html" || tt.form == "md") && !strings.Contains(b.String(), want) {
			t.Errorf("%s does not say %q", tt.form, want)
		}
		if tt.form == "md" && strings.Count(b.String(), "| a row |\n") != mostPageRows {
			t.Errorf("%d rows in Markdown", strings.Count(b.String(), "| a row |\n"))
		}
	}
	note := shownTable(table, mostPaperRows).Note
	if !strings.Contains(note, "the first 2,000 rows of 10,001") {
		t.Errorf("on paper: %q", note)
	}
}
