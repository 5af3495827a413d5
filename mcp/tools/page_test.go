package tools

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

var update = flag.Bool("update", false, "write docs/reference/tools.md")

// TestToolsPage compares docs/reference/tools.md with the declarations of the tools.
func TestToolsPage(t *testing.T) {
	env := &Env{Allow: []string{"/"}, Open: func(context.Context, []string) (*forensics.Case, error) { return nil, nil }}
	page := toolsPage(env.entries(all.Questions()), all.Questions())
	path := filepath.Join("..", "..", "docs", "reference", "tools.md")
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != page {
		t.Errorf("%s differs from the declarations of the tools; update it with go test ./mcp/tools -run ToolsPage -update: %v", path, err)
	}
}

// toolsPage lists tools by set.
func toolsPage(entries []*Entry, questions []ask.Question) string {
	var b strings.Builder
	b.WriteString(`# Tools by set

Generated from the declarations of the tools (` + "`go test ./mcp/tools -run ToolsPage -update`" + `). A server started with
` + "`--tools SET,SET`" + ` offers only the tools of these sets and the set cases. The name of a tool selects that tool,
` + "`core`" + ` the tools in bold. The list of tools that a server offers describes each with its arguments.

` + "A tool marked *ask* is also a command, `pcapsule ask TOOL BUNDLE...` with `-` for `_` in the name, whose `--help` has its\n" +
		"meaning and arguments (`min_ms` is `--min-ms`), and `POST /mcp/ask/TOOL` over plain HTTP, with the arguments as a JSON body.\n\n" + `| set | tools |
|---|---|
`)
	for _, set := range toolSets {
		var names []string
		for _, e := range entries {
			if e.set != set {
				continue
			}
			name := "`" + e.Name + "`"
			if e.core {
				name = "**" + name + "**"
			}
			if slices.ContainsFunc(questions, func(q ask.Question) bool { return q.Name == e.Name }) {
				name += " *ask*"
			}
			names = append(names, name)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", set, strings.Join(names, ", "))
	}
	return b.String()
}
