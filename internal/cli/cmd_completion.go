package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (e *env) cmdCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes commands, flags and bundles in your shell",
		Long: `Print a script that completes commands, flags, bundles in the current folder and tables of
schema. The shell is bash, zsh, fish or powershell. bash needs its package bash-completion.`,
		Example: `  source <(pcapsule completion bash)
  pcapsule completion bash > /etc/bash_completion.d/pcapsule
  pcapsule completion zsh > "${fpath[1]}/_pcapsule"
  pcapsule completion fish > ~/.config/fish/completions/pcapsule.fish`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.out, true)
			case "zsh":
				return root.GenZshCompletion(e.out)
			case "fish":
				return root.GenFishCompletion(e.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(e.out)
			}
			return usagef("shell %q: want %s", args[0], strings.Join(shells, ", "))
		},
	}
}

// cmdHelp is cobra's, but a command that is not there is a usage error.
func (e *env) cmdHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Say how a command is used",
		Example: "  pcapsule help query",
		RunE: func(c *cobra.Command, args []string) error {
			e.running = true
			about, rest, err := c.Root().Find(args)
			if err != nil {
				return usageError{err}
			}
			if len(rest) > 0 {
				return usagef("help of %q: want the name of one command", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
