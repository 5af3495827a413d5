package cli

import "github.com/spf13/cobra"

// Root returns the command that has all others.
func Root() *cobra.Command { return (&env{}).root() }
