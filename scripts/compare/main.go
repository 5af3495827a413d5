// Command compare asks two programs the same questions about the same captures and reports the
// answers that differ. scripts/compare/answers.sh describes its use.
//
// It makes one bundle of each capture with each program and asks most questions over MCP, with one
// server for each bundle; commands that have no tool run by themselves. Times that an answer took,
// the release and paths do not count.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

type options struct {
	captures, only, ask        string
	most, every, inputs, jobs  int
	same, keep                 bool
	oldProgram, newProgram, to string
}

func main() {
	var o options
	flag.StringVar(&o.captures, "captures", "", "folder with INDEX.tsv; empty: only samples")
	flag.IntVar(&o.most, "most", 1, "captures of each protocol there; 0: all")
	flag.IntVar(&o.every, "every", 1, "one capture in this many")
	flag.IntVar(&o.inputs, "inputs", 1, "inputs for each question; 0: all")
	flag.StringVar(&o.only, "only", "", "only captures whose path matches this")
	flag.StringVar(&o.ask, "ask", "", "only questions whose name matches this")
	flag.BoolVar(&o.same, "same", false, "both programs read the bundles that the old one made")
	flag.BoolVar(&o.keep, "keep", false, "keep bundles and answers of the new program too")
	flag.IntVar(&o.jobs, "jobs", 2, "captures at once")
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: compare [flags] OLD NEW DIR")
		os.Exit(2)
	}
	o.oldProgram, o.newProgram, o.to = flag.Arg(0), flag.Arg(1), flag.Arg(2)
	different, err := run(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
	if different > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (int, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return 0, err
	}
	ask, err := regexp.Compile(o.ask)
	if err != nil {
		return 0, err
	}
	place := 0
	list, err := captures(o.captures, o.most, only)
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(capture) bool { place++; return (place-1)%max(o.every, 1) != 0 })
	before, err := newProgram(o.oldProgram, o.to, true)
	if err != nil {
		return 0, err
	}
	after, err := newProgram(o.newProgram, o.to, o.keep)
	if err != nil {
		return 0, err
	}
	if !after.kept {
		defer os.RemoveAll(after.dir)
	}
	out := filepath.Join(o.to, "different-"+after.id)
	if err := os.RemoveAll(out); err != nil {
		return 0, err
	}
	begin := time.Now()
	t := table{out: out, rows: map[string]*row{}}
	var all sync.WaitGroup
	errs := make([]error, len(list))
	turn := make(chan struct{}, max(o.jobs, 1))
	for i, c := range list {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			errs[i] = compare(ctx, o, ask, before, after, c, &t)
		})
	}
	all.Wait()
	fmt.Printf("%d captures, %.0f s\n", len(list), time.Since(begin).Seconds())
	return t.print(), errors.Join(errs...)
}

// compare asks both programs about one capture.
func compare(ctx context.Context, o options, ask *regexp.Regexp, before, after *program, c capture, t *table) error {
	plan := newPlan(o.inputs, ask)
	a, err := before.about(ctx, c, plan, before, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	bundler := after
	if o.same {
		bundler = before
	}
	b, err := after.about(ctx, c, plan, bundler, a)
	if err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	return t.add(c, a, b)
}
