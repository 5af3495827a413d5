package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
)

// tableRows is how many rows a table shows if no limit is given.
const tableRows = 100

type queryFlags struct {
	window
	format   string
	formats  []string // that the command has
	columns  []string
	limit    int
	order    string
	groupBy  []string
	count    bool
	table    string
	macros   string
	explain  bool
	deadline time.Duration
}

func (f *queryFlags) flags(e *env, c *cobra.Command, formats []string) {
	f.formats = formats
	e.maskFlag(c)
	e.captureFlags(c)
	e.wideFlag(c)
	c.Flags().StringVar(&f.format, "format", "table", strings.Join(formats, ", "))
	c.Flags().IntVar(&f.limit, "limit", 0, "maximum number of rows (default: 100 for a table, all for other formats)")
	c.Flags().DurationVar(&f.deadline, "deadline", time.Minute, "give up after this time; 0: never")
	completes(c, "format", formats...)
}

func (e *env) cmdQuery() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "query BUNDLE|CAPTURE... KFL",
		Short: "List the calls that match a KFL filter",
		Long: `List the calls that match a KFL filter; docs/kfl.md describes the language. The last argument is
the filter; "" matches all calls. Several bundles are queried as one. Captures, and folders of
them, first become a bundle in your cache, which later commands reuse.`,
		Example: `  pcapsule query capture.pcapng 'http && status_code >= 500'
  pcapsule query incident.pcapsule 'http && status_code >= 500'
  pcapsule query incident.pcapsule 'dst.service == "payment"' --group-by path,status_code
  pcapsule query a.pcapsule b.pcapsule 'dns && status_code != 0' --format ndjson | jq .host
  pcapsule query incident.pcapsule 'http && status_code == 503' --format har > failed.har`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeKFL,
		RunE: func(c *cobra.Command, args []string) error {
			q := forensics.Query{KFL: args[len(args)-1], Table: f.table, Columns: f.columns, Order: f.order, GroupBy: f.groupBy, Count: f.count}
			var err error
			if q.Macros, err = e.macros(f.macros); err != nil {
				return err
			}
			return e.runQuery(c, args[:len(args)-1], q, &f)
		},
	}
	f.flags(e, c, slices.Concat(rowFormats, []string{"har", "curl"}))
	f.window.flags(c)
	c.Flags().StringSliceVar(&f.columns, "columns", nil, "columns to show, in this order")
	c.Flags().StringVar(&f.order, "order", "", `order, such as "elapsed_us desc" (default: by time)`)
	c.Flags().StringSliceVar(&f.groupBy, "group-by", nil, "count calls by these columns")
	c.Flags().BoolVar(&f.count, "count", false, "print only the number of calls")
	c.Flags().StringVar(&f.macros, "macros", "", "file of macros (default: pcapsule/macros.kfl in the configuration folder)")
	c.Flags().BoolVar(&f.explain, "explain", false, "print the SQL with its arguments instead of running it")
	c.Flags().StringVar(&f.table, "table", "calls", "print rows of this table: calls, flows or connections that match the filter")
	completes(c, "table", "calls", "flows", "connections")
	for _, flag := range []string{"columns", "group-by", "order"} {
		completes(c, flag, columnsOfCalls()...)
	}
	return c
}

func (e *env) cmdSQL() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "sql BUNDLE|CAPTURE... QUERY",
		Short: "Run a SQL query over a bundle's tables",
		Long: `Run one SQL query (DuckDB's dialect) over the tables that pcapsule schema lists. Only queries
are allowed, and they can read nothing but the bundle.`,
		Example: `  pcapsule sql incident.pcapsule 'select host, count(*) from calls group by 1 order by 2 desc'
  pcapsule sql incident.pcapsule 'select * from flows order by retransmissions desc limit 5' --format json`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeBundles,
		RunE: func(c *cobra.Command, args []string) error {
			return e.runQuery(c, args[:len(args)-1], forensics.Query{SQL: args[len(args)-1], Alone: true}, &f)
		},
	}
	f.flags(e, c, rowFormats)
	return c
}

