package check

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// The parts of the Static Analysis Results Interchange Format (OASIS SARIF 2.1.0) that are used.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Short      sarifText      `json:"shortDescription"`
		Help       string         `json:"helpUri,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID     string            `json:"ruleId"`
		RuleIndex  int               `json:"ruleIndex"`
		Kind       string            `json:"kind"`
		Level      string            `json:"level"`
		Message    sarifText         `json:"message"`
		Locations  []sarifLocation   `json:"locations"`
		Prints     map[string]string `json:"partialFingerprints,omitempty"`
		Properties map[string]any    `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// sarif describes the rule of an outcome. Its id is the name, because an id is optional; the tags are
// written as in Sigma.
func (o *Outcome) sarif() sarifRule {
	r := sarifRule{ID: o.Name, Short: sarifText{o.Name}}
	p := map[string]any{}
	if o.ID != "" {
		p["id"] = o.ID
	}
	if o.Severity != "" {
		p["severity"] = o.Severity
	}
	if len(o.Techniques) > 0 {
		var tags []string
		for _, t := range o.Techniques {
			tags = append(tags, "attack."+strings.ToLower(t))
		}
		p["tags"] = tags
	}
	if len(o.References) > 0 {
		r.Help, p["references"] = o.References[0], o.References
	}
	if len(p) > 0 {
		r.Properties = p
	}
	return r
}

// WriteSARIF writes the report as SARIF 2.1.0: one result for each violation, at the line of its
// rule, and one for each rule that passes.
func (r *Report) WriteSARIF(w io.Writer, release, file string) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "pcapsule", Version: release, Rules: []sarifRule{}}}, Results: []sarifResult{}}
	for i := range r.Results {
		o := &r.Results[i]
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, o.sarif())
		where := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{filepath.ToSlash(file)}}}
		if o.Line > 0 {
			where.Physical.Region = &sarifRegion{o.Line}
		}
		base := sarifResult{RuleID: o.Name, RuleIndex: i, Kind: "fail", Level: o.Level, Locations: []sarifLocation{where}}
		switch o.Status {
		case Pass:
			base.Kind, base.Level, base.Message = "pass", "none", sarifText{plural.Sprintf("passes for %d {call|calls}", o.Calls)}
			run.Results = append(run.Results, base)
			continue
		case NotRecorded, Errored:
			base.Kind, base.Level = "open", "none"
			if o.Status == Errored {
				base.Kind, base.Level = "fail", "error"
			}
		}
		for _, x := range o.Broken {
			res := base
			res.Message = sarifText{fmt.Sprintf("expected %s, got %s", x.Expected, x.Got)}
			if c := x.Call; c != nil {
				res.Message.Text += fmt.Sprintf(": %s to %s, %s, call %s, %s", c.Src, c.Dst, c.Summary, c.CallID, c.Packets)
				res.Locations = []sarifLocation{{where.Physical, []sarifLogical{{c.Dst, "module"}}}}
				res.Prints = map[string]string{"call/v1": c.CallID}
				res.Properties = map[string]any{"call_id": c.CallID, "packets": c.Packets, "time": c.Time}
			}
			run.Results = append(run.Results, res)
		}
		if o.More > 0 {
			res := base
			res.Message = sarifText{fmt.Sprintf("and %d more", o.More)}
			run.Results = append(run.Results, res)
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}
