package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/clients"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// entryFlags select the entries that install and uninstall change.
type entryFlags struct {
	clients []string
	name    string
	dry     bool
}

func (f *entryFlags) flags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&f.clients, "client", nil, "assistant, as pcapsule mcp clients lists it; can be repeated (default: all that are found)")
	fl.StringVar(&f.name, "name", "pcapsule", "name of the server in the configurations")
	fl.BoolVar(&f.dry, "dry-run", false, "print what would change and change nothing")
}

// serverName matches a name that needs no quotes in any configuration.
var serverName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)

// chosen returns the assistants to change.
func (f *entryFlags) chosen() ([]clients.Client, error) {
	if !serverName.MatchString(f.name) {
		return nil, exit.Usagef("--name %q: must be 1 to 60 letters, digits, - and _", f.name)
	}
	all, err := clients.Known()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	for _, name := range f.clients {
		if !slices.Contains(names, name) {
			return nil, command.OneOf("--client", name, names)
		}
	}
	all = slices.DeleteFunc(all, func(c clients.Client) bool {
		if len(f.clients) > 0 {
			return !slices.Contains(f.clients, c.Name)
		}
		return !c.Found()
	})
	if len(all) == 0 {
		return nil, exit.With(errors.New("no assistant was found on this machine"), exit.Other, "name one with --client; pcapsule mcp clients lists them")
	}
	return all, nil
}

// change plans all changes before it writes the first one.
func (f *entryFlags) change(out *console.Streams, plan func(c *clients.Client) (*clients.Change, error)) error {
	list, err := f.chosen()
	if err != nil {
		return err
	}
	var changes []*clients.Change
	for i := range list {
		x, err := plan(&list[i])
		if errors.Is(err, clients.ErrOther) {
			return exit.With(err, exit.Exists, "choose another name with --name; nothing was changed")
		}
		if err != nil {
			return exit.With(err, exit.Other, "edit this file yourself and name the others with --client; nothing was changed")
		}
		changes = append(changes, x)
	}
	for _, x := range changes {
		switch {
		case x.Nothing():
			fmt.Fprintf(out.Out, "%s: nothing to change\n", x.Title)
		case f.dry:
			fmt.Fprintf(out.Out, "%s: would change %s", x.Title, x.Diff())
		default:
			backup, err := x.Write()
			if err != nil {
				return exit.With(err, exit.Disk, "run the command again; it does not repeat what is done")
			}
			fmt.Fprintf(out.Out, "%s: changed %s", x.Title, x.Diff())
			if backup != "" {
				fmt.Fprintf(out.Out, "the older file is %s\n", backup)
			}
		}
	}
	return nil
}

// install returns the command that writes this program into configurations.
func install(with Options) *cobra.Command {
	var f entryFlags
	c := &cobra.Command{
		Use:   "install [BUNDLE...] [-- FLAGS-OF-MCP]",
		Short: "Add pcapsule to the configurations of the assistants on this machine",
		Long: `Add an entry that starts pcapsule mcp to the configurations of the assistants on this machine.
Flags of pcapsule mcp come after --. No other entry changes, comments stay, and the older file is kept
beside the new one. If any configuration cannot be changed safely, none is.`,
		Example: `  pcapsule mcp install incident.pcapsule --dry-run
  pcapsule mcp install incident.pcapsule --client cursor --client codex
  pcapsule mcp install --name ring -- --ring /var/lib/pcapsule --tools core`,
		ValidArgsFunction: command.CompleteBundles,
		RunE: func(c *cobra.Command, args []string) error {
			program, err := os.Executable()
			if err != nil {
				return err
			}
			args, err = arguments(with, args, c.ArgsLenAtDash())
			if err != nil {
				return err
			}
			return f.change(with.Streams, func(c *clients.Client) (*clients.Change, error) { return c.Install(f.name, program, args) })
		},
	}
	f.flags(c)
	return c
}

// arguments checks the arguments of the server that an assistant will start, and makes their paths absolute: the
// assistant starts it in a folder of its own choice.
func arguments(with Options, args []string, dash int) ([]string, error) {
	if dash < 0 {
		dash = len(args)
	}
	started, bundles := append([]string{"mcp"}, args[dash:]...), args[:dash]
	var a answerFlags
	served := stdio(with, &a)
	served.Flags().String("access-log", "", "")
	if err := served.ParseFlags(args[dash:]); err != nil {
		return nil, command.FlagError(served, err)
	}
	if rest := served.Flags().Args(); len(rest) > 0 {
		return nil, exit.Usagef("%s: put bundles before --", rest[0])
	}
	if err := a.named(bundles); err != nil {
		return nil, err
	}
	var relative error
	served.Flags().Visit(func(fl *pflag.Flag) {
		values := []string{fl.Value.String()}
		if fl.Name == "allow" {
			values = a.allow
		}
		if slices.Contains([]string{"ring", "snapshots", "live-copies", "export-dir", "allow", "redact", "access-log"}, fl.Name) {
			for _, v := range values {
				if !filepath.IsAbs(v) {
					relative = exit.Usagef("--%s %s: must be an absolute path, because an assistant starts the server in another folder", fl.Name, v)
				}
			}
		}
	})
	if relative != nil {
		return nil, relative
	}
	for _, b := range bundles {
		if !strings.Contains(b, "://") {
			if _, err := os.Stat(b); err != nil {
				return nil, exit.With(err, exit.NotBundle, "give the path of a bundle")
			}
			path, err := filepath.Abs(b)
			if err != nil {
				return nil, err
			}
			b = path
		}
		started = append(started, b)
	}
	return started, nil
}

// uninstall returns the command that removes this program from configurations.
func uninstall(with Options) *cobra.Command {
	var f entryFlags
	c := &cobra.Command{
		Use:     "uninstall",
		Short:   "Remove what pcapsule mcp install added",
		Example: "  pcapsule mcp uninstall --dry-run\n  pcapsule mcp uninstall --client cursor --name ring",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return f.change(with.Streams, func(c *clients.Client) (*clients.Change, error) { return c.Uninstall(f.name) })
		},
	}
	f.flags(c)
	return c
}

// state is an assistant in a list.
type state struct {
	Client    string `json:"client"`
	Title     string `json:"title"`
	Found     bool   `json:"found"`
	Installed bool   `json:"installed"`
	File      string `json:"file"`
	Error     string `json:"error,omitempty"`
}

// list returns the command that lists assistants.
func list(with Options) *cobra.Command {
	var asJSON bool
	name := "pcapsule"
	c := &cobra.Command{
		Use:     "clients",
		Short:   "List the assistants that pcapsule mcp install knows",
		Example: "  pcapsule mcp clients\n  pcapsule mcp clients --name ring --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := clients.Known()
			if err != nil {
				return err
			}
			var states []state
			for _, c := range all {
				s := state{Client: c.Name, Title: c.Title, Found: c.Found(), File: c.File}
				if s.Installed, err = c.Installed(name); err != nil {
					s.Error = err.Error()
				}
				states = append(states, s)
			}
			if asJSON {
				return json.NewEncoder(with.Out).Encode(states)
			}
			for _, s := range states {
				word := "not found"
				switch {
				case s.Error != "":
					word = "unreadable"
				case s.Installed:
					word = "installed"
				case s.Found:
					word = "found"
				}
				fmt.Fprintf(with.Out, "%-16s %-10s %s\n", s.Client, word, s.File)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&name, "name", name, "name of the server in the configurations")
	return c
}
