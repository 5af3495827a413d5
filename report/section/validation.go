package section

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/validation"
	"github.com/pcapsule/pcapsule/report/value"
)

// validation states the known error rates of the dissectors that read the calls of the report.
func (b *builder) validation(*templates.Section) (value.Section, string) {
	p := validation.Known()
	used := []string{"packets", "tcp", "udp"}
	for _, r := range b.protocolList().Rows {
		used = append(used, r.Protocol)
	}
	s := value.Section{Title: "Validation of the decoders",
		Text: []string{"Equal: both programs count the same values in a capture. Explained: they differ, and the reason was verified in the bytes of the capture; it is listed in the project with the capture. Open: they define what is counted differently. The disagreement is the share of values that are not equal, whichever program is right.",
			"The comparison was made for the release, with the captures in its source (test TestTruth). Its query repeats it for the calls that this report cites."}}
	query := b.number(value.Query{Command: "pcapsule report verify FILE " + b.paths + " --recheck tshark"})
	t := &value.Table{ID: "validation-table", Queries: query, Title: "Comparison with " + value.Text(p.Tool),
		Columns: []value.Column{value.TextColumn("Decoder"), value.TextColumn("Counted"), value.NumberColumn("Captures", ""), value.NumberColumn("Equal", "captures"), value.NumberColumn("Explained", "captures"), value.NumberColumn("Open", "captures"),
			value.NumberColumn("Values", "of the other program"), value.NumberColumn("Equal values", ""), value.NumberColumn("Disagreement", "")}}
	var all, equal, explained int64
	var without []string
	for _, r := range p.Rows {
		switch {
		case !slices.Contains(used, r.Dissector):
			continue
		case r.Fact == "":
			without = append(without, r.Dissector)
			continue
		}
		most := max(r.Theirs, r.Ours)
		all, equal, explained = all+r.Captures, equal+r.Equal, explained+r.Explained
		t.Add(nil, value.WordCell(r.Dissector), value.WordCell(r.Fact), value.CountCell(r.Captures), value.CountCell(r.Equal), value.CountCell(r.Explained), value.CountCell(r.Open()),
			value.CountCell(r.Theirs), value.CountCell(r.Same), value.WordCell(rate(most-r.Same, most)))
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	s.Statements = []value.Statement{{ID: "validation-set", Queries: query, Text: fmt.Sprintf("The decoders of this release were compared with %s on %s (%s; SHA-256 of their list: %s). For the protocols of this report there are %s, each of one kind of fact in one capture: %s are equal, %s differ with a verified reason, and %s are open.",
		value.Text(p.Tool), plural.Count(p.Captures, "capture", "captures"), value.Text(p.Set), p.SHA256, plural.Count(all, "comparison", "comparisons"), plural.Thousands(equal), plural.Thousands(explained), plural.Thousands(all-equal-explained)),
		Figures: []value.Number{value.Count("comparisons", all), value.Count("equal", equal), value.Count("explained", explained)}}}
	if len(without) > 0 {
		s.Statements = append(s.Statements, value.Statement{ID: "validation-without", Text: sentence("not compared with " + value.Text(p.Tool) + ", so no error rate is known: " + strings.Join(without, ", "))})
	}
	return s, ""
}

// rate writes a share with three digits after the point, because error rates are small.
func rate(n, of int64) string {
	switch {
	case of == 0:
		return "not known"
	case n == 0:
		return "0 %"
	}
	return fmt.Sprintf("%.3f %%", float64(n)/float64(of)*100)
}
