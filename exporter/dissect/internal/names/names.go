// Package names reads tables of numbers and their names, which are data files and not code.
//
// A file has sections. A section begins with its name in brackets; each other line is a number
// (decimal, or hexadecimal with 0x), a space and its name. Empty lines and lines that begin with #
// do not count. A file of another form is a programmer's mistake, and Read panics.
package names

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Table is a section of a file.
type Table map[int64]string

// Read reads a file.
func Read(text string) map[string]Table {
	all := map[string]Table{}
	var t Table
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			t = Table{}
			all[strings.Trim(line, "[]")] = t
		default:
			number, name, _ := strings.Cut(line, " ")
			n, err := strconv.ParseInt(number, 0, 64)
			if err != nil || name == "" || t == nil || t[n] != "" {
				panic(fmt.Sprintf("reading names: %q is not a new number with its name in a section", line))
			}
			t[n] = name
		}
	}
	return all
}

// Lazy returns a function that reads a file once, when it is needed first.
func Lazy(text string) func() map[string]Table {
	return sync.OnceValue(func() map[string]Table { return Read(text) })
}

// Name is the name of n, or the number after prefix, as in "alert_7".
func (t Table) Name(n int64, prefix string) string {
	if s, ok := t[n]; ok {
		return s
	}
	return prefix + strconv.FormatInt(n, 10)
}
