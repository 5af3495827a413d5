package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// tableRows is how many rows a table shows without a limit.
const tableRows = 100

type queryFlags struct {
	window
	format  string
	formats []string // that the command has
	columns []string
	limit   int
	order   string
	groupBy []string
	count   bool
	table   string
	macros  string
	explain bool

	endpoint string // of OTLP
}

func (f *queryFlags) flags(e *env, c *cobra.Command, formats []string) {
	f.formats = formats
	e.maskFlag(c)
	e.indicatorFlag(c)
	e.captureFlags(c)
	e.WideFlag(c)
	c.Flags().StringVar(&f.format, "format", "table", strings.Join(formats, ", "))
	c.Flags().IntVar(&f.limit, "limit", 0, "maximum number of rows (default: 100 for a table, all for other formats)")
	deadlineFlag(c, forensics.AnswerTime)
	c.Flags().Lookup("deadline").Usage += "; with --format other than table the default is " + strings.TrimSuffix(forensics.LongTime.String(), "0s")
	command.Between(c.Flags(), "limit", &f.limit, 1, command.Most)
	completes(c, "format", formats...)
}

func (e *env) cmdQuery() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "query BUNDLE|CAPTURE... [KFL]",
		Short: "List the calls that match a KFL filter",
		Long: `List the calls that match a KFL filter, the last argument, or all calls; docs/kfl.md describes the
language. Several bundles are queried as one. Captures, and folders of them, first become a bundle
in your cache, which later commands reuse.`,
		Example: `  pcapsule query capture.pcapng 'http && status_code >= 500'
  pcapsule query incident.pcapsule 'http && status_code >= 500'
  pcapsule query incident.pcapsule 'dst.service == "payment"' --group-by path,status_code
  pcapsule query a.pcapsule b.pcapsule 'dns && status_code != 0' --format ndjson | jq .host
  pcapsule query incident.pcapsule 'http && status_code == 503' --format har > failed.har
  pcapsule query incident.pcapsule --format otlp --endpoint http://localhost:4318`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeKFL,
		RunE: func(c *cobra.Command, args []string) error {
			q := forensics.Query{Table: f.table, Columns: f.columns, Order: f.order, GroupBy: f.groupBy, Count: f.count}
			var err error
			if args, q.KFL, err = splitFilter(args); err != nil {
				return err
			}
			if q.Macros, err = e.macros(f.macros); err != nil {
				return err
			}
			return e.runQuery(c, args, q, &f)
		},
	}
	f.flags(e, c, slices.Concat(format.OfRows(), format.OfCalls()))
	f.window.flags(c)
	c.Flags().StringVar(&f.endpoint, "endpoint", "", "with --format otlp: URL of a collector, to which spans are sent by HTTP instead of printed, such as http://localhost:4318")
	c.Flags().StringSliceVar(&f.columns, "columns", nil, "columns to show, in this order")
	c.Flags().StringVar(&f.order, "order", "", `order, such as "elapsed_us desc" (default: by time)`)
	c.Flags().StringSliceVar(&f.groupBy, "group-by", nil, "count calls by these columns")
	c.Flags().BoolVar(&f.count, "count", false, "print only the number of calls")
	c.Flags().StringVar(&f.macros, "macros", "", "file of macros (default: pcapsule/macros.kfl in the configuration folder)")
	c.Flags().BoolVar(&f.explain, "explain", false, "print the SQL with its arguments instead of running it")
	c.Flags().StringVar(&f.table, "table", "calls", "print rows of this table: calls, flows or connections that match the filter")
	completes(c, "table", "calls", "flows", "connections")
	for _, flag := range []string{"columns", "group-by", "order"} {
		cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, completeColumns))
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
		ValidArgsFunction: command.CompleteBundles,
		RunE: func(c *cobra.Command, args []string) error {
			return e.runQuery(c, args[:len(args)-1], forensics.Query{SQL: args[len(args)-1], Alone: true}, &f)
		},
	}
	f.flags(e, c, format.OfRows())
	return c
}

func (e *env) runQuery(c *cobra.Command, paths []string, q forensics.Query, f *queryFlags) error {
	var out format.Rows
	var calls format.Calls
	var err error
	if err := f.check(&q); err != nil {
		return err
	}
	people := f.format == "table"
	short := people && !q.Alone && len(q.Columns) == 0 && len(q.GroupBy) == 0 && !q.Count && (q.Table == "" || q.Table == "calls")
	var hidden []string
	if short && e.Coloured() {
		hidden = []string{"outcome"}
	}
	switch f.format {
	case "har":
		calls = format.HAR(&e.Streams)
	case "curl":
		calls = format.Curl(&e.Streams)
	case "otlp":
	default:
		if out, err = format.NewRows(f.format, &e.Streams, hidden...); err != nil {
			return err
		}
	}
	ctx, cs, end, err := e.caseWithin(c, paths)
	if err != nil {
		return err
	}
	defer end()
	if q.From, q.To, err = f.times(cs); err != nil {
		return err
	}
	q.Limit = f.limit
	if f.explain {
		return e.explainQuery(ctx, cs, q, f.format == "json")
	}
	if f.format == "otlp" {
		return e.exportSpans(ctx, cs, q, f.endpoint)
	}
	if calls != nil {
		return e.eachCall(ctx, cs, q, calls)
	}
	if people && q.Limit == 0 {
		q.Limit = tableRows + 1
	}
	if short {
		q.Columns = slices.Concat(peopleColumns, hidden)
		if len(cs.Bundles()) > 1 { // call_no is unique only within a bundle
			q.Columns = append([]string{"bundle"}, q.Columns...)
		}
	}
	shown := 0
	res, err := cs.Each(ctx, q, out.Begin, func(cols []forensics.Column, row []any) error {
		if people && f.limit == 0 && shown == tableRows {
			shown++
			return nil
		}
		shown++
		return out.Row(cols, row)
	})
	if err != nil {
		return e.questionError(err)
	}
	if err := out.End(); err != nil {
		return err
	}
	if people || shown == 0 {
		e.afterTable(ctx, cs, res, shown, people && f.limit == 0)
	}
	return nil
}

