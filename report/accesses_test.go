package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/report/value"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// pathSecret is a token in the paths of the capture.
const pathSecret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

// manyAccesses is a capture with more calls than a page of a question has, by several users, some of
// which carry a card.
func manyAccesses(t *testing.T, n int) (file string, begin, end time.Time) {
	t.Helper()
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	users := []string{"ann:a", "bob:b", "cy:c", "=1+1:d"}
	for i := range n {
		user := users[0]
		if i%200 == 199 {
			user = users[1+i/200%3]
		}
		body := ""
		if i%100 == 7 {
			body = `{"card":"4111111111111111"}`
		}
		c.Exchange(time.Duration(i)*10*time.Millisecond, time.Millisecond, fmt.Sprint("c", i%5), "10.0.0.1", "10.0.0.2:80",
			traffic.HTTP(fmt.Sprintf("POST /orders/%d/%s?token=s3cr3t%d HTTP/1.1", i, pathSecret, i), "Host: shop\r\nContent-Type: application/json\r\nAuthorization: Basic "+base64.StdEncoding.EncodeToString([]byte(user)), body), ok)
	}
	file = filepath.Join(t.TempDir(), "made.pcap")
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	first := time.Date(2026, 2, 25, 6, 13, 20, 0, time.UTC)
	return file, first, first.Add(time.Duration(n) * 10 * time.Millisecond)
}

// partOf makes a bundle of a time of a capture.
func partOf(t *testing.T, file, name string, from, to time.Time) string {
	return makeBundle(t, exporter.Options{FromNs: from.UnixNano(), ToNs: to.UnixNano()}, name, file)
}

// tableOf returns a table of a report.
func tableOf(t *testing.T, r *value.Report, id string) *value.Table {
	t.Helper()
	for _, s := range r.Sections {
		for _, b := range s.Blocks {
			if b.Table != nil && b.Table.ID == id {
				return b.Table
			}
		}
	}
	t.Fatalf("no table %s in %+v", id, r.Absent)
	return nil
}

func textsOf(tab *value.Table, column string) (out []string) {
	i := slices.IndexFunc(tab.Columns, func(c value.Column) bool { return strings.HasPrefix(c.Name, column) })
	for _, r := range tab.Rows {
		out = append(out, r.Cells[i].Text)
	}
	return out
}

// TestEveryAccessIsListed makes the complete list over one bundle, and over two that overlap: every
// call once, all users, whatever the size of a page. It is in CSV, JSON and XLSX, and verified.
func TestEveryAccessIsListed(t *testing.T) {
	const n = 1100 // more than a page
	file, begin, end := manyAccesses(t, n)
	third := end.Sub(begin) / 3
	whole := makeBundle(t, exporter.Options{}, "whole", file)
	a, b := partOf(t, file, "a", begin.Add(-time.Hour), begin.Add(2*third)), partOf(t, file, "b", begin.Add(third), end.Add(time.Hour))
	var requests [][]string
	for _, paths := range [][]string{{whole}, {a, b}} {
		c := open(t, paths...)
		r, err := Build(t.Context(), c, known(Options{Name: "accesses"}))
		if err != nil {
			t.Fatal(err)
		}
		calls := tableOf(t, r, "calls-table")
		list := textsOf(calls, "Request")
		if len(list) != n || !strings.Contains(calls.Note, "complete: it has 1,100 rows") {
			t.Errorf("%d of %d accesses of %v, %s", len(list), n, paths, calls.Note)
		}
		requests = append(requests, list)
		if got := textsOf(tableOf(t, r, "users-table"), "User"); !slices.Equal(got, []string{"ann", "bob", "cy", "=1+1"}) {
			t.Errorf("users %v", got)
		}
		if first := r.Statements[0]; !strings.Contains(first.Text, "lists 1,100 rows") {
			t.Errorf("the first page begins with %q", first.Text)
		}
		if times := textsOf(calls, "Time"); times[0] != "2026-02-25T06:13:20.000000000Z" {
			t.Errorf("the first time is %s", times[0])
		}
		for i, row := range calls.Rows {
			if len(row.Cite) != 1 || row.Cite[0].Call == "" {
				t.Fatalf("access %d is not cited: %+v", i, row)
			}
		}
		for form, text := range forms(t, r, "csv", "json", "xlsx") {
			if k := check(t, form, text, c); len(k.Differences) > 0 {
				t.Errorf("%s is not intact: %q", form, k.Differences)
			}
		}
		r.Sections[1].Blocks[0].Table.Rows = slices.Delete(calls.Rows, 1050, 1051) // on the second page
		if k := check(t, "csv", forms(t, r, "csv")["csv"], c); len(k.Differences) != 1 || !strings.Contains(k.Differences[0], "missing in the file") {
			t.Errorf("a removed access: %q", k.Differences)
		}
		for _, limit := range []int{7, 1000} { // the users are those of everything, not of a page
			var out struct {
				Users []struct{ User string } `json:"users"`
			}
			again, err := questionOf(t, "audit_access").Ask(t.Context(), c, []byte(fmt.Sprintf(`{"kfl":"true","limit":%d}`, limit)))
			if text, _ := json.Marshal(again); err != nil || json.Unmarshal(text, &out) != nil || len(out.Users) != 4 {
				t.Errorf("%d users in pages of %d, %v", len(out.Users), limit, err)
			}
		}
	}
	if !slices.Equal(requests[0], requests[1]) {
		t.Error("two bundles that overlap give another list than one")
	}
}

func questionOf(t *testing.T, name string) ask.Question {
	t.Helper()
	i := slices.IndexFunc(all.Questions(), func(q ask.Question) bool { return q.Name == name })
	return all.Questions()[i]
}

// TestEveryAccessToCards lists the calls that carried a card, and only those, without their secrets.
func TestEveryAccessToCards(t *testing.T) {
	file, _, _ := manyAccesses(t, 300)
	c, err := forensics.Open(t.Context(), []string{makeBundle(t, exporter.Options{}, "cards", file)}, forensics.Options{Threads: 2, MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	finding.Bind(c, all.Analyzers())
	secrets, err := c.Known(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Build(t.Context(), c, known(Options{Name: "card-accesses", MaskID: "x", Mask: secrets.Mask}))
	if err != nil {
		t.Fatal(err)
	}
	list := textsOf(tableOf(t, r, "calls-table"), "Request")
	if len(list) != 3 || !strings.HasPrefix(list[1], "POST /orders/107/") {
		t.Errorf("%d accesses to cards: %v", len(list), list)
	}
	if text, _ := json.Marshal(r); strings.Contains(string(text), "s3cr3t") || strings.Contains(string(text), pathSecret) || strings.Contains(string(text), "4111111111111111") {
		t.Errorf("a masked list shows secrets: %.2000s", text)
	}
}
