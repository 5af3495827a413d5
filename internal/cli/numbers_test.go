package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestNumbersHaveLimits gives each flag with a number values that cannot be meant.
func TestNumbersHaveLimits(t *testing.T) {
	numbers := []string{"int", "int64", "uint32", "uint64", "float64", "duration", "size", "age"}
	words := []string{"string", "bool", "stringArray", "stringSlice"}
	checked := 0
	check := func(c *cobra.Command, f *pflag.Flag) {
		kind := f.Value.Type()
		if slices.Contains(words, kind) {
			return
		}
		if !slices.Contains(numbers, kind) {
			t.Errorf("%s --%s: flags of type %q are not checked", c.CommandPath(), f.Name, kind)
			return
		}
		checked++
		for _, text := range []string{"", "x", "NaN", "inf", "-1", "-1s", "1e30", "99999999999999999999", "9223372036854775807h", "8796093022208GiB"} {
			if err := c.Flags().Set(f.Name, text); err == nil {
				t.Errorf("%s --%s %q is accepted", c.CommandPath(), f.Name, text)
			}
		}
		zero := map[string]string{"duration": "0s", "age": "0s"}[kind]
		if zero == "" {
			zero = "0"
		}
		// A flag that accepts 0 says what 0 means, or 0 is a plain number of it.
		plain := []string{"packet", "at", "min-ms", "wait", "log-wait", "orphans", "keep", "max-temp"}
		if c.Flags().Set(f.Name, zero) == nil && !strings.Contains(f.Usage, "0") && !slices.Contains(plain, f.Name) {
			t.Errorf("%s --%s: 0 is accepted, and its help does not say what it means: %s", c.CommandPath(), f.Name, f.Usage)
		}
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { check(c, f) })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&env{}).root())
	if checked < 50 {
		t.Errorf("only %d flags were checked", checked)
	}
}
