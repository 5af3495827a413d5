package section

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// judged is the part of the answer of the question controls that reports use.
type judged struct {
	RuleSet    string `json:"rule_set"`
	Frameworks []struct {
		Framework    string `json:"framework"`
		Name         string `json:"name"`
		Version      string `json:"version"`
		Source       string `json:"source"`
		Evidence     int64  `json:"evidence"`
		Contradicted int64  `json:"contradicted"`
		NotExamined  int64  `json:"not_examined"`
		Outside      int64  `json:"outside_what_traffic_shows"`
	} `json:"frameworks"`
	Basis struct {
		Policies []string `json:"policies"`
	} `json:"basis"`
	Controls []judgment `json:"controls"`
	Accesses []access   `json:"accesses"`
	Notes    []string   `json:"notes"`
}

// access is one access to data whose accesses must be listed.
type access struct {
	CallID  string `json:"call_id"`
	Time    string `json:"time"`
	Src     string `json:"src"`
	Dst     string `json:"dst"`
	Summary string `json:"summary"`
	Status  string `json:"status"`
}

// judgment is the verdict about one control.
type judgment struct {
	Control    string   `json:"control"`
	Title      string   `json:"title"`
	Baselines  []string `json:"baselines"`
	Verdict    string   `json:"verdict"`
	Why        string   `json:"why"`
	Population struct {
		Count int64  `json:"count"`
		Of    string `json:"of"`
	} `json:"population"`
	Exceptions []struct {
		ID      string   `json:"id"`
		CallIDs []string `json:"call_ids"`
		FlowIDs []string `json:"flow_ids"`
	} `json:"exceptions"`
	Total  int64    `json:"exceptions_total"`
	Limits []string `json:"limits"`
}

// controls lists the verdicts about the controls of frameworks.
func (b *builder) controls(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Controls", Text: []string{"Verdicts are material for an assessor, not a certificate. Evidence: something put a part of the control to the test, no exception was seen, and nothing known could have hidden one; the sentence says what was examined, when, and for which part. Contradicted: exceptions were seen. Not examined: traffic could decide a part, and here it does not; the reason is given. Outside what traffic shows: no recording can decide it."}}
	in := map[string]any{"limit": 1000}
	if len(p.Frameworks) > 0 {
		in["frameworks"] = p.Frameworks
	}
	var j judged
	query := b.ask("controls", in, &j)
	if b.err != nil {
		return s, ""
	}
	s.Statements = []value.Statement{{ID: "policies", Queries: query, Text: policyWords(j.Basis.Policies)}}
	if b.in.Basis.Attest {
		s.Statements = append(s.Statements, value.Statement{ID: "attested", Queries: query, Text: "The author of this report states that the capture points see all traffic in scope, and lost nothing that the files do not report. The recording itself does not show this. Verdicts of \"evidence\" rely on it."})
	}
	for _, f := range j.Frameworks {
		s.Statements = append(s.Statements, value.Statement{ID: "controls-" + f.Framework, Queries: query, Bad: f.Contradicted > 0,
			Text:    fmt.Sprintf("%s %s: %s contradicted, evidence for a part of %s, %s not examined, %s outside what traffic shows. Rules of %s.", value.Text(f.Name), value.Text(f.Version), plural.Thousands(f.Contradicted), plural.Thousands(f.Evidence), plural.Thousands(f.NotExamined), plural.Thousands(f.Outside), value.Text(j.RuleSet)),
			Figures: []value.Number{value.Count("contradicted", f.Contradicted), value.Count("evidence", f.Evidence), value.Count("not examined", f.NotExamined), value.Count("outside", f.Outside)}})
		s.Blocks = append(s.Blocks, value.TableBlock(b.controlTable(f.Framework, f.Name+" "+f.Version, j.Controls, query)))
	}
	if len(j.Accesses) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(b.accessTable(&j, query)))
	}
	return s, ""
}

// policyWords names the policies in force while the packets were recorded.
func policyWords(list []string) string {
	const most = 20
	if len(list) == 0 {
		return "No recording policy is known."
	}
	text := "Policies while recording: " + strings.Join(list[:min(len(list), most)], " ")
	if len(list) > most {
		text += " And " + plural.Count(int64(len(list)-most), "more policy", "more policies") + "."
	}
	return value.Clean(text, most*value.MaxText)
}

// accessTable lists each access to cardholder data.
func (b *builder) accessTable(j *judged, query []int) *value.Table {
	t := &value.Table{ID: "controls-accesses", Title: "Each access to cardholder data (PCI DSS 10.2.1.1)", Queries: query,
		Columns: []value.Column{value.MomentColumn("Time (UTC)"), value.NameColumn("Client"), value.NameColumn("Server"), value.CodeColumn("Request"), value.TextColumn("Status")}}
	for _, a := range j.Accesses {
		t.Add(b.cite(a.CallID), value.WordCell(b.moment(a.Time)), value.WordCell(b.nodeName(a.Src)), value.WordCell(b.nodeName(a.Dst)), value.TextCell(a.Summary), value.TextCell(a.Status))
	}
	for _, n := range j.Notes {
		if strings.Contains(n, "listed") {
			t.Note = sentence(strings.TrimSuffix(value.Text(n), "."))
		}
	}
	return t
}

// controlTable has one row per control of a framework.
func (b *builder) controlTable(framework, title string, list []judgment, query []int) *value.Table {
	t := &value.Table{ID: "controls-" + framework + "-table", Title: value.Text(title), Queries: query,
		Columns: []value.Column{value.TextColumn("Control"), value.WideColumn("Requires"), value.TextColumn("Verdict"), value.WideColumn("Why"), value.NumberColumn("Examined", ""), value.TextColumn("Of what"), value.NumberColumn("Exceptions", ""), value.WideColumn("Limits")}}
	for _, c := range list {
		number, ok := strings.CutPrefix(c.Control, framework+"/")
		if !ok {
			continue
		}
		var calls []string
		var flows []string
		for _, e := range c.Exceptions {
			if len(e.CallIDs) > 0 {
				calls = append(calls, e.CallIDs[0])
			} else if len(e.FlowIDs) > 0 {
				flows = append(flows, e.FlowIDs[0])
			}
		}
		if len(c.Baselines) > 0 {
			c.Title += " (" + strings.Join(c.Baselines, ", ") + ")"
		}
		cites := append(b.cite(calls...), b.citeFlows(flows)...)
		t.Add(cites, value.TextCell(number), value.WordCell(value.Clean(c.Title, 2*value.MaxText)), value.Cell{Text: strings.ReplaceAll(c.Verdict, "_", " "), Bad: c.Verdict == "contradicted"}, value.WordCell(value.Clean(c.Why, 4*value.MaxText)),
			value.CountCell(c.Population.Count), value.TextCell(c.Population.Of), value.FailedCell(c.Total), value.WordCell(value.Clean(strings.Join(c.Limits, " "), 4*value.MaxText)))
	}
	return t
}
