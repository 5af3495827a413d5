package cli

import (
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/internal/cli/console"
)

// Widths of what is laid out for people, in columns.
const (
	fileWidth = 120 // without a terminal
	mostWidth = 240
)

// screen is how many columns a table may take: those of the terminal, or what COLUMNS says.
// 0 is no limit: a file, or --wide.
func (e *env) screen() int {
	if e.wide {
		return 0
	}
	return console.Screen(e.out)
}

// pageWidth is how many columns an answer may take: those of the screen, or so many that
// a line can be read in a file.
func (e *env) pageWidth() int {
	n := e.screen()
	switch {
	case e.wide:
		n = mostWidth
	case n == 0:
		n = fileWidth
	}
	return min(n, mostWidth)
}

// wideFlag adds --wide to a command that fits its output to the screen.
func (e *env) wideFlag(c *cobra.Command) {
	c.Flags().BoolVarP(&e.wide, "wide", "w", false, "shorten nothing to fit the screen")
}
