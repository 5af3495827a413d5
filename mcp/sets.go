package mcp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/kfl"
)

// Sets of tools beside those that tools and questions name.
const (
	allTools  = "all"
	coreTools = "core"
	caseTools = "cases" // part of every choice
	ringTools = "ring"  // listed only with a ring
)

// toolSets are the sets that tools belong to.
var toolSets = []string{caseTools, "calls", "network", "services", "incidents", "performance", "security", "checks", ringTools}

// choice says which tools an assistant is shown: those of sets, and single ones. Each tool
// takes up a part of its context.
type choice map[string]bool

// chosen reads a choice: names of sets and of tools, separated by commas; empty means all.
func chosen(text string, entries []*entry) (choice, error) {
	c := choice{}
	if text == "" {
		text = allTools
	}
	known := slices.Concat([]string{allTools, coreTools}, toolSets)
	for _, e := range entries {
		known = append(known, e.name)
	}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(known, name) {
			hint := "want " + strings.Join(known[:len(toolSets)+2], ", ") + " or names of tools"
			if near := kfl.Nearest(name, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			return nil, &ToolsError{fmt.Sprintf("no set of tools and no tool %q; %s", clip(name, 100), hint)}
		}
		c[name] = true
	}
	return c, nil
}

// has reports whether a tool is chosen.
func (c choice) has(t tool) bool {
	return c[allTools] || c[t.name] || c[t.set] || c[coreTools] && t.core || t.set == caseTools
}

// ToolsError says that Options.Tools names what is not there.
type ToolsError struct{ Text string }

func (e *ToolsError) Error() string { return e.Text }
