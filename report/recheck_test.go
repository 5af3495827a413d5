package report

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

// second is a second tool that differs about the first call.
func second(other string) Rechecker {
	return func(_ context.Context, _ *forensics.Case, ids []string, _ bool) (*value.Recheck, error) {
		r := &value.Recheck{Tool: "other", Version: "1.2", Calls: []value.Rechecked{}}
		for i, id := range ids {
			f := value.Fact{Name: "name", State: value.Confirmed}
			if i == 0 {
				f = value.Fact{Name: "name", State: value.Differs, Other: other}
			}
			r.Calls = append(r.Calls, value.Rechecked{Call: id, Facts: []value.Fact{f}})
		}
		return r, nil
	}
}

func TestRecheckedReport(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	r, err := Build(t.Context(), c, known(Options{Name: "overview", Recheck: second("a.example")}))
	if err != nil {
		t.Fatal(err)
	}
	first := statement(t, r, "recheck")
	if !strings.Contains(first.Text, "confirms") || !strings.Contains(first.Text, "contradicts 1") || !first.Bad {
		t.Errorf("%+v", first)
	}
	row := findTable(r, "recheck-differences").Rows[0]
	if row.Cells[2].Text == "" || row.Cells[3].Text != "a.example" || len(row.Cite) != 1 {
		t.Errorf("%+v", row)
	}
	form, err := render.FormOf("x.md")
	if err != nil {
		t.Fatal(err)
	}
	verify := func(edit func(r *value.Report), o Options) *Check {
		var file bytes.Buffer
		if err := form.Write(&file, r); err != nil {
			t.Fatal(err)
		}
		changed, err := form.Read(file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		edit(changed)
		file.Reset()
		if err := form.Write(&file, changed); err != nil {
			t.Fatal(err)
		}
		k, err := Verify(t.Context(), form, file.Bytes(), c, known(o))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	nothing := func(*value.Report) {}
	if k := verify(nothing, Options{}); len(k.Differences) > 0 || len(k.Notes) != 1 || !strings.Contains(k.Notes[0], "was not repeated") {
		t.Errorf("an intact report: %+v", k)
	}
	if k := verify(nothing, Options{Recheck: second("a.example")}); len(k.Differences) > 0 || !strings.Contains(k.Notes[0], "was asked again") {
		t.Errorf("an intact report, repeated: %+v", k)
	}
	for name, k := range map[string]*Check{
		"the tool states something else now": verify(nothing, Options{Recheck: second("b.example")}),
		"a changed table":                    verify(func(r *value.Report) { findTable(r, "recheck-differences").Rows[0].Cells[3].Text = "x" }, Options{}),
		"a changed observation":              verify(func(r *value.Report) { r.Basis.Recheck.Calls[0].Facts[0].State = value.Confirmed }, Options{}),
		"a removed call":                     verify(func(r *value.Report) { r.Basis.Recheck.Calls = r.Basis.Recheck.Calls[1:] }, Options{}),
		"a removed observation":              verify(func(r *value.Report) { r.Basis.Recheck = nil }, Options{}),
	} {
		if len(k.Differences) == 0 {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

// statement finds a statement of the first page.
func statement(t *testing.T, r *value.Report, id string) value.Statement {
	t.Helper()
	for _, s := range r.Statements {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("no statement %s", id)
	return value.Statement{}
}
