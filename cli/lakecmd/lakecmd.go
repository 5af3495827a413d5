// Package lakecmd declares the commands of pcapsule lake that the program pcapsule-lake runs.
// pcapsule-lake runs them; pcapsule uses the declarations for help and completion, also without
// that program.
package lakecmd

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
)

// Flags are the flags of all commands. Times are texts, because only the program that runs a command reads them.
type Flags struct {
	Catalog, Warehouse, Namespace string
	AsJSON                        bool

	Cluster                       string // of add
	Since, Until                  string // of files and bundles
	Protocols, Clusters, Selected []string
	Before                        string // of expire
	By, Reason                    string // of remove
	Repair, Deep                  bool   // of check
	Orphans                       time.Duration
}

// Run runs a command of a name.
type Run func(c *cobra.Command, name string, args []string) error

// Commands returns the commands. They set f and call run.
func Commands(f *Flags, run Run) []*cobra.Command {
	list := []*cobra.Command{f.add(), f.list(), f.files(), f.bundles(), f.expire(), f.remove(), f.check()}
	for _, c := range list {
		fl := c.Flags()
		fl.StringVar(&f.Catalog, "catalog", "", "catalog, postgres://USER@HOST/DATABASE or sqlite:///FILE (default: PCAPSULE_LAKE)")
		fl.StringVar(&f.Warehouse, "warehouse", "", "where a new lake keeps its metadata, s3://BUCKET/PREFIX or file:///FOLDER")
		fl.StringVar(&f.Namespace, "namespace", "pcapsule", "namespace of the tables in the catalog")
		fl.BoolVar(&f.AsJSON, "json", false, "print JSON")
		c.RunE = func(c *cobra.Command, args []string) error { return run(c, c.Name(), args) }
	}
	return list
}

func (f *Flags) add() *cobra.Command {
	c := &cobra.Command{
		Use:   "add ADDRESS...",
		Short: "Register bundles of a store",
		Long: `Register the tables of bundles in a store. Each file is read and compared with its bundle's manifest
first. A bundle is in the lake with all its tables or not at all, and adding one again changes nothing.`,
		Example: "  pcapsule lake add s3://evidence/2026/incident.pcapsule --cluster prod-eu",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVar(&f.Cluster, "cluster", "", "name of the cluster that was recorded; a column of each table")
	return c
}

func (f *Flags) list() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the bundles of the lake",
		Example: "  pcapsule lake ls",
		Args:    cobra.NoArgs,
	}
}

// selects adds the flags that select rows.
func (f *Flags) selects(c *cobra.Command) *cobra.Command {
	fl := c.Flags()
	fl.StringVar(&f.Since, "since", "", "only rows from this time on, such as 2026-01-31 or 2026-01-31T12:00:00Z")
	fl.StringVar(&f.Until, "until", "", "only rows before this time")
	fl.StringSliceVar(&f.Protocols, "protocol", nil, "only rows of these protocols")
	fl.StringSliceVar(&f.Clusters, "cluster", nil, "only rows of these clusters")
	fl.StringSliceVar(&f.Selected, "bundle", nil, "only rows of these bundles, by name or bundle_id")
	return c
}

func (f *Flags) files() *cobra.Command {
	return f.selects(&cobra.Command{
		Use:     "files TABLE",
		Short:   "List the files of a table that can contain the selected rows",
		Example: "  pcapsule lake files calls --protocol redis --since 2026-01-31",
		Args:    cobra.ExactArgs(1),
	})
}

func (f *Flags) bundles() *cobra.Command {
	return f.selects(&cobra.Command{
		Use:     "bundles",
		Short:   "List the bundles that can contain the selected calls",
		Example: "  pcapsule lake bundles --protocol redis --since 2026-01-31",
		Args:    cobra.NoArgs,
	})
}

func (f *Flags) expire() *cobra.Command {
	c := &cobra.Command{
		Use:   "expire [BUNDLE...]",
		Short: "Remove bundles from the lake, except those with a legal hold",
		Long: `Remove bundles from the lake: the named ones, or those that ended before a time. A bundle with a legal
hold in its custody log, or with a retention date in the future, stays, and the command ends with exit code
10. The bundles in their stores are not touched.`,
		Example: `  pcapsule lake expire incident
  pcapsule lake expire --before 2026-01-31`,
		Args: cobra.ArbitraryArgs,
	}
	c.Flags().StringVar(&f.Before, "before", "", "remove bundles whose last packet is before this time")
	return c
}

func (f *Flags) remove() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove NAMESPACE",
		Short: "Remove the rows of a Kubernetes namespace from all tables",
		Long: `Remove the rows of a Kubernetes namespace from all tables: its endpoints and objects, and everything on
connections that have one of its endpoints. Files with such rows are rewritten, and the new files
belong to the lake. If a legal hold or a retention date protects one of the bundles, nothing is
removed, and the command ends with exit
code 10. Table removals records who removed what, when and why. The bundles in their stores are not touched:
they still have the packets.`,
		Example: "  pcapsule lake remove payments --reason 'request 4711'",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&f.By, "by", "", "who removes them (default: this account)")
	c.Flags().StringVar(&f.Reason, "reason", "", "why, for the record")
	return c
}

func (f *Flags) check() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare the lake with the bundles in their stores",
		Long: `Compare what the tables list with the bundles in their stores. --repair registers a bundle again if some of its
files are not listed, removes files of bundles that are not in the lake, and deletes metadata that no table refers to.
The bundles in their stores are not touched.`,
		Example: "  pcapsule lake check --deep",
		Args:    cobra.NoArgs,
	}
	c.Flags().BoolVar(&f.Repair, "repair", false, "repair what can be repaired")
	c.Flags().BoolVar(&f.Deep, "deep", false, "read each file and compare it with its hash")
	c.Flags().DurationVar(&f.Orphans, "orphans", 24*time.Hour, "minimum age of metadata that no table refers to; a running writer may still need newer files")
	command.Between(c.Flags(), "orphans", &f.Orphans, 0, command.Longest)
	return c
}
