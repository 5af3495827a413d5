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

	"github.com/google/jsonschema-go/jsonschema"

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

This page is generated from the declarations of the tools (` + "`go test ./mcp/tools -run ToolsPage -update`" + `). A server started with
` + "`--tools SET,SET`" + ` offers only the tools of these sets. The name of a tool selects that tool, ` + "`core`" + ` selects the tools in bold, and
the set cases is always included. [mcp.md](../guide/mcp.md) explains answers, resources and prompts.

` + "A tool with a command can also be run as `pcapsule ask COMMAND BUNDLE...`, with a flag for each argument (`min_ms` is `--min-ms`),\nand as `POST /mcp/ask/TOOL` over plain HTTP, with the arguments as a JSON body.\n\n" + `Arguments of many tools:

`)
	in := questions[0].In
	common := []string{"from", "to", "kfl", "limit"}
	for _, name := range common {
		fmt.Fprintf(&b, "* `%s`: %s\n", name, cellText(ask.Doc(in.Properties[name])))
	}
	b.WriteString("* `cursor`: next_cursor of the previous answer, with the same other arguments\n* `max_bytes`: size limit of the answer\n* `db`: with a ring, the data to query: `snapshot/dissection` or `live`\n")
	common = append(common, "cursor", "max_bytes", "db")
	for _, set := range toolSets {
		fmt.Fprintf(&b, "\n## %s\n\n| tool | description | command | other arguments |\n|---|---|---|---|\n", set)
		for _, e := range entries {
			if e.set != set {
				continue
			}
			name, command := "`"+e.Name+"`", ""
			if e.core {
				name = "**" + name + "**"
			}
			if slices.ContainsFunc(questions, func(q ask.Question) bool { return q.Name == e.Name }) {
				command = "`" + strings.ReplaceAll(e.Name, "_", "-") + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, cellText(e.doc), command, ownArguments(e.In, common))
		}
	}
	return b.String()
}

// ownArguments lists the arguments of a tool without the shared ones.
func ownArguments(s *jsonschema.Schema, common []string) string {
	var out []string
	for _, name := range s.PropertyOrder {
		if slices.Contains(common, name) {
			continue
		}
		text := "`" + name + "`"
		if slices.Contains(s.Required, name) {
			text += " (required)"
		}
		if doc := cellText(ask.Doc(s.Properties[name])); doc != "" {
			text += ": " + doc
		}
		out = append(out, text)
	}
	return strings.Join(out, "<br>")
}

// cellText escapes a text for a cell of a table.
func cellText(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "\n", " ").Replace(s)
}
