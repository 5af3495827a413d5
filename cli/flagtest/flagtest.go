// Package flagtest tests the flags of a tree of commands.
package flagtest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Types of flags.
var (
	numbers = []string{"int", "int64", "uint32", "uint64", "float64", "duration", "size", "age"}
	words   = []string{"string", "bool", "stringArray", "stringSlice"}
)

// aSize matches a size in the default or in the help of a flag, and aSizeName the name of one.
var (
	aSize     = regexp.MustCompile(`(^|such as )\d+ ?[kKMGT]i?B?\b`)
	aSizeName = regexp.MustCompile(`(^|-)(size|memory|bytes|reserve)$`)
)

// mayBeZero are flags for which 0 is a plain number.
var mayBeZero = []string{"packet", "at", "min-ms", "wait", "log-wait", "orphans", "keep", "max-temp", "remember"}

// Numbers gives each flag with a number values that cannot be meant. A size is a number too: a flag
// that is a text must not have one. It returns how many flags have a number.
func Numbers(t *testing.T, root *cobra.Command) (checked int) {
	t.Helper()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if kind := f.Value.Type(); !slices.Contains(words, kind) {
				checked++
				number(t, c, f)
			} else if kind == "string" && (aSize.MatchString(f.DefValue) || aSize.MatchString(f.Usage) || aSizeName.MatchString(f.Name)) {
				t.Errorf("%s --%s is a size, but its flag is a text without limits", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return checked
}

// number checks one flag.
func number(t *testing.T, c *cobra.Command, f *pflag.Flag) {
	t.Helper()
	kind := f.Value.Type()
	if !slices.Contains(numbers, kind) {
		t.Errorf("%s --%s: flags of type %q are not checked", c.CommandPath(), f.Name, kind)
		return
	}
	for _, text := range []string{"", "x", "NaN", "inf", "-1", "-1s", "1e30", "99999999999999999999", "9223372036854775807h", "8796093022208GiB"} {
		if err := c.Flags().Set(f.Name, text); err == nil {
			t.Errorf("%s --%s %q is accepted", c.CommandPath(), f.Name, text)
		}
	}
	zero := map[string]string{"duration": "0s", "age": "0s"}[kind]
	if zero == "" {
		zero = "0"
	}
	if c.Flags().Set(f.Name, zero) == nil && !strings.Contains(f.Usage, "0") && !slices.Contains(mayBeZero, f.Name) {
		t.Errorf("%s --%s: 0 is accepted, and its help does not say what it means: %s", c.CommandPath(), f.Name, f.Usage)
	}
}
