package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/kfl"
)

// kflSQL is the output of kfl sql --json.
type kflSQL struct {
	KFL     string   `json:"kfl"`
	Dialect string   `json:"dialect"`
	Where   string   `json:"where"` // SQL condition
	Reads   []string `json:"reads"` // the columns that the relation must have
	Notes   []string `json:"notes"`
}

func (e *env) cmdKFLSQL() *cobra.Command {
	var f kflFlags
	dialect := "duckdb"
	names := strings.Join(kfl.Dialects(), ", ")
	c := &cobra.Command{
		Use:   "sql KFL",
		Short: "Print a KFL filter as an SQL condition for DuckDB, Spark or Trino",
		Long: `Print a KFL filter as an SQL condition, for use after WHERE. It is TRUE or FALSE, never NULL, and
refers to columns of the view calls; --json lists them. What the dialect cannot express is an error.`,
		Example: `  pcapsule kfl sql 'http && status_code >= 500' --dialect spark
  pcapsule kfl sql 'host.matches("^api[.]")' --dialect trino`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(kfl.Dialects(), dialect) {
				return command.OneOf("--dialect", dialect, kfl.Dialects())
			}
			src, lang, end, err := e.given(c, args[0], &f)
			if err != nil {
				return err
			}
			defer end()
			q, err := kfl.Compile(src, lang)
			if err != nil {
				return err
			}
			where, err := q.SQLIn(dialect)
			if err != nil {
				return err
			}
			if !f.asJSON {
				_, err = fmt.Fprintln(e.Out, kfl.Layout(where, e.Screen()))
				return err
			}
			text, err := kfl.Format(src)
			if err != nil {
				return err
			}
			return e.JSON(kflSQL{text, dialect, where, append([]string{}, q.Columns()...), append([]string{}, q.Notes()...)})
		},
	}
	f.flags(c, "print JSON")
	c.Flags().StringVar(&dialect, "dialect", dialect, "SQL dialect: "+names)
	return c
}
