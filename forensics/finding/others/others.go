// Package others lists what other programs said about the traffic, from the table alerts. Its findings are their claims, not
// ours: they say so, have severity info, and sentences that count findings count them apart.
package others

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxClaims is the highest number of findings.
const maxClaims = 2000

// Analyzer returns the analyzer alert.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: finding.OfOthers, Basis: finding.OfFlows, Title: "what other programs said",
		Doc:      "Alerts and anomalies of Suricata, notices, matches of lists and weird.log of Zeek (--alerts of bundle), as said by that program: by rule, client and server.",
		Unproved: "That the program is right: its claim was not checked.",
		Kinds:    []string{"alert", "anomaly", "notice", "intel", "weird"},
		Lacks: func(c *forensics.Case) string {
			if c.Alerts() == 0 {
				return "no alerts of other programs were given: use --alerts FILE when the bundle is made"
			}
			return ""
		},
		Steps: []finding.Step{{Find: find}}}
}

// claim is a group of alerts.
type claim struct {
	finding.Row
	Program  string `json:"program"`
	Version  string `json:"version"`
	Kind     string `json:"kind"`
	RuleID   string `json:"rule_id"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Yes      int64  `json:"yes"`
	No       int64  `json:"no"`
	Alert    int64  `json:"alert"` // number of the first one
}

func find(ctx context.Context, l *finding.Look) error {
	key := func(columns string) string { return l.Bundle(columns) }
	rows, more, err := ask.Rows[claim](ctx, l.Case, maxClaims, `WITH a AS (SELECT * FROM alerts WHERE kind NOT IN ('conn', 'fileinfo') AND ts_ns BETWEEN `+fmt.Sprint(l.From)+` AND `+fmt.Sprint(l.To)+`),
		k AS (SELECT `+key("alert_no")+`, list(call_id ORDER BY ts_ns) AS ids FROM (SELECT `+key("alert_no")+`, unnest(call_nos) AS call_no FROM a) JOIN calls_raw USING (`+key("call_no")+`) GROUP BY ALL),
		f AS (SELECT `+key("flow_id")+`, `+terms.Who("src_")+` AS client, `+terms.Who("dst_")+` AS server FROM flows)
		SELECT coalesce(client, a.src_ip, '') AS src, coalesce(server, a.dst_ip, '') AS dst, program, coalesce(program_version, '') AS version, kind, coalesce(rule_id, '') AS rule_id, coalesce(rule, '') AS rule, coalesce(severity, '') AS severity,
			count(*) AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, count(*) FILTER (WHERE packets_here = 'yes') AS yes, count(*) FILTER (WHERE packets_here = 'no') AS no, arg_min(alert_no, (ts_ns, alert_no)) AS alert,
			list_transform(`+l.First("list_distinct(flatten(list(ids ORDER BY ts_ns) FILTER (WHERE ids IS NOT NULL)))")+`, x -> lower(hex(x))) AS call_ids,
			`+l.First(`list_sort(list(DISTINCT `+terms.FlowID(l.Case)+`) FILTER (WHERE flow_id IS NOT NULL))`)+` AS flow_ids,
			list_slice(list_sort(list(DISTINCT a.text) FILTER (WHERE a.text IS NOT NULL)), 1, 3) AS evidence
		FROM a LEFT JOIN f USING (`+key("flow_id")+`) LEFT JOIN k USING (`+key("alert_no")+`)
		GROUP BY ALL ORDER BY count DESC, first_ns, program, kind, rule_id, rule, src, dst, version, severity`)
	if err != nil {
		return err
	}
	for i := range rows {
		c := &rows[i]
		l.Add(c.Row, c.finding())
	}
	if more {
		l.Note("there are more claims than an answer has: narrow the time")
	}
	return nil
}

func (c *claim) finding() finding.Finding {
	f := finding.Finding{Kind: c.Kind, Severity: finding.Info, Confidence: finding.Guess, Key: strings.Join([]string{c.Program, c.Kind, c.RuleID, c.Rule}, "\x00"),
		Said: &finding.Said{Program: c.Program, Version: c.Version, Kind: c.Kind, RuleID: c.RuleID, Rule: c.Rule, Severity: c.Severity, Alert: c.Alert}}
	rule := c.Rule
	if rule == "" || c.Kind == "intel" || c.Kind == "notice" {
		rule = strings.TrimSpace(c.RuleID + " " + c.Rule)
	}
	words := []string{c.Kind}
	if c.RuleID != "" && rule == c.Rule {
		words = append(words, "rule "+c.RuleID)
	}
	if c.Severity != "" {
		words = append(words, "its severity "+c.Severity)
	}
	f.What = fmt.Sprintf("%s said: %s (%s)", strings.TrimSpace(f.Said.Name()+" "+c.Version), ask.Clip(rule, 200), strings.Join(words, ", "))
	if c.Src != "" && c.Dst != "" {
		f.What += fmt.Sprintf(", about %s and %s", c.Src, c.Dst)
	}
	switch {
	case c.Yes == c.Count:
		f.Said.Here, f.Confidence = "yes", finding.Likely
		f.What += "; its packets are in this recording"
	case c.No == c.Count:
		f.Said.Here = "no"
		f.What += "; its packets are not in this recording"
	default:
		f.Said.Here = "unknown"
		f.What += plural.Sprintf("; of %d {such claim|such claims}, the packets of %d are in this recording, of %d they are not", c.Count, c.Yes, c.No)
	}
	return f
}
