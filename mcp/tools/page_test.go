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

// toolsPage lists tools by set, with the title of a question or the first sentence of what another tool does.
func toolsPage(entries []*Entry, questions []ask.Question) string {
	var b strings.Builder
	b.WriteString(`# Tools by set

This page is generated from the declarations of the tools (` + "`go test ./mcp/tools -run ToolsPage -update`" + `). A server started with
` + "`--tools SET,SET`" + ` offers only the tools of these sets. The name of a tool selects that tool, ` + "`core`" + ` selects the tools in bold, and
the set cases is always included. [mcp.md](../guide/mcp.md) explains answers, resources and prompts. The list of tools that
a server offers describes each with its arguments.

` + "A tool marked *ask* is also a command, `pcapsule ask TOOL BUNDLE...` with `-` for `_` in the name, whose `--help` lists the\n" +
		"arguments as flags (`min_ms` is `--min-ms`), and `POST /mcp/ask/TOOL` over plain HTTP, with the arguments as a JSON body.\n\n" + `Arguments of many tools:

`)
	in := questions[0].In
	for _, name := range []string{"from", "to", "kfl", "limit"} {
		fmt.Fprintf(&b, "* `%s`: %s\n", name, cellText(ask.Doc(in.Properties[name])))
	}
	b.WriteString("* `cursor`: next_cursor of the previous answer, with the same other arguments\n* `max_bytes`: size limit of the answer\n* `db`: with a ring, the data to query: `snapshot/dissection` or `live`\n")
	for _, set := range toolSets {
		fmt.Fprintf(&b, "\n## %s\n\n", set)
		for _, e := range entries {
			if e.set != set {
				continue
			}
			name := "`" + e.Name + "`"
			if e.core {
				name = "**" + name + "**"
			}
			first, _, _ := strings.Cut(e.doc, ". ")
			if i := slices.IndexFunc(questions, func(q ask.Question) bool { return q.Name == e.Name }); i >= 0 {
				name, first = name+" *ask*", questions[i].Title // --help has the rest
			}
			fmt.Fprintf(&b, "* %s: %s.\n", name, cellText(strings.TrimSuffix(first, ".")))
		}
	}
	return b.String()
}

// cellText escapes a text for Markdown.
func cellText(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "\n", " ").Replace(s)
}
