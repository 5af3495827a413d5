package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/cli/lakecmd"
	"github.com/pcapsule/pcapsule/forensics"
)

// lakeProgram has the commands that change or list a lake. It is a separate program, because Iceberg's library would
// make this one half as large again.
const lakeProgram = "pcapsule-lake"

func (e *env) cmdLake() *cobra.Command {
	c := &cobra.Command{
		Use:   "lake",
		Short: "Query many bundles at once: register them for Spark, Trino and DuckDB",
		Long: `Register the tables of bundles in object storage as Apache Iceberg tables, without copying them, and query
the bundles that can contain the answer. Registering needs the program pcapsule-lake, next to pcapsule or
in PATH. docs/guide/lake.md describes both.`,
		Example: `  export PCAPSULE_LAKE=sqlite:///var/lib/pcapsule/lake.db
  pcapsule lake add s3://evidence/2026/incident.pcapsule --warehouse s3://evidence/lake
  pcapsule lake query 'http && status_code >= 500' --from 2026-01-31`,
	}
	c.AddCommand(lakecmd.Commands(new(lakecmd.Flags), e.runLake)...)
	c.AddCommand(e.cmdLakeAsk("sql", "SQL", "select protocol, count(*) from calls group by 1", "Run a SQL query over the bundles that can contain the selected calls", func(text string) forensics.Query {
		return forensics.Query{SQL: text, Alone: true}
	}), e.cmdLakeAsk("query", "KFL", "http && status_code >= 500", "List the calls that match a KFL filter, in the bundles that can contain them", func(text string) forensics.Query {
		return forensics.Query{KFL: text}
	}))
	return c
}

// runLake runs pcapsule-lake with the flags of a command and this program's output.
func (e *env) runLake(c *cobra.Command, name string, args []string) error {
	list := []string{name}
	c.LocalNonPersistentFlags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if v, ok := f.Value.(pflag.SliceValue); ok {
			values = v.GetSlice()
		}
		for _, v := range values {
			list = append(list, "--"+f.Name+"="+v)
		}
	})
	p, err := lakeProcess(c.Context(), append(append(list, "--"), args...))
	if err != nil {
		return err
	}
	p.Stdout, p.Stderr = e.Out, e.Err
	return exit.OfProgram(p.Run())
}

func lakeProcess(ctx context.Context, args []string) (*exec.Cmd, error) {
	path := ""
	if self, err := os.Executable(); err == nil {
		path = filepath.Join(filepath.Dir(self), lakeProgram)
	}
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(lakeProgram); err != nil {
			return nil, exit.With(errors.New("the program "+lakeProgram+" is neither next to pcapsule nor in PATH"), exit.Other, "build it from the source with make lake-program, see docs/guide/lake.md")
		}
	}
	p := exec.CommandContext(ctx, path, args...)
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) }
	return p, nil
}

func (e *env) cmdLakeAsk(name, language, example, short string, query func(string) forensics.Query) *cobra.Command {
	var f queryFlags
	selects := map[string]*string{}
	c := &cobra.Command{
		Use:     name + " " + language,
		Short:   short,
		Example: "  pcapsule lake " + name + " '" + example + "' --in-cluster prod-eu --from 2026-01-31",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			list := []string{"bundles", "--json"}
			for flag, value := range selects {
				if *value != "" {
					list = append(list, "--"+flag+"="+*value)
				}
			}
			addresses, err := e.selected(c.Context(), list)
			if err != nil {
				return err
			}
			if len(addresses) == 0 {
				return exit.With(errors.New("no bundle of the lake can contain the selected calls"), exit.Other, "pcapsule lake ls lists the bundles")
			}
			q := query(args[0])
			if q.Macros, err = e.macros(""); err != nil {
				return err
			}
			return e.runQuery(c, addresses, q, &f)
		},
	}
	f.flags(e, c, format.OfRows())
	for _, x := range [][3]string{
		{"catalog", "catalog", "catalog of the lake (default: PCAPSULE_LAKE)"}, {"namespace", "namespace", "namespace of the tables in the catalog"},
		{"from", "since", "only bundles with calls from this time on"}, {"to", "until", "only bundles with calls before this time"},
		{"in-protocol", "protocol", "only bundles with calls of these protocols"}, {"in-cluster", "cluster", "only bundles of these clusters"}, {"in-bundle", "bundle", "only these bundles"},
	} {
		selects[x[1]] = c.Flags().String(x[0], "", x[2])
	}
	return c
}

// selected returns the addresses of the bundles that pcapsule-lake lists.
func (e *env) selected(ctx context.Context, args []string) ([]string, error) {
	p, err := lakeProcess(ctx, args)
	if err != nil {
		return nil, err
	}
	p.Stderr = e.Err
	out, err := p.Output()
	if err != nil {
		return nil, exit.OfProgram(err)
	}
	var list []struct {
		Name    string   `json:"name"`
		Address string   `json:"address"`
		Removed []string `json:"removed_namespaces"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", lakeProgram, err)
	}
	var addresses []string
	for _, b := range list {
		if len(b.Removed) > 0 {
			// The bundle still has rows that were removed from the lake.
			return nil, exit.With(fmt.Errorf("rows of namespace %s were removed from bundle %s", b.Removed[0], b.Name), exit.Refused, "use Spark or Trino, or select other bundles with --in-bundle")
		}
		a := b.Address
		if strings.HasPrefix(a, "s3://") && (os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != "") {
			a += "?use_path_style=true" // as pcapsule-lake reads it
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}
