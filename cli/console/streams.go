package console

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Widths of output for people, in columns.
const (
	fileWidth = 120 // without a terminal
	maxWidth  = 240
)

// Streams are the standard streams of a command, and how it writes to people. The zero value
// has no streams; help needs none.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Colour   string // auto, always or never
	Wide     bool   // do not shorten output to fit the screen

	Meter func(done, total int64, text string) // gets the progress of a program without a terminal; may be nil
}

// WideFlag adds --wide to a command that fits its output to the screen.
func (s *Streams) WideFlag(c *cobra.Command) {
	c.Flags().BoolVarP(&s.Wide, "wide", "w", false, "do not shorten output to fit the screen")
}

// JSON prints a value for a machine.
func (s *Streams) JSON(v any) error { return JSON(s.Out, v) }

// Warn prints a warning.
func (s *Streams) Warn(format string, args ...any) {
	fmt.Fprintf(s.Err, "warning: %s\n", Lines(fmt.Sprintf(format, args...)))
}

// Remark prints a sentence about an answer, in lines that fit the screen.
func (s *Streams) Remark(format string, args ...any) {
	_ = Row(s.Err, "", Lines(fmt.Sprintf(format, args...)))
}

// Note prints a message that is not a warning, on a terminal only.
func (s *Streams) Note(format string, args ...any) {
	if Terminal(s.Err) {
		fmt.Fprintf(s.Err, format+"\n", args...)
	}
}

// Exact is standard output for data that programs read byte for byte.
func (s *Streams) Exact() io.Writer { return Exact(s.Out) }

// Coloured reports whether standard output may have colours. If it may, its sink passes them.
func (s *Streams) Coloured() bool {
	switch s.Colour {
	case "never":
		return false
	case "always":
	default:
		if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !draws(s.Out) {
			return false
		}
	}
	if sink, ok := s.Out.(*Sink); ok {
		sink.Styled = true
	}
	return true
}

// Styled returns text in a style, if colours are on.
func (s *Streams) Styled(style, text string) string {
	if style == "" || !s.Coloured() {
		return text
	}
	return style + text + Plain
}

// Screen is the maximum width of a table: that of the terminal, or COLUMNS. 0 means no limit:
// the output is a file, or --wide is set.
func (s *Streams) Screen() int {
	if s.Wide {
		return 0
	}
	return Screen(s.Out)
}

// PageWidth is the maximum width of an answer: that of the screen, or a readable width if the
// output is a file.
func (s *Streams) PageWidth() int {
	n := s.Screen()
	switch {
	case s.Wide:
		n = maxWidth
	case n == 0:
		n = fileWidth
	}
	return min(n, maxWidth)
}

// StartPager sends standard output through a pager, if it is a terminal.
func (s *Streams) StartPager() {
	sink, ok := s.Out.(*Sink)
	if !ok {
		return
	}
	if p := PagerOf(sink); p != nil {
		sink.W = p
	}
}

// EndPager waits until the reader closes the pager, so that messages about the output appear
// after it.
func (s *Streams) EndPager() {
	sink, ok := s.Out.(*Sink)
	if !ok {
		return
	}
	if p, ok := sink.W.(*Pager); ok {
		sink.W = File(p)
		_ = p.Close() // errors of the writes are reported separately
	}
}

// draws reports whether w is a terminal that acts on escape sequences.
func draws(w any) bool {
	f := File(w)
	return f != nil && Terminal(f) && escapes(f)
}
