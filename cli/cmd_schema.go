package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

func (e *env) cmdSchema() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "schema [TABLE]",
		Short: "Print every table and column with type, unit and meaning",
		Example: `  pcapsule schema
  pcapsule schema calls
  pcapsule schema flows --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return e.runSchema(args, asJSON) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, s := range exporter.Schemas() {
				names = append(names, s.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

type schemaColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Unit     string `json:"unit,omitempty"`
	Nullable bool   `json:"nullable"`
	Protocol string `json:"protocol,omitempty"`
	Doc      string `json:"doc"`
}

type schemaTable struct {
	Name    string         `json:"name"`
	Doc     string         `json:"doc"`
	Columns []schemaColumn `json:"columns"`
}

func (e *env) runSchema(args []string, asJSON bool) error {
	var list []schemaTable
	var names []string
	for _, s := range exporter.Schemas() {
		names = append(names, s.Name)
		if len(args) == 0 || args[0] == s.Name {
			list = append(list, schemaOf(s))
		}
	}
	if len(list) == 0 {
		return exit.With(fmt.Errorf("unknown table %q; tables are %s", args[0], strings.Join(names, ", ")), exit.Usage, nearest.Hint(args[0], names))
	}
	if asJSON {
		return e.JSON(list)
	}
	for i, t := range list {
		if i > 0 {
			fmt.Fprintln(e.Out)
		}
		_ = console.Row(e.Out, "", t.Name+": "+t.Doc) // a broken pipe ends the command
		printColumns(e.Out, t.Columns)
	}
	return nil
}

func schemaOf(s *table.Schema) schemaTable {
	t := schemaTable{Name: s.Name, Doc: s.Doc}
	for _, c := range s.Columns {
		t.Columns = append(t.Columns, schemaColumn{c.Name, c.Kind.String(), c.Unit, c.Optional, c.Protocol, c.Doc})
	}
	return t
}

func printColumns(w io.Writer, list []schemaColumn) {
	wide := 0
	for _, c := range list {
		wide = max(wide, len(c.Name))
	}
	for _, c := range list {
		doc := c.Doc
		if c.Unit != "" {
			doc += " [" + c.Unit + "]"
		}
		null := ""
		if c.Nullable {
			null = "null"
		}
		// The few long types (lists, structs) overflow, so that the column stays narrow.
		_ = console.Row(w, fmt.Sprintf("  %-*s  %-9s  %-4s  ", wide, c.Name, c.Type, null), doc)
	}
}
