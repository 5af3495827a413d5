// Package command contains the common parts of pcapsule and pcapsule-recorder: help, version,
// completion, the check of arguments, and the error for a first word that is neither a command nor
// a filter.
package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// CheckArgs wraps a check of the number of arguments, so that its error names the missing
// arguments or the full usage. It also refuses an empty value of a flag that can be repeated, such as a variable of the
// shell that is not set.
func CheckArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := emptyValue(c.Flags()); err != nil {
			return err
		}
		if check == nil || check(c, args) == nil {
			return nil
		}
		required := arguments(c.Use)
		if len(args) >= len(required) {
			return exit.Usagef("too many arguments: the usage is %s", strings.TrimSuffix(c.CommandPath(), c.Name())+c.Use)
		}
		missing := slices.Clone(required[len(args):])
		for i, w := range missing {
			missing[i] = strings.ReplaceAll(strings.TrimSuffix(w, "..."), "|", " or ")
		}
		word := "argument"
		if len(missing) > 1 {
			word = "arguments"
		}
		return exit.Usagef("missing %s: %s", word, strings.Join(missing, ", "))
	}
}

func emptyValue(fl *pflag.FlagSet) (err error) {
	fl.Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok && f.Value.Type() == "stringArray" && slices.Contains(list.GetSlice(), "") {
			err = exit.Usagef("--%s %q: must not be empty", f.Name, "")
		}
	})
	return err
}

// Group makes c, which does nothing but hold subcommands, print its help, and name the
// subcommands if an unknown one is given.
func Group(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return exit.With(fmt.Errorf("unknown command %q of %s: use one of %s", args[0], c.Name(), strings.Join(names(c), ", ")), exit.Usage, Likely(c, args[0]))
	}
}

// Likely is the hint that names the command of c that word most likely means, "" if none is near.
func Likely(c *cobra.Command, word string) string {
	if near := nearest.Name(word, names(c)); near != "" {
		return "did you mean " + c.CommandPath() + " " + near + "?"
	}
	return ""
}

// CheckAllArgs makes c and all its subcommands name the missing argument, and those that only hold
// others a Group.
func CheckAllArgs(c *cobra.Command) {
	if c.HasSubCommands() && !c.Runnable() {
		Group(c)
	}
	c.Args = CheckArgs(c.Args)
	for _, sub := range c.Commands() {
		CheckAllArgs(sub)
	}
}

// arguments lists the required arguments in a line of usage. Parentheses contain flags.
func arguments(use string) (list []string) {
	depth := 0
	words := strings.Fields(use)
	for i, w := range words {
		optional := depth > 0 || strings.HasPrefix(w, "[") || strings.HasPrefix(w, "(")
		depth += strings.Count(w, "[") - strings.Count(w, "]") + strings.Count(w, "(") - strings.Count(w, ")")
		if i > 0 && !optional && !strings.HasPrefix(w, "-") && !strings.HasPrefix(words[i-1], "-") {
			list = append(list, w)
		}
	}
	return list
}

// habits are flags of other programs, such as kubectl and tshark, with those that do the same here. A hint names the first
// that a command has.
var habits = map[string][]string{
	"o": {"extract", "format json", "json"}, "T": {"format json", "json"}, "output": {"format json", "json"}, "json": {"format json"}, "format": {"json"},
	"n": {"limit"}, "listen": {"addr"}, "port": {"addr"}, "since": {"from"}, "start": {"from"}, "until": {"to"}, "end": {"to"},
}

// FlagError is a usage error whose hint names the flag that was most likely meant.
func FlagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return exit.With(err, exit.Usage, "")
	}
	name := unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		name, err = short[:1], errors.New("unknown flag: -"+short[:1])
		if short[0] < 'A' { // a number, as in -1
			return exit.With(err, exit.Usage, "put -- before arguments that begin with -")
		}
	}
	for _, habit := range habits[name] {
		if own, _, _ := strings.Cut(habit, " "); c.Flags().Lookup(own) != nil {
			return exit.With(err, exit.Usage, "did you mean --"+habit+"?")
		}
	}
	if len(name) == 1 {
		return exit.With(err, exit.Usage, "")
	}
	var flags []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f.Name)
		}
	})
	hint := ""
	if near := nearest.Name(name, flags); near != "" { // without dashes, which every flag has
		hint = "did you mean --" + near + "?"
	}
	return exit.With(err, exit.Usage, hint)
}

// Help is cobra's help command, except that an unknown command is a usage error.
func Help(example string) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Example: "  " + example,
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil {
				return exit.With(err, exit.Usage, Likely(c.Root(), args[0]))
			}
			if len(rest) > 0 {
				return exit.With(fmt.Errorf("%s has no command %q", about.CommandPath(), rest[0]), exit.Usage, Likely(about, rest[0]))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// Version prints the release of a program. schema is the newest bundle schema that it reads;
// 0 if it reads none.
func Version(program string, schema int) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the release, its commit and the platform",
		Example: "  " + program + " version\n  " + program + " version --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i := version.Of(program)
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(struct {
					version.Info
					Schema int `json:"bundle_schema,omitempty"`
				}{i, schema})
			}
			text := fmt.Sprintf("%-14s %s\ncommit         %s\nplatform       %s\ngo             %s\n", i.Program, i.Release, i.Commit, i.Platform, i.Go)
			if schema > 0 {
				text += fmt.Sprintf("bundle schema  %d\n", schema)
			}
			_, err := fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// Completion prints completion scripts. completes lists the completed values, for the help.
func Completion(program, completes string) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for your shell",
		Long: `Print a script that completes ` + completes + `.
The shell is bash, zsh, fish or powershell. bash also needs the package bash-completion.`,
		Example: strings.ReplaceAll(`  source <(PROGRAM completion bash)
  PROGRAM completion bash > /etc/bash_completion.d/PROGRAM
  PROGRAM completion zsh > "${fpath[1]}/_PROGRAM"
  PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish`, "PROGRAM", program),
		Args:      cobra.ExactArgs(1),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return OneOf("shell", args[0], shells)
		},
	}
}
