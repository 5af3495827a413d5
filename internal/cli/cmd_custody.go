package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/cli/command"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
)

func (e *env) cmdCustody() *cobra.Command {
	c := &cobra.Command{
		Use:   "custody",
		Short: "Show the custody log of a bundle, or add an entry",
		Long: `The custody log records who did what with a bundle. Every entry has the hash of the entry before
it, so a changed, removed or moved entry is found. No other command changes the log of a bundle.`,
		Example: `  pcapsule custody show incident.pcapsule
  pcapsule custody add incident.pcapsule --event copied --note "to the evidence share"`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.Usagef("no command %q of custody: want show or add", args[0])
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	for _, sub := range []*cobra.Command{e.cmdCustodyShow(), e.cmdCustodyAdd()} {
		sub.Args = command.Wanted(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

func (e *env) cmdCustodyShow() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show BUNDLE",
		Short: "Show the custody log and the hash of its last entry",
		Long: `Show the custody log and the hash of its last entry (custody_head). Keep that hash elsewhere: it
shows whether entries were cut off at the end of the log.`,
		Example: "  pcapsule custody show incident.pcapsule --json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return e.runCustodyShow(args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (e *env) runCustodyShow(path string, asJSON bool) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	entries, head, err := b.Custody()
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Entries []bundle.Entry `json:"entries"`
			Head    bundle.Digest  `json:"custody_head"`
		}{entries, head})
	}
	for _, entry := range entries {
		fmt.Fprintln(e.out, console.Line(custodyLine(entry)))
	}
	fmt.Fprintf(e.out, "custody_head %s\n", head)
	return nil
}

// custodyLine is one entry for people: number, time, event, then what is known of it.
func custodyLine(entry bundle.Entry) string {
	line := fmt.Sprintf("%d  %s  %s", entry.Seq, entry.Time, entry.Event)
	for _, part := range []struct{ label, text string }{{" by ", entry.User}, {" on ", entry.Host}, {" with ", entry.Tool}, {": ", entry.Note}} {
		if part.text != "" {
			line += part.label + part.text
		}
	}
	return line
}

func (e *env) cmdCustodyAdd() *cobra.Command {
	var entry bundle.Entry
	c := &cobra.Command{
		Use:   "add BUNDLE --event EVENT",
		Short: "Add an entry to the custody log",
		Long: `Add an entry to the custody log: what was done with the bundle (one lower-case word, such as
copied, reviewed or received), by whom, on which machine, and a note. The clock of this machine
gives the time. Entries are never changed or removed.`,
		Example: `  pcapsule custody add incident.pcapsule --event received --user "A. Auditor" --note "case 4711"`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return e.runCustodyAdd(args[0], entry) },
	}
	c.Flags().StringVar(&entry.Event, "event", "", "what was done: one lower-case word")
	c.Flags().StringVar(&entry.User, "user", "", "the person (default: the name of the account)")
	c.Flags().StringVar(&entry.Host, "host", "", "the machine (default: its host name)")
	c.Flags().StringVar(&entry.Note, "note", "", "a note")
	return c
}

func (e *env) runCustodyAdd(path string, entry bundle.Entry) error {
	if entry.Event == "" {
		return exit.Usagef("--event is missing: say what was done, such as --event copied")
	}
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	if _, _, err := b.AppendCustody(custodyEntry(entry)); err != nil {
		var invalid *bundle.EntryError
		switch {
		case errors.As(err, &invalid):
			return exit.With(err, exit.Usage, "")
		case errors.Is(err, fs.ErrPermission):
			return exit.With(err, exit.Disk, "the log cannot be written; add the entry where the bundle can be changed")
		}
		return err
	}
	return e.runCustodyShow(path, false)
}

// custodyEntry fills in who acts, where, and with which program.
func custodyEntry(entry bundle.Entry) bundle.Entry {
	if entry.User == "" {
		if account, err := user.Current(); err == nil {
			entry.User = account.Username
		}
	}
	if entry.Host == "" {
		entry.Host, _ = os.Hostname()
	}
	entry.Tool = strings.TrimSpace("pcapsule " + version.Release)
	return entry
}