func (e *env) runQuery(c *cobra.Command, paths []string, q forensics.Query, f *queryFlags) error {
	var out rowWriter
	var calls callWriter
	var err error
	if err := f.check(&q); err != nil {
		return err
	}
	switch f.format {
	case "har":
		calls = &harWriter{w: bufio.NewWriterSize(e.out, 64<<10)}
	case "curl":
		calls = &curlWriter{e: e}
	default:
		if out, err = newRowWriter(f.format, e); err != nil {
			return err
		}
	}
	cs, err := e.openCase(c.Context(), paths)
	if err != nil {
		return err
	}
	defer cs.Close()
	if q.From, q.To, err = f.times(cs); err != nil {
		return err
	}
	q.Limit, q.Deadline = f.limit, f.deadline
	if f.explain {
		return e.explainQuery(c.Context(), cs, q, f.format == "json")
	}
	if calls != nil {
		return e.eachCall(c.Context(), cs, q, calls)
	}
	people := f.format == "table"
	if people && q.Limit == 0 {
		q.Limit = tableRows + 1
	}
	if people && q.SQL == "" && len(q.Columns) == 0 && len(q.GroupBy) == 0 && !q.Count && (q.Table == "" || q.Table == "calls") {
		q.Columns = peopleColumns
		if len(cs.Bundles()) > 1 { // call_no is unique only within a bundle
			q.Columns = append([]string{"bundle"}, peopleColumns...)
		}
		if e.coloured(e.out) {
			q.Columns, e.hidden = append(slices.Clone(q.Columns), "outcome"), []string{"outcome"}
		}
	}
	shown := 0
	res, err := cs.Each(c.Context(), q, out.begin, func(cols []forensics.Column, row []any) error {
		if people && f.limit == 0 && shown == tableRows {
			shown++
			return nil
		}
		shown++
		return out.row(cols, row)
	})
	if err != nil {
		return e.questionError(err)
	}
	if err := out.end(); err != nil {
		return err
	}
	if people || shown == 0 {
		e.afterTable(res, shown, people && f.limit == 0)
	}
	return nil
}

// explainQuery prints the SQL of a query without running it.
func (e *env) explainQuery(ctx context.Context, cs *forensics.Case, q forensics.Query, asJSON bool) error {
	if !asJSON && q.Table == "calls" && len(q.Columns)+len(q.GroupBy) == 0 && !q.Count {
		q.Columns = peopleColumns
	}
	x, err := cs.Explain(ctx, q)
	if err != nil {
		return e.questionError(err)
	}
	if asJSON {
		return e.printJSON(x)
	}
	_, err = fmt.Fprint(e.out, x.Text)
	return err
}

// check refuses invalid and contradictory flags before a bundle is opened.
func (f *queryFlags) check(q *forensics.Query) error {
	if !slices.Contains(f.formats, f.format) {
		return exit.Usagef("--format %q: want %s", f.format, strings.Join(f.formats, ", "))
	}
	if f.limit < 0 {
		return exit.Usagef("--limit %d: want 0 or more", f.limit)
	}
	if f.deadline < 0 {
		return exit.Usagef("--deadline %s: want 0 or more", f.deadline)
	}
	if last := q.KFL + q.SQL; isBundlePath(last) {
		return exit.Usagef(`missing filter: %s is a bundle; "" as the last argument matches all calls`, last)
	} else if _, err := os.Stat(last); err == nil && last != "" {
		return exit.Usagef(`missing filter: %s is a file or folder; "" as the last argument matches all calls`, last)
	}
	if whole := f.format == "har" || f.format == "curl"; whole && (q.Count || len(q.GroupBy) > 0 || len(q.Columns) > 0 || q.Table != "calls") {
		return exit.Usagef("--format %s writes whole calls: leave out --columns, --count, --group-by and --table", f.format)
	}
	return nil
}

// peopleColumns are the columns that a table of calls shows by default.
var peopleColumns = []string{"call_no", "ts_ns", "src_name", "dst_name", "protocol", "summary", "elapsed_us"}

// afterTable prints what a reader should know in addition to the rows.
func (e *env) afterTable(res *forensics.Result, shown int, capped bool) {
	if capped && shown > tableRows {
		fmt.Fprintf(e.err, "Only the first %d rows are shown; --limit N shows more, --format ndjson all.\n", tableRows)
	}
	for _, n := range res.Notes {
		fmt.Fprintln(e.err, n)
	}
	if res.Now != 0 {
		fmt.Fprintf(e.err, "now() is %s, the time of the last packet\n", stamp(res.Now))
	}
	switch cov := res.Coverage; {
	case cov.State == forensics.None:
		fmt.Fprintln(e.err, "No packets were recorded in that time range, so an empty answer proves nothing.")
	case shown == 0 && cov.State == forensics.Complete:
		fmt.Fprintln(e.err, "No matches. The whole time range was captured.")
	case cov.State == forensics.Partial:
		fmt.Fprintf(e.err, "The time range was only partly captured: %s\n", gapsText(cov))
	}
}

func gapsText(cov forensics.Coverage) string {
	count := map[string]int64{}
	var order []string
	for _, h := range cov.Holes {
		if count[h.Reason] == 0 {
			order = append(order, h.Reason)
		}
		count[h.Reason]++
	}
	text := ""
	for i, r := range order {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%d × %s", count[r], r)
	}
	if cov.More > 0 {
		text += fmt.Sprintf(" and %d more", cov.More)
	}
	return text + " (table coverage lists them)"
}
