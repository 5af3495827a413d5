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

// tableOf writes a Markdown table: a row per kernel, a column per check.
func tableOf(rows []row) string {
	var names []string
	for _, r := range rows {
		for _, x := range r.results {
			if !slices.Contains(names, x.Name) {
				names = append(names, x.Name)
			}
		}
	}
	var b strings.Builder
	b.WriteString("| kernel | machine |")
	for _, n := range names {
		fmt.Fprintf(&b, " %s |", n)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(names)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |", r.release, r.arch)
		for _, n := range names {
			cell := "missing"
			for _, x := range r.results {
				if x.Name != n {
					continue
				}
				switch x.State {
				case good:
					cell = "yes"
				case none:
					cell = "not tested"
				case partial:
					cell = "less"
				default:
					cell = "**no**"
				}
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Marks around the table in a document.
const (
	tableBegin = "<!-- make kernels writes what follows -->\n"
	tableEnd   = "<!-- up to here -->\n"
)

func writeTable(path, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table", path)
	}
	return os.WriteFile(path, []byte(before+tableBegin+text+tableEnd+after), 0o644)
}
