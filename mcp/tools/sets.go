package tools

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Sets with a special meaning.
const (
	allTools  = "all"
	coreTools = "core"
	caseTools = "cases" // part of every choice
	RingTools = "ring"  // listed only with a ring
)

// Sets returns the names of the sets that tools belong to.
func Sets() []string { return slices.Clone(toolSets) }

var toolSets = []string{caseTools, "calls", "network", "services", "incidents", "performance", "security", "checks", RingTools}

// choice is the selection of tools that an assistant sees, by set and by name. Each tool
// takes up a part of its context.
type choice map[string]bool

// chosen parses a choice: names of sets and tools, separated by commas; empty selects all.
func chosen(text string, entries []*Entry) (choice, error) {
	c := choice{}
	if text == "" {
		text = allTools
	}
	known := slices.Concat([]string{allTools, coreTools}, toolSets)
	for _, e := range entries {
		known = append(known, e.Name)
	}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(known, name) {
			hint := cmp.Or(nearest.Hint(name, known), "use "+strings.Join(known[:len(toolSets)+2], ", ")+" or names of tools")
			return nil, &ToolsError{fmt.Sprintf("no tool or set of tools named %q; %s", ask.Clip(name, 100), hint)}
		}
		c[name] = true
	}
	return c, nil
}

// has reports whether a tool is selected.
func (c choice) has(t Tool) bool {
	return c[allTools] || c[t.Name] || c[t.set] || c[coreTools] && t.core || t.set == caseTools
}

// ToolsError reports an unknown name in Options.Tools.
type ToolsError struct{ Text string }

func (e *ToolsError) Error() string { return e.Text }
