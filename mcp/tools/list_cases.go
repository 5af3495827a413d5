package tools

import (
	"context"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/when"
)

var toolListCases = Tool{Name: "list_cases", set: "cases", core: true, Short: true, title: "Open bundles",
	doc: "List the open bundles: time span, packets, calls by protocol, inputs with hashes, coverage gaps, and whether the files were verified. Start here."}

// ListCasesOut is the answer of list_cases.
type ListCasesOut struct {
	Cases    []caseInfo   `json:"cases"`
	Coverage ask.Coverage `json:"coverage"`
}

type caseInfo struct {
	Bundle   int              `json:"bundle" jsonschema:"number of the bundle in answers about several bundles"`
	Path     string           `json:"path"`
	From     string           `json:"from,omitempty" jsonschema:"first packet, RFC 3339"`
	To       string           `json:"to,omitempty" jsonschema:"last packet, RFC 3339"`
	Packets  int64            `json:"packets"`
	Bytes    int64            `json:"bytes"`
	Calls    map[string]int64 `json:"calls" jsonschema:"calls by protocol"`
	Inputs   []inputInfo      `json:"inputs"`
	Pods     bool             `json:"kubernetes" jsonschema:"Kubernetes pods and services are known"`
	Verified string           `json:"verified" jsonschema:"not_verified, verified or broken"`
	Warnings []string         `json:"warnings,omitempty"`
	MadeBy   string           `json:"made_by"`
}

type inputInfo struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"`
	Format  string `json:"format"`
	Packets int64  `json:"packets"`
	Drops   int64  `json:"drops" jsonschema:"packets lost according to the file itself"`
	Damaged int    `json:"damaged_places"`
}

// maxInputs is how many inputs of a bundle are listed.
const maxInputs = 20

// ListCases answers list_cases.
func (s *Invocation) ListCases(ctx context.Context, _ NoIn) (ListCasesOut, error) {
	out := ListCasesOut{Cases: []caseInfo{}}
	cov, err := s.Case.Coverage(0, 0)
	if err != nil {
		return out, err
	}
	out.Coverage = ask.CoverageOf(cov)
	for _, b := range s.Case.Bundles() {
		m := b.Manifest
		c := caseInfo{Bundle: b.Index, Path: b.Path, Packets: m.Accounts.Packets, Bytes: m.Accounts.Bytes, Calls: m.Calls,
			Verified: states[b.State], MadeBy: m.Tool.Name + " " + m.Tool.Release, Inputs: []inputInfo{}}
		if m.Window.FirstNs != nil && m.Window.LastNs != nil {
			c.From, c.To = when.Stamp(int64(*m.Window.FirstNs)), when.Stamp(int64(*m.Window.LastNs))
		}
		for i, in := range m.Inputs {
			if i == maxInputs {
				break
			}
			c.Inputs = append(c.Inputs, inputInfo{ask.Clip(in.Name, 200), in.SHA256.String(), in.Format, in.Packets, in.Drops, len(in.Damage) + int(in.DamageMore)})
		}
		for _, side := range m.SideInputs {
			c.Pods = c.Pods || side.Kind == "kube"
		}
		for i, w := range m.Warnings {
			if i == maxInputs {
				break
			}
			c.Warnings = append(c.Warnings, ask.Clip(w, 200))
		}
		out.Cases = append(out.Cases, c)
	}
	return out, nil
}

var states = map[bundle.State]string{bundle.NotVerified: "not_verified", bundle.Verified: "verified", bundle.Broken: "broken"}
