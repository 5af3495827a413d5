// Package console writes output for people: text without control characters, sizes, and
// standard output that remembers its first error.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Printable replaces characters that a terminal would act on with dots, and cuts s to n
// columns.
func Printable(s string, n int) string {
	var b strings.Builder
	used := 0
	for _, r := range s {
		if used >= n {
			b.WriteRune('…')
			break
		}
		switch {
		case r == utf8.RuneError, Acts(r):
			b.WriteByte('.')
		default:
			b.WriteRune(r)
		}
		used++
	}
	return b.String()
}

const maxLine = 4000 // columns of a line of a message

// Lines makes each line of a message printable, because messages may quote file names and
// text from captures.
func Lines(s string) string {
	list := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, l := range list {
		list[i] = Printable(strings.ReplaceAll(l, "\t", "    "), maxLine)
	}
	return strings.Join(list, "\n")
}

// keepsNext reports whether a word stays on the line of the next one: a number with its unit, as 12 kB,
// or with what it counts, as 2 × password.
func keepsNext(word string) bool {
	return word == "×" || strings.ContainsAny(word, "0123456789") && strings.Trim(word, "0123456789.,") == ""
}

// Wrap breaks text into lines of at most width columns, between words. A longer word is on
// a separate line.
func Wrap(text string, width int) (list []string) {
	line, used := "", 0
	words := strings.Fields(text)
	for i, word := range words {
		if i+1 < len(words) && keepsNext(word) && utf8.RuneCountInString(word)+1+utf8.RuneCountInString(words[i+1]) <= width {
			words[i+1] = word + " " + words[i+1]
			continue
		}
		n := utf8.RuneCountInString(word)
		if used > 0 && used+1+n > width {
			list, line, used = append(list, line), "", 0
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	if used > 0 {
		list = append(list, line)
	}
	return list
}

// Hanging wraps text into lines, the first indented by first columns and the others by rest.
// It keeps runs of blanks in the first line, and does not break a word that is longer than a
// line.
func Hanging(first int, text string, rest, width int) string {
	line := strings.Repeat(" ", first) + text
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	var out []string
	for utf8.RuneCountInString(line) > width {
		runes := []rune(line)
		at := -1 // the last blank that fits, or else the first one after it
		for i := rest + 1; i < len(runes) && (i <= width || at < 0); i++ {
			if runes[i] != ' ' || at >= 0 && keepsNext(lastWord(runes[rest:i])) {
				continue
			}
			at = i
		}
		if at < 0 {
			break
		}
		out = append(out, strings.TrimRight(string(runes[:at]), " "))
		line = strings.Repeat(" ", rest) + strings.TrimLeft(string(runes[at:]), " ")
	}
	return strings.Join(append(out, line), "\n")
}

// lastWord returns the word at the end of a text.
func lastWord(text []rune) string {
	at := len(text)
	for at > 0 && text[at-1] != ' ' {
		at--
	}
	return string(text[at:])
}

// Row writes a line of a list: its head, and a text that is wrapped next to it, or below it if the screen is too
// narrow.
func Row(w io.Writer, head, text string) error {
	line, rest := head+text, utf8.RuneCountInString(head)
	if screen := Screen(w); screen > 0 {
		if screen-rest < leastBeside {
			rest = belowHead
		}
		line = Hanging(0, line, rest, screen)
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(line, " "))
	return err
}

const (
	belowHead   = 6  // indent of a text below a long head
	leastBeside = 30 // columns that a text next to a head needs
)

// JSON writes a value as indented JSON without escaping <, > and &.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// ByteSize writes a number of bytes for people, in powers of 1000.
func ByteSize(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, units := float64(n), "kMGTPE"
	i := -1
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, units[i])
	}
	return fmt.Sprintf("%.0f %cB", v, units[i])
}

// Terminal reports whether w is a terminal.
func Terminal(w any) bool {
	f := File(w)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// LeastWidth is how many columns a text takes on any screen.
const LeastWidth = 40

// Screen is how many columns a text on w may take: those of the terminal, or of COLUMNS. It is 0
// without either.
func Screen(w any) int {
	n := Columns(w)
	if n == 0 {
		n, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	}
	if n <= 0 {
		return 0
	}
	return max(n, LeastWidth)
}

// Columns is how many characters a line of the terminal w has, 0 if w is not one.
func Columns(w any) int {
	if !Terminal(w) {
		return 0
	}
	n, _, err := term.GetSize(int(File(w).Fd()))
	if err != nil {
		return 0
	}
	return n
}
