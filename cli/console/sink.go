package console

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// Sink is standard output, the one place where text reaches a terminal. It escapes characters
// that a terminal would act on, such as captured text that moves the cursor or changes the
// writing direction, as \u001b; in JSON that is equivalent. Line feeds, tabs and our own
// styles pass.
//
// It remembers the first error, so that a command that ignores errors of printing still fails
// if the disk is full.
type Sink struct {
	W      io.Writer
	Err    error
	Styled bool // styles pass

	mu   sync.Mutex
	part []byte // the beginning of an incomplete character
}

// Styles of text on a terminal.
const (
	Bold   = "\x1b[1m"
	Red    = "\x1b[31m"
	Yellow = "\x1b[33m"
	Blue   = "\x1b[34m"
	Plain  = "\x1b[0m"
)

// Write implements io.Writer.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := p
	if len(s.part) > 0 {
		text = append(s.part, p...)
		s.part = nil
	}
	if n := unfinished(text); n > 0 {
		s.part = slices.Clone(text[len(text)-n:])
		text = text[:len(text)-n]
	}
	if err := s.put(s.safe(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// End writes the beginning of a character whose rest never arrived.
func (s *Sink) End() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.part
	s.part = nil
	return s.put(s.safe(rest))
}

// unfinished is the length of an incomplete character at the end of p.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			break
		}
	}
	return 0
}

// safe escapes characters that a terminal would act on. If there are none it returns p.
func (s *Sink) safe(p []byte) []byte {
	i := 0
	for i < len(p) && (p[i] >= ' ' && p[i] < 0x7f || p[i] == '\n' || p[i] == '\t') {
		i++
	}
	if i == len(p) {
		return p
	}
	out := append(make([]byte, 0, len(p)+64), p[:i]...)
	for i < len(p) {
		if n := s.style(p[i:]); n > 0 {
			out, i = append(out, p[i:i+n]...), i+n
			continue
		}
		r, n := utf8.DecodeRune(p[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, p[i])
		case r != '\n' && r != '\t' && Acts(r):
			out = escape(out, r)
		default:
			out = append(out, p[i:i+n]...)
		}
		i += n
	}
	return out
}

func (s *Sink) style(p []byte) int {
	for _, known := range []string{Bold, Red, Yellow, Blue, Plain} {
		if s.Styled && len(p) >= len(known) && string(p[:len(known)]) == known {
			return len(known)
		}
	}
	return 0
}

// Acts reports whether a terminal or a text viewer acts on a character instead of showing
// it.
func Acts(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Line returns s on one line: a file name may contain line breaks.
func Line(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, Acts) {
		return s
	}
	var out []byte
	for _, r := range s {
		if Acts(r) {
			out = escape(out, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// escape appends a character as JSON and Go escape it.
func escape(out []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		return fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}

// put writes bytes unchanged.
func (s *Sink) put(p []byte) error {
	if s.Err != nil || len(p) == 0 {
		return s.Err
	}
	if _, err := s.W.Write(p); err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		s.Err = exit.With(fmt.Errorf("writing standard output: %w", err), exit.Disk, "the output is incomplete; free space and run the same command again")
	}
	return s.Err
}

// exact writes bytes unchanged.
type exact struct{ s *Sink }

// Write implements io.Writer.
func (x exact) Write(p []byte) (int, error) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if err := x.s.put(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Exact returns w without escapes, for data that programs read byte for byte: captures,
// Parquet, HTML. On a terminal the escapes stay.
func Exact(w io.Writer) io.Writer {
	if s, ok := w.(*Sink); ok && !Terminal(s) {
		return exact{s}
	}
	return w
}

// Direct returns the file behind w if there is one, for another of our programs, which escapes its own
// output and needs to know whether it prints to a terminal.
func Direct(w io.Writer) io.Writer {
	if s, ok := w.(*Sink); ok {
		if f, ok := s.W.(*os.File); ok {
			return f
		}
	}
	return w
}

// Drawn returns w without escapes, for output that draws on a terminal, such as progress.
func Drawn(w io.Writer) io.Writer {
	if s, ok := w.(*Sink); ok {
		return exact{s}
	}
	return w
}

// File returns the file behind a writer, nil if there is none.
func File(w any) *os.File {
	switch s := w.(type) {
	case *Sink:
		w = s.W
	case exact:
		w = s.s.W
	}
	if p, ok := w.(*Pager); ok {
		return p.term
	}
	f, _ := w.(*os.File)
	return f
}
