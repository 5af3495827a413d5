// Package cli is the program pcapsule-lake. People call it as pcapsule lake.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/lakecmd"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/lake"
	"github.com/pcapsule/pcapsule/store"
)

type env struct {
	console.Streams
	lakecmd.Flags
}

// Main runs the program and returns its exit code.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	e := &env{Streams: console.Streams{Out: out, Err: errOut}}
	root := e.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	running := false
	root.PersistentPreRun = func(*cobra.Command, []string) { running = true }
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.Done
	}
	if !running {
		err = exit.With(err, exit.Usage, "pcapsule lake --help lists the commands")
	}
	err = explained(err)
	code, hint := exit.Other, ""
	var coded *exit.Error
	switch {
	case ctx.Err() != nil:
		code = exit.Interrupted
	case errors.As(err, &coded):
		code, hint = coded.Code, coded.Hint
	case exit.IsDisk(err):
		code = exit.Disk
	}
	fmt.Fprintf(errOut, "error: %s\n", console.Lines(err.Error()))
	if hint != "" {
		fmt.Fprintln(errOut, "hint: "+hint)
	}
	return code
}

// explained gives an error its exit code and the next step.
func explained(err error) error {
	var damaged *bundle.DamagedError
	var coded *exit.Error
	if cause := store.Cause(err); errors.Is(cause, fs.ErrPermission) { // Iceberg's library does not say so
		err = fmt.Errorf("using the lake's files: %w", cause)
	}
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(err, lake.ErrConfig), errors.Is(err, lake.ErrScheme), errors.Is(err, store.ErrAddress):
		return exit.With(err, exit.Usage, "pcapsule lake --help describes addresses and credentials")
	case errors.Is(err, store.ErrNone):
		return exit.With(err, exit.NotBundle, "pcapsule store ls STORE lists the bundles of a store")
	case errors.Is(err, lake.ErrNone):
		return exit.With(err, exit.Other, "pcapsule lake ls lists the bundles of the lake")
	case errors.Is(err, lake.ErrRemoved):
		return exit.With(err, exit.Refused, "pcapsule redact makes a bundle without what must not be shown")
	case errors.Is(err, bundle.ErrNewerSchema):
		return exit.With(err, exit.Newer, "use the release that made it, or a later one")
	case errors.As(err, &damaged):
		return exit.With(err, exit.Verify, "nothing of the bundle was changed in the lake")
	case errors.Is(err, fs.ErrPermission):
		return exit.With(err, exit.Other, "check the credentials, such as AWS_ACCESS_KEY_ID, and the permissions of their account")
	}
	return err
}

func (e *env) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "lake",
		Short: "Ask many bundles at once, with Spark, Trino or DuckDB",
		Long: `Register the tables of bundles in object storage as Apache Iceberg tables, without copying them. The
catalog is a PostgreSQL database, or an SQLite file on a laptop:

  PCAPSULE_LAKE=postgres://lake@db.example/lake    the password comes from PGPASSWORD or a password file
  PCAPSULE_LAKE=sqlite:///home/me/lake.db

Credentials of the store are those of the AWS programs; AWS_ENDPOINT_URL names a server other than Amazon's.`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	list := lakecmd.Commands(&e.Flags, e.run)
	for _, sub := range list {
		sub.Args = command.CheckArgs(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

// run runs a command.
func (e *env) run(c *cobra.Command, name string, args []string) error {
	catalog := cmp.Or(e.Catalog, os.Getenv("PCAPSULE_LAKE"))
	switch {
	case name == "expire" && (e.Before == "") == (len(args) == 0):
		return exit.Usagef("name bundles, or give --before with a time")
	case name == "remove" && e.Reason == "":
		return exit.Usagef("--reason is missing: say why the rows are removed")
	case catalog == "":
		return exit.With(errors.New("no catalog is given"), exit.Usage, "set PCAPSULE_LAKE or pass --catalog, such as sqlite:///home/me/lake.db")
	}
	ctx := c.Context()
	l, err := lake.Open(ctx, lake.Config{Catalog: catalog, Warehouse: e.Warehouse, Namespace: e.Namespace})
	if err != nil {
		return err
	}
	defer l.Close()
	switch name {
	case "add":
		return e.add(ctx, l, args)
	case "ls":
		list, err := l.Bundles(ctx)
		if err != nil {
			return err
		}
		return e.show(list)
	case "files":
		return e.files(ctx, l, args[0])
	case "bundles":
		return e.bundles(ctx, l)
	case "expire":
		return e.expire(ctx, l, args)
	case "remove":
		return e.remove(ctx, l, args[0])
	case "check":
		return e.check(ctx, l)
	}
	panic("no command " + name)
}

func (e *env) add(ctx context.Context, l *lake.Lake, args []string) error {
	for _, address := range args {
		bar := e.Progress()
		b, added, err := l.Add(ctx, address, e.Cluster, bar.Bytes(console.Printable(address, 60)))
		bar.Clear()
		switch {
		case err != nil:
			return err
		case e.AsJSON:
			err = console.JSON(e.Out, b)
		case added:
			_, err = fmt.Fprintf(e.Out, "%s: %s with %s, %s of calls; bundle_id %s\n", console.Line(b.Name), plural.Count(b.Files, "file", "files"), plural.Count(b.Rows, "row", "rows"), plural.Count(b.Calls, "row", "rows"), b.ID)
		default:
			_, err = fmt.Fprintf(e.Out, "%s: there already, as %s\n", console.Line(b.Name), b.Address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// show prints bundles.
func (e *env) show(list []lake.Bundle) error {
	if e.AsJSON {
		return console.JSON(e.Out, list)
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	for _, b := range list {
		cluster := b.Cluster
		if cluster == "" {
			cluster = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.ID[:min(12, len(b.ID))], console.Line(b.Name), console.Line(cluster), b.First.Format(time.RFC3339), plural.Count(b.Calls, "call", "calls"), console.Line(b.Address))
	}
	if len(list) == 0 {
		fmt.Fprintln(e.Err, "no bundle")
	}
	return w.Flush()
}
