package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

// completes registers the values that a flag can have. It panics if the command has no such
// flag.
func completes(c *cobra.Command, flag string, values ...string) {
	cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// columnsOfCalls lists the columns of calls that KFL knows.
func columnsOfCalls() (names []string) {
	for _, f := range kfl.Fields() {
		if f.Source == f.Name {
			names = append(names, f.Name)
		}
	}
	return names
}

// completeKFL offers bundles and captures for the first argument, then names of KFL.
func completeKFL(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeBundles(c, args, word)
	}
	var list []string
	for _, x := range kfl.CompleteIn(word, len(word), kfl.Env{}) {
		list = append(list, cobra.CompletionWithDesc(word[:x.Start]+x.Text, x.Doc))
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completionTime limits how long a completion may take.
const completionTime = 3 * time.Second

// completeCalls offers bundles for the first argument, then the numbers of calls with their
// summaries.
func completeCalls(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	kind := aCapture
	if len(args) > 0 {
		kind, _ = kindOf(args[0])
	}
	if kind == aCapture { // completion makes no bundle
		return completeBundles(c, args, word)
	}
	ctx, stop := context.WithTimeout(context.Background(), completionTime)
	defer stop()
	cs, err := (&env{err: io.Discard}).openCase(ctx, args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cs.Close()
	res, err := cs.Query(ctx, forensics.Query{SQL: "SELECT call_no, summary FROM calls ORDER BY call_no", Named: true, Limit: 10000})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []string
	for _, row := range res.Rows {
		if no := fmt.Sprint(number(row[0])); strings.HasPrefix(no, word) && len(list) < maxOffered {
			list = append(list, cobra.CompletionWithDesc(no, printable(text(row[1]), 60)))
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
