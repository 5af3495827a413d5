package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/internal/version"
)

// Man prints the manual page of a program with all its commands.
func Man(program string) *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page: every command with its flags and examples",
		Long:  "Print the manual page in the format of man(1): every command with its flags and examples.\nThe Debian package installs it.",
		Example: strings.ReplaceAll(`  PROGRAM man > /usr/local/share/man/man1/PROGRAM.1
  PROGRAM man | man -l -`, "PROGRAM", program),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), manPage(c.Root()))
			return err
		},
	}
}

// manPage is the manual page of a program in roff.
func manPage(root *cobra.Command) string {
	var b strings.Builder
	name := root.Name()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s\" \"User Commands\"\n", strings.ToUpper(name), roff(version.Of(name).Short()))
	fmt.Fprintf(&b, ".nh\n.ad l\n.SH NAME\n%s \\- %s\n", roff(name), roff(root.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I command\n[\\fIargument\\fR ...] [\\fIflag\\fR ...]\n", roff(name))
	b.WriteString(".SH DESCRIPTION\n" + roffText(root.Long))
	b.WriteString(".SH COMMANDS\n")
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		if !c.IsAvailableCommand() {
			return
		}
		if c.Runnable() {
			manCommand(&b, root, c)
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	for _, c := range root.Commands() {
		each(c)
	}
	b.WriteString(".SH GLOBAL FLAGS\n")
	manFlags(&b, root.PersistentFlags())
	return b.String()
}

// manCommand writes the section of a command.
func manCommand(b *strings.Builder, root, c *cobra.Command) {
	fmt.Fprintf(b, ".SS %s\n", roff(strings.TrimPrefix(c.UseLine(), root.Name()+" ")))
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	b.WriteString(roffText(about))
	manFlags(b, c.LocalNonPersistentFlags())
	if c.HasExample() {
		b.WriteString(".PP\nExamples:\n" + roffLines(c.Example))
	}
}

// manFlags writes a list of flags.
func manFlags(b *strings.Builder, fl *pflag.FlagSet) {
	for l := range strings.Lines(fl.FlagUsages()) {
		if m := flagLine.FindStringSubmatch(strings.TrimRight(l, "\n")); m != nil && !strings.HasSuffix(m[1], "--help") {
			flag := strings.TrimSpace(typeOfGo.ReplaceAllStringFunc(m[1], plainType))
			about := noDefault.ReplaceAllString(m[2], "")
			if about == "" {
				about = `\&` // a flag whose name says it
			} else {
				about = roff(about)
			}
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(flag), about)
		}
	}
}

// roffText writes paragraphs. Those with indented lines are not filled.
func roffText(text string) string {
	var b strings.Builder
	for p := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(p, " ") || strings.Contains(p, "\n ") {
			b.WriteString(roffLines(p))
			continue
		}
		b.WriteString(".PP\n")
		for line := range strings.SplitSeq(p, "\n") {
			b.WriteString(roff(line) + "\n")
		}
	}
	return b.String()
}

// roffLines writes lines as they are.
func roffLines(text string) string {
	var b strings.Builder
	b.WriteString(".PP\n.nf\n")
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		b.WriteString(roff(line) + "\n")
	}
	return b.String() + ".fi\n"
}

// roff writes one line of text, none of whose characters is a command of roff.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`, "`", `\(ga`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return s
}
