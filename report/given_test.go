package report

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

// TestListsOfTheAuthor builds reports with an allow-list and a statement about the vantage, which
// decide findings and verdicts.
func TestListsOfTheAuthor(t *testing.T) {
	shop := sample(t, "shop.pcapng")
	plain, _ := build(t, Options{Name: "egress"}, shop)
	r, _ := build(t, Options{Name: "egress", Allow: []string{"*.example.net", "outside->shop"}, Attest: true}, shop)
	found := func(name string) (n int) {
		for _, f := range r.Findings {
			if strings.HasPrefix(f.ID, name+"/") {
				n++
			}
		}
		return n
	}
	if found("segmentation") == 0 || found("egress") != 0 {
		t.Errorf("%d findings of segmentation, %d of egress; want some and 0", found("segmentation"), found("egress"))
	}
	before, after := controls(t, plain), controls(t, r)
	if strings.Contains(before, "author of this report states") || !strings.Contains(after, "author of this report states") {
		t.Error("only the second report repeats what its author stated")
	}
	if a, b := strings.Count(before, "|evidence|"), strings.Count(after, "|evidence|"); a >= b {
		t.Errorf("%d and %d controls with evidence; want more with the statement", a, b)
	}
	c := open(t, shop)
	for form, file := range forms(t, r, "json", "md", "xlsx") {
		if k := check(t, form, file, c); len(k.Differences) > 0 {
			t.Errorf("intact %s: %q", form, k.Differences)
		}
	}
	r.Basis.Attest = false
	for form, file := range forms(t, r, "json") {
		k := check(t, form, file, c)
		if !slices.ContainsFunc(k.Differences, func(d string) bool { return strings.Contains(d, "The author of this report states") }) {
			t.Errorf("%s that hides who states the vantage: %q", form, k.Differences)
		}
	}
}

// controls is the text of the section controls.
func controls(t *testing.T, r *value.Report) string {
	t.Helper()
	i := slices.IndexFunc(r.Sections, func(s value.Section) bool { return s.ID == "controls" })
	if i < 0 {
		t.Fatal("no section controls")
	}
	var out strings.Builder
	for _, s := range r.Sections[i].Statements {
		out.WriteString(s.Text + "\n")
	}
	for _, b := range r.Sections[i].Blocks {
		for _, row := range b.Table.Rows {
			for _, c := range row.Cells {
				out.WriteString(c.Text + "|")
			}
		}
	}
	return out.String()
}

// TestFilterThatMatchesNothing: a report whose filter has a wrong name says so, and suggests the right one. It does not say
// that there was no access.
func TestFilterThatMatchesNothing(t *testing.T) {
	for _, name := range []string{"incident", "access", "accesses", "overview", "architecture"} {
		r, _ := build(t, Options{Name: name, KFL: `dst.name == "postgres"`}, sample(t, "shop.pcapng"))
		s := r.Statements[0]
		if len(r.Statements) != 2 || s.ID != value.Unmatched || !s.Bad || !strings.Contains(s.Text, `No call that matches the filter dst.name == "postgres" was seen`) ||
			!strings.Contains(s.Text, `did you mean "postgres-0"?`) {
			t.Errorf("%s: %d statements, first: %+v", name, len(r.Statements), s)
		}
		for _, sec := range r.Sections {
			for _, s := range sec.Statements {
				if strings.Contains(s.Text, "No call to the data set") || strings.Contains(s.Text, "No user was seen") {
					t.Errorf("%s: %s", name, s.Text)
				}
			}
		}
	}
	r, _ := build(t, Options{Name: "accesses", KFL: `dst.name == "postgres-0"`}, sample(t, "shop.pcapng"))
	if text := r.Statements[0].Text; !strings.Contains(text, "lists 63 rows") {
		t.Errorf("with the right name: %s", text)
	}
}

func TestAllowListWithAMistake(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	r, _ := build(t, Options{Name: "egress"}, sample(t, "dns.pcap"))
	r.Basis.Allow = []string{"->"}
	for form, file := range forms(t, r, "json") {
		f, err := render.FormOf("x." + form)
		if err != nil {
			t.Fatal(err)
		}
		k, err := Verify(context.Background(), f, file, c, known(Options{}))
		if err != nil || len(k.Differences) != 1 || !strings.Contains(k.Differences[0], "allow") {
			t.Errorf("%v, %+v", err, k)
		}
	}
}
