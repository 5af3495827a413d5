package command

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/console"
)

// helpWidth is the maximum width of help, in columns; longer lines are hard to read.
const helpWidth = 100

// SetHelp makes the help of a program fit its terminal. width returns the number of columns.
func SetHelp(root *cobra.Command, width func() int) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprint(c.OutOrStdout(), helpText(c, min(width(), helpWidth)))
	})
}

// Screen returns the width of the terminal that a program prints to, or no limit if it prints to none.
func Screen(root *cobra.Command) func() int {
	return func() int { return cmp.Or(console.Screen(root.OutOrStdout()), math.MaxInt) }
}

// helpText is the help of a command in lines of at most width columns. Only a single word
// can be longer.
func helpText(c *cobra.Command, width int) string {
	var b strings.Builder
	about := c.Long
	if about == "" {
		about = c.Short
	}
	b.WriteString(paragraphs(about, width))
	section := func(title string, lines ...string) {
		if len(lines) > 0 {
			b.WriteString(title + ":\n" + strings.Join(lines, "\n") + "\n\n")
		}
	}
	usage := c.UseLine()
	if c.HasAvailableSubCommands() && c.Runnable() && !strings.Contains(c.Use, " ") || !c.Runnable() {
		usage = c.CommandPath() + " [command]"
	}
	section("Usage", console.Hanging(2, usage, 6, width))
	if len(c.Aliases) > 0 {
		section("Aliases", console.Hanging(2, c.NameAndAliases(), 2, width))
	}
	if c.HasExample() {
		var lines []string
		for l := range strings.SplitSeq(c.Example, "\n") {
			lines = append(lines, continued(l, width))
		}
		section("Examples", lines...)
	}
	for _, g := range append([]*cobra.Group{{Title: "Commands"}}, c.Groups()...) {
		section(g.Title, commandLines(c, g.ID, width)...)
	}
	section("Flags", flagLines(c.LocalFlags(), width)...)
	section("Global flags", flagLines(c.InheritedFlags(), width)...)
	if c.HasAvailableSubCommands() {
		b.WriteString(console.Hanging(0, fmt.Sprintf("Run %s COMMAND --help for more about a command.", c.CommandPath()), 0, width) + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// commandLines lists the subcommands of a group; the group of those without one is empty.
func commandLines(c *cobra.Command, group string, width int) (list []string) {
	longest := 0
	for _, sub := range c.Commands() {
		if listed(sub) {
			longest = max(longest, len(sub.Name()))
		}
	}
	for _, sub := range c.Commands() {
		switch {
		case !listed(sub) || sub.GroupID != group:
		case longest > width/3: // put the name and the description on separate lines
			list = append(list, "  "+sub.Name(), console.Hanging(6, sub.Short, 6, width))
		default:
			list = append(list, console.Hanging(2, fmt.Sprintf("%-*s  %s", longest, sub.Name(), sub.Short), longest+4, width))
		}
	}
	return list
}

func listed(c *cobra.Command) bool { return c.IsAvailableCommand() || c.Name() == "help" }

// flagLine matches a line of pflag: the flag with its type, then its description, if it has one.
var flagLine = regexp.MustCompile(`^( +(?:-\w, )?--\S+(?: \S+)?)(?: {3,}(\S.*)| *)$`)

// Types and defaults that pflag prints and that mean nothing to a reader.
var (
	typeOfGo  = regexp.MustCompile(` (stringArray|strings|uint32|uint|string\[="[^"]*"\])$`)
	noDefault = regexp.MustCompile(` \(default (-1|0s|"0")\)$`)
)

// plainType is what help prints for such a type: a flag with an optional value has none.
func plainType(typ string) string {
	switch {
	case strings.HasPrefix(typ, " uint"):
		return " int"
	case strings.Contains(typ, "["):
		return ""
	}
	return " string"
}

// flagLines lists flags, each with its description to the right, or below if the terminal is
// narrow.
func flagLines(fl *pflag.FlagSet, width int) (list []string) {
	var found [][]string
	longest := 0
	for l := range strings.Lines(fl.FlagUsages()) {
		if m := flagLine.FindStringSubmatch(strings.TrimRight(l, "\n")); m != nil {
			m[1], m[2] = typeOfGo.ReplaceAllStringFunc(m[1], plainType), noDefault.ReplaceAllString(m[2], "")
			found, longest = append(found, m), max(longest, len(m[1]))
		}
	}
	for _, m := range found {
		if longest > width/2 {
			list = append(list, m[1])
			if m[2] != "" {
				list = append(list, console.Hanging(10, m[2], 10, width))
			}
		} else {
			list = append(list, console.Hanging(0, strings.TrimRight(fmt.Sprintf("%-*s   %s", longest, m[1], m[2]), " "), longest+3, width))
		}
	}
	return list
}

// paragraphs rewraps each paragraph of a text. One with indented lines is not changed.
func paragraphs(text string, width int) string {
	var b strings.Builder
	for p := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(p, " ") || strings.Contains(p, "\n ") {
			b.WriteString(p + "\n\n")
			continue
		}
		b.WriteString(strings.Join(console.Wrap(p, width), "\n") + "\n\n")
	}
	return b.String()
}

// continued breaks a command line into lines for a shell, at blanks outside quotes.
func continued(line string, width int) string {
	const indent = "      "
	var out []string
	for utf8.RuneCountInString(line) > width {
		at, quote := -1, rune(0)
		column := 0
		for i, r := range line {
			switch {
			case quote != 0 && r == quote:
				quote = 0
			case quote != 0:
			case r == '\'' || r == '"':
				quote = r
			case r == ' ' && (column <= width-2 || at < 0) && strings.TrimSpace(line[:i]) != "":
				at = i
			}
			column++
		}
		if at < 0 {
			break
		}
		out = append(out, line[:at]+` \`)
		line = indent + strings.TrimLeft(line[at:], " ")
	}
	return strings.Join(append(out, line), "\n")
}
