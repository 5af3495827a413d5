package cli

import (
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/internal/cli/console"
)

// Widths of output for people, in columns.
const (
	fileWidth = 120 // without a terminal
	maxWidth  = 240
)

// screen is the maximum width of a table: that of the terminal, or COLUMNS. 0 means no
// limit: the output is a file, or --wide is set.
func (e *env) screen() int {
	if e.wide {
		return 0
	}
	return console.Screen(e.out)
}

// pageWidth is the maximum width of an answer: that of the screen, or a readable width if
// the output is a file.
func (e *env) pageWidth() int {
	n := e.screen()
	switch {
	case e.wide:
		n = maxWidth
	case n == 0:
		n = fileWidth
	}
	return min(n, maxWidth)
}

// wideFlag adds --wide to a command that fits its output to the screen.
func (e *env) wideFlag(c *cobra.Command) {
	c.Flags().BoolVarP(&e.wide, "wide", "w", false, "do not shorten output to fit the screen")
}
