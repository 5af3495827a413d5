package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/cli/format"
)

// lakeProgram has the commands that change or list a lake. It is a program of its own, because Iceberg's
// library would add half to the size of this one.
const lakeProgram = "pcapsule-lake"

func (e *env) cmdLake() *cobra.Command {
	c := &cobra.Command{
		Use:   "lake",
		Short: "Ask many bundles at once: register them for Spark, Trino and DuckDB",
		Long: `Register the tables of bundles in object storage as Apache Iceberg tables, without copying them, and ask
those bundles that can have the answer. The program pcapsule-lake does the first; it must be in the folder of
pcapsule or in PATH. docs/guide/lake.md tells more.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.Usagef("unknown command %q of lake: want add, ls, files, bundles, sql, query, expire, remove or check", args[0])
			}
			return c.Help()
		},
	}
	for _, x := range lakeCommands {
		c.AddCommand(e.cmdLakeRun(x))
	}
	c.AddCommand(e.cmdLakeAsk("sql", "Run a SQL query over the bundles that may have selected calls", func(text string) forensics.Query {
		return forensics.Query{SQL: text, Alone: true}
	}), e.cmdLakeAsk("query", "List the calls that match a KFL filter, in the bundles that may have them", func(text string) forensics.Query {
		return forensics.Query{KFL: text}
	}))
	return c
}

// lakeCommand is a command that pcapsule-lake runs. Flags are declared here too, so that help and completion
// work without that program.
type lakeCommand struct {
	use, short string
	flags      [][2]string // name and help; a help that begins with "!" is that of a switch
}

var (
	lakeFlags = [][2]string{
		{"catalog", "catalog, postgres://USER@HOST/DATABASE or sqlite:///FILE (default: PCAPSULE_LAKE)"},
		{"warehouse", "where a new lake keeps its metadata, s3://BUCKET/PREFIX or file:///FOLDER"},
		{"namespace", "namespace of the tables in the catalog (default: pcapsule)"}, {"json", "!print JSON"},
	}
	lakeSelects = [][2]string{
		{"since", "rows from this time on, such as 2026-01-31 or 2026-01-31T12:00:00Z"}, {"until", "rows before this time"},
		{"protocol", "rows of these protocols, with commas between them"}, {"cluster", "rows of these clusters"}, {"bundle", "rows of these bundles: names, or bundle_ids"},
	}
	lakeCommands = []lakeCommand{
		{"add ADDRESS...", "Register bundles of a store", [][2]string{{"cluster", "name of the cluster that was recorded; a column of each table"}}},
		{"ls", "List the bundles of the lake", nil},
		{"files TABLE", "List a table's files that may have selected rows", lakeSelects},
		{"bundles", "List the bundles that may have selected calls", lakeSelects},
		{"expire [BUNDLE...]", "Take bundles out of the lake, except those with a legal hold", [][2]string{{"before", "those whose last packet is before this time"}}},
		{"remove NAMESPACE", "Remove the rows of a Kubernetes namespace from all tables", [][2]string{{"reason", "why, for the record"}, {"by", "who removes them (default: this account)"}}},
		{"check", "Compare the lake with the bundles in their stores", [][2]string{
			{"repair", "!repair what can be repaired"}, {"deep", "!read each file and compare it with its hash"}, {"orphans", "age of metadata that no table names, such as 24h"},
		}},
	}
)

func (e *env) cmdLakeRun(x lakeCommand) *cobra.Command {
	c := &cobra.Command{Use: x.use, Short: x.short, Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, args []string) error {
		list := []string{c.Name()}
		c.Flags().Visit(func(f *pflag.Flag) {
			if f.Annotations["lake"] != nil {
				list = append(list, "--"+f.Name+"="+f.Value.String())
			}
		})
		return e.runLake(c.Context(), append(append(list, "--"), args...))
	}}
	for _, f := range slices.Concat(x.flags, lakeFlags) {
		if help, is := strings.CutPrefix(f[1], "!"); is {
			c.Flags().Bool(f[0], false, help)
		} else {
			c.Flags().String(f[0], "", f[1])
		}
		c.Flags().Lookup(f[0]).Annotations = map[string][]string{"lake": {}}
	}
	return c
}

// runLake runs pcapsule-lake with this program's output.
func (e *env) runLake(ctx context.Context, args []string) error {
	p, err := lakeProcess(ctx, args)
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
			return nil, exit.With(errors.New("the program "+lakeProgram+" is neither beside pcapsule nor in PATH"), exit.Other, "make lake-program builds it")
		}
	}
	p := exec.CommandContext(ctx, path, args...)
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) }
	return p, nil
}

func (e *env) cmdLakeAsk(name, short string, query func(string) forensics.Query) *cobra.Command {
	var f queryFlags
	selects := map[string]*string{}
	c := &cobra.Command{
		Use:     name + " TEXT",
		Short:   short,
		Example: "  pcapsule lake sql 'select protocol, count(*) from calls group by 1' --in-cluster prod-eu --from 2026-01-31",
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
				return exit.With(errors.New("no bundle of the lake has selected calls"), exit.Other, "pcapsule lake ls lists the bundles")
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
		{"from", "since", "bundles with calls from this time on"}, {"to", "until", "bundles with calls before this time"},
		{"in-protocol", "protocol", "bundles with calls of these protocols"}, {"in-cluster", "cluster", "bundles of these clusters"}, {"in-bundle", "bundle", "these bundles"},
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
			// The bundle still has what nobody may see.
			return nil, exit.With(fmt.Errorf("rows of namespace %s were removed from bundle %s", b.Removed[0], b.Name), exit.Refused, "ask Spark or Trino, or select other bundles with --in-bundle")
		}
		a := b.Address
		if strings.HasPrefix(a, "s3://") && (os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != "") {
			a += "?use_path_style=true" // as pcapsule-lake reads it
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}
