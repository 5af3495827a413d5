package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// states of a check.
const (
	good    = "good"
	partial = "partial" // works with limitations that the recorder reports
	none    = "none"    // not tested: the guest lacks something
	bad     = "bad"
)

// result is one check in a guest.
type result struct{ Name, State, Detail string }

// row is one kernel.
type row struct {
	kernel
	release string
	seconds float64
	results []result
}

func (r *row) failed() (n int) {
	for _, x := range r.results {
		if x.State == bad {
			n++
		}
	}
	return n
}

func (r *row) print(to io.Writer) {
	fmt.Fprintf(to, "%s %s (%s), %.0f s\n", r.version, r.arch, r.release, r.seconds)
	for _, x := range r.results {
		fmt.Fprintf(to, "  %-8s%-14s %s\n", x.State, x.Name, x.Detail)
	}
}

// listOf writes a Markdown list: an item per kernel, with the checks that are not good.
func listOf(rows []row) string {
	var names []string
	for _, r := range rows {
		for _, x := range r.results {
			if !slices.Contains(names, x.Name) {
				names = append(names, x.Name)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Checks: %s.\n\n", strings.Join(names, ", "))
	for _, r := range rows {
		var other []string
		for _, n := range names {
			i := slices.IndexFunc(r.results, func(x result) bool { return x.Name == n })
			switch {
			case i < 0:
				other = append(other, n+" missing")
			case r.results[i].State == none:
				other = append(other, n+" not tested")
			case r.results[i].State == partial:
				other = append(other, n+" less")
			case r.results[i].State != good:
				other = append(other, "**"+n+" no**")
			}
		}
		if other == nil {
			other = []string{"all yes"}
		}
		fmt.Fprintf(&b, "* %s (%s): %s\n", r.release, r.arch, strings.Join(other, ", "))
	}
	return b.String()
}

// Marks around the list in a document.
const (
	listBegin = "<!-- make kernels writes what follows -->\n"
	listEnd   = "<!-- up to here -->\n"
)

func writeList(path, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), listBegin)
	_, after, ok2 := strings.Cut(rest, listEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the list", path)
	}
	return os.WriteFile(path, []byte(before+listBegin+text+listEnd+after), 0o644)
}
