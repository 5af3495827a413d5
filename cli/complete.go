package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

// completes registers the values that a flag can have. It panics if the command has no such
// flag.
func completes(c *cobra.Command, flag string, values ...string) {
	cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// completeProtocols offers the names of protocols for a list that is separated by commas.
func completeProtocols(_ *cobra.Command, _ []string, word string) (list []string, _ cobra.ShellCompDirective) {
	before := word[:strings.LastIndexByte(word, ',')+1]
	for _, name := range protocolNames() {
		list = append(list, before+name)
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeColumns offers the columns of calls that KFL knows.
func completeColumns(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	for _, f := range kfl.Fields() {
		if f.Source == f.Name {
			names = append(names, f.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeKFL offers bundles and captures for the first argument, then names of KFL.
func completeKFL(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return command.CompleteBundles(c, args, word)
	}
	var list []string
	for _, x := range kfl.CompleteIn(word, len(word), kfl.Env{}) {
		list = append(list, cobra.CompletionWithDesc(word[:x.Start]+x.Text, x.Doc))
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completionTime limits how long a completion may take.
const completionTime = 3 * time.Second

// completeCalls offers bundles for the first argument, then calls with their summaries: by their
// numbers, or by their ids if no number begins with word.
func completeCalls(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	rows, ok := rowsOf(args, "SELECT call_no, summary, lower(hex(call_id)) FROM calls ORDER BY call_no")
	if !ok {
		return command.CompleteBundles(c, args, word)
	}
	var list []string
	number := func(row []any) string { return fmt.Sprint(format.Number(row[0])) }
	for _, idOf := range []func([]any) string{number, func(row []any) string { return format.Text(row[2]) }} {
		for _, row := range rows {
			if id := idOf(row); len(list) < maxOffered && strings.HasPrefix(id, word) {
				list = append(list, cobra.CompletionWithDesc(id, console.Printable(format.Text(row[1]), 60)))
			}
		}
		if len(list) > 0 {
			break
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// nameFlags are the flags of questions that take the name of an endpoint.
var nameFlags = []string{"service", "client", "server", "src", "dst", "workload", "via"}

// completeNames offers services and workloads, and the names of other endpoints, of the bundles before the flag.
func completeNames(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	rows, _ := rowsOf(args, `SELECT DISTINCT unnest([service, workload, CASE WHEN service IS NULL AND workload IS NULL THEN name END]) AS name, namespace FROM endpoints ORDER BY ALL`)
	var list []string
	for _, row := range rows {
		name, space := format.Text(row[0]), format.Text(row[1])
		if name == "" || !strings.HasPrefix(name, word) || len(list) == maxOffered {
			continue
		}
		list = append(list, cobra.CompletionWithDesc(console.Printable(name, 100), console.Printable(space, 60)))
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// rowsOf asks the bundles of a command line. Completion makes no bundle, so there are no rows of a
// capture; ok is false then.
func rowsOf(args []string, sql string) (rows [][]any, ok bool) {
	if len(args) == 0 {
		return nil, false
	}
	if kind, _ := kindOf(args[0]); kind == aCapture {
		return nil, false
	}
	ctx, stop := context.WithTimeout(context.Background(), completionTime)
	defer stop()
	cs, err := (&env{Streams: console.Streams{Err: io.Discard}}).openCase(ctx, args)
	if err != nil {
		return nil, true
	}
	defer cs.Close()
	res, err := cs.Query(ctx, forensics.Query{SQL: sql, Named: true, Limit: 10000})
	if err != nil {
		return nil, true
	}
	return res.Rows, true
}
