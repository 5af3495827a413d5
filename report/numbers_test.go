package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// broken are mistakes of sentences that are put together: a list of nobody, a word twice, two full stops, a number and a
// noun that do not agree.
var broken = regexp.MustCompile(`\b(No|no) (No|no)\b| \.( |$)|[^.]\.\.( |$)|  |\(\)|\(\(|: ?\.|\bconcern ?\.|\bfrom to\b|\b1 (calls|findings|clients|services|requests|connections|packets|flows|statements|endpoints|users|analyzers|kinds|look-ups)\b|\b([0-9,]*[02-9]|[0-9,]+1) (call|finding|packet|flow|statement|endpoint|analyzer|kind|look-up) |%!`)

var perBucket = regexp.MustCompile(`, per (?:([0-9,]+) )?(days?|hours?|minutes?|seconds?|ms)$`)

var unitNs = map[string]int64{"day": 86400e9, "hour": 3600e9, "minute": 60e9, "second": 1e9, "ms": 1e6}

// checkNumbers checks that what a report says of a chart follows from the data of the chart, that totals are sums, that
// numbers that identify something have no separators, and that sentences are whole.
func checkNumbers(t *testing.T, name string, r *value.Report) {
	t.Helper()
	for _, text := range texts(r) {
		if !strings.Contains(text, "“") && broken.MatchString(text) && !strings.Contains(text, "'") { // quotations are of the traffic
			t.Errorf("%s: %q in %q", name, broken.FindString(text), text)
		}
	}
	for _, s := range r.Sections {
		for _, b := range s.Blocks {
			switch {
			case b.Figure != nil:
				checkFigure(t, name, b.Figure)
			case b.Table != nil:
				for i, c := range b.Table.Columns {
					if c.Name != "Port" && c.Name != "Flow" && c.Name != "Status" {
						continue
					}
					for _, row := range b.Table.Rows {
						if row.Cells[i].Value != nil && strings.Contains(row.Cells[i].Text, ",") {
							t.Errorf("%s: %s %s", name, c.Name, row.Cells[i].Text)
						}
					}
				}
			}
		}
	}
}

func checkFigure(t *testing.T, name string, f *value.Figure) {
	t.Helper()
	if f.Time != nil {
		m := perBucket.FindStringSubmatch(f.Title)
		if m == nil {
			t.Errorf("%s: the title %q does not say how long a bar is", name, f.Title)
			return
		}
		n := int64(1)
		if m[1] != "" {
			fmt.Sscan(strings.ReplaceAll(m[1], ",", ""), &n)
		}
		unit := strings.TrimSuffix(m[2], "s")
		if m[2] == "ms" {
			unit = "ms"
		}
		if n*unitNs[unit] != f.Time.BucketNs {
			t.Errorf("%s: %q over bars of %d ns", name, f.Title, f.Time.BucketNs)
		}
		for _, s := range f.Time.Series {
			sum := int64(0)
			for _, v := range s.Values {
				sum += v
			}
			if f.Time.Unit == value.Latency {
				sum = slices.Max(s.Values)
			}
			if sum != s.Total || len(s.Values) != f.Time.Buckets() {
				t.Errorf("%s: %s of %s has the total %d and %d bars, its bars have %d and are %d", name, s.Name, f.ID, s.Total, f.Time.Buckets(), sum, len(s.Values))
			}
			if f.Time.Unit == "calls" && !strings.Contains(f.Alt, s.Name+" "+plural.Thousands(s.Total)) {
				t.Errorf("%s: %q does not have %s %d", name, f.Alt, s.Name, s.Total)
			}
		}
	}
	if f.Map != nil {
		if want := fmt.Sprintf("Map of %s and ", plural.Count(int64(len(f.Map.Nodes)), "node", "nodes")); !strings.HasPrefix(f.Alt, want) {
			t.Errorf("%s: %q, the map has %d nodes", name, f.Alt, len(f.Map.Nodes))
		}
		for _, n := range f.Map.Nodes {
			if strings.HasPrefix(strings.ToLower(n.Name), "ff0") || strings.HasPrefix(n.Name, "224.") || strings.HasPrefix(n.Name, "239.") || n.Name == "255.255.255.255" {
				t.Errorf("%s: the map has %s, which is everybody", name, n.Name)
			}
		}
	}
	if f.Sequence != nil {
		if want := plural.Count(int64(len(f.Sequence.Messages)), "call", "calls"); !strings.Contains(f.Alt, want) {
			t.Errorf("%s: %q, the diagram has %s", name, f.Alt, want)
		}
		for _, a := range f.Sequence.Actors {
			if !strings.Contains(f.Alt, a) {
				t.Errorf("%s: %q does not name %s", name, f.Alt, a)
			}
		}
	}
}

func TestMistakesOfSentencesAreFound(t *testing.T) {
	for _, bad := range []string{"The findings concern .", "No No call was seen.", "It failed..", "1 calls failed.", "21 call failed", "at 2 clients ((outside), a)", "from to", "a  b"} {
		if !broken.MatchString(bad) {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{"No call was seen.", "1 call failed.", "11 calls failed, of 1,001 calls.", "The window lasts 1.5 s.", "at 1 client (outside)"} {
		if broken.MatchString(good) {
			t.Errorf("%q fails: %q", good, broken.FindString(good))
		}
	}
}