// httpProtocols are those whose calls HAR and curl can express.
var httpProtocols = []string{"http1", "http2", "http3", "grpc"}

// eachCall writes every matching call whole. HAR and curl can express only HTTP calls.
func (e *env) eachCall(ctx context.Context, cs *forensics.Case, q forensics.Query, w format.Calls) error {
	var list []forensics.CallNo
	q.Columns = []string{"call_no", "protocol"}
	several := len(cs.Bundles()) > 1
	if several {
		q.Columns = append(q.Columns, "bundle")
	}
	skipped := 0
	res, err := cs.Each(ctx, q, func([]forensics.Column) error { return nil }, func(_ []forensics.Column, row []any) error {
		if !slices.Contains(httpProtocols, format.Text(row[1])) {
			skipped++
			return nil
		}
		k := forensics.CallNo{No: format.Number(row[0])}
		if several {
			k.Bundle = int(format.Number(row[2]))
		}
		list = append(list, k)
		return nil
	})
	if err != nil {
		return e.questionError(err)
	}
	var failed error // to write
	err = cs.EachCall(ctx, list, forensics.CallOptions{}, func(x *forensics.Exchange) error {
		failed = w.Call(x)
		return failed
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return e.questionError(err)
	}
	if skipped > 0 {
		e.Remark("%s left out: not HTTP", plural.Count(int64(skipped), "call", "calls"))
	} else if len(list) == 0 {
		e.afterTable(ctx, cs, res, 0, false)
	}
	return w.End()
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
		return e.JSON(x)
	}
	_, err = fmt.Fprint(e.Out, x.Text(e.Screen()))
	return err
}

// check refuses invalid and contradictory flags before a bundle is opened.
func (f *queryFlags) check(q *forensics.Query) error {
	if !slices.Contains(f.formats, f.format) {
		return command.OneOf("--format", f.format, f.formats)
	}
	if q.Alone && isPath(q.SQL) {
		return exit.Usagef("missing query: %s is a file or folder; the query is the last argument", q.SQL)
	}
	if f.endpoint != "" && f.format != "otlp" {
		return exit.Usagef("--endpoint needs --format otlp")
	}
	if whole := slices.Contains(format.OfCalls(), f.format); whole && (q.Count || len(q.GroupBy) > 0 || len(q.Columns) > 0 || q.Table != "calls") {
		return exit.Usagef("--format %s writes whole calls: leave out --columns, --count, --group-by and --table", f.format)
	}
	return nil
}

// peopleColumns are the columns that a table of calls shows by default.
var peopleColumns = []string{"call_no", "ts_ns", "src_name", "dst_name", "protocol", "summary", "elapsed_us"}

// afterTable prints what a reader should know in addition to the rows.
func (e *env) afterTable(ctx context.Context, cs *forensics.Case, res *forensics.Result, shown int, capped bool) {
	if capped && shown > tableRows {
		more := "--limit N shows more, --format ndjson shows all."
		if e.prompt {
			more = "outside this prompt, pcapsule query and pcapsule sql have --limit."
		}
		e.Remark("Only the first %d rows are shown; %s", tableRows, more)
	}
	for _, n := range res.Notes {
		e.Remark("%s", n)
	}
	if res.Now != 0 {
		e.Remark("now() is %s UTC, the time of the last packet", format.Moment(res.Now))
	}
	switch cov := res.Coverage; {
	case cov.State == forensics.None:
		e.Remark("No packets were recorded in that time range, so an empty answer proves nothing.")
		if len(cov.Holes) > 0 {
			e.Remark("What was not recorded: %s", gapsText(cov))
		}
	case shown == 0 && cov.Whole():
		e.Remark("%s", ask.Nothing)
	case shown == 0 && cov.State == forensics.Complete && cov.Unread:
		e.Remark("%s", ask.NothingInRead)
	case shown == 0 && cov.State == forensics.Complete:
		e.Remark("%s", ask.NothingHeard)
	case cov.State == forensics.Partial:
		e.Remark("The time range was only partly captured: %s", gapsText(cov))
	}
	if shown > 0 {
		return
	}
	if unread, err := ask.Unread(ctx, cs, res.Coverage.From, res.Coverage.To); err == nil {
		for _, n := range unread {
			if !slices.Contains(res.Notes, n) {
				e.Remark("%s", n)
			}
		}
	}
}

// gapsText counts coverage gaps by reason.
func gapsText(cov forensics.Coverage) string {
	count := map[string]int64{}
	var order, parts []string
	for _, h := range cov.Holes {
		if count[h.Reason] == 0 {
			order = append(order, h.Reason)
		}
		count[h.Reason]++
	}
	for _, r := range order {
		parts = append(parts, plural.Count(count[r], "gap", "gaps")+" ("+strings.ReplaceAll(r, "_", " ")+")")
	}
	if cov.More > 0 {
		parts = append(parts, plural.Thousands(cov.More)+" more")
	}
	return strings.Join(parts, ", ") + "; pcapsule info lists them"
}
