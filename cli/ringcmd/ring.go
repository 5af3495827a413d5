// Package ringcmd is the command ring of pcapsule and pcapsule-recorder: list, verify,
// countersign and read the folder that a recorder writes into. It never writes into that folder.
package ringcmd

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// program is the name and release of the program that contains the command.
type program struct{ name, release string }

// example names the program in examples.
func (p program) example(text string) string { return strings.ReplaceAll(text, "PROGRAM", p.name) }

// Command is ring for a program.
func Command(name, release string) *cobra.Command {
	p := program{name, release}
	c := &cobra.Command{
		Use:   "ring",
		Short: "Examine a recorder's ring: list, verify, countersign, read packets",
		Long: `A ring is the folder that a recorder writes into: segments, which are PCAPNG files, and
seals.jsonl, a signed chain of records that states what each segment must contain. These commands
also work while the recorder writes.`,
		Example: p.example(`  PROGRAM ring ls /var/lib/pcapsule/ring
  PROGRAM ring verify /var/lib/pcapsule/ring --key node.pub
  PROGRAM ring anchor /var/lib/pcapsule/ring --key witness.key -o monday.anchor
  PROGRAM ring cat /var/lib/pcapsule/ring --last 10m | tcpdump -nn -r -`),
	}
	for _, sub := range []*cobra.Command{p.ls(), p.verify(), p.anchor(), p.cat()} {
		sub.Args = command.CheckArgs(sub.Args)
		run := sub.RunE
		sub.RunE = func(c *cobra.Command, args []string) error { return Error(run(c, args)) }
		c.AddCommand(sub)
	}
	command.Group(c)
	return c
}

// Error adds the exit code to the error of a ring.
func Error(err error) error {
	var coded *exit.Error
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(err, ring.ErrNewer):
		return exit.With(err, exit.Newer, "use a newer release to read this ring")
	case errors.Is(err, ring.ErrNotRing):
		return exit.With(err, exit.NotCapture, "a ring is the folder that a recorder writes into; it has a file seals.jsonl")
	}
	return err
}
