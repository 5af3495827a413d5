// Package cli is the program pcapsule: one file a command, cmd_<verb>.go.
//
// Commands follow what people know from git, jq and kubectl: examples in --help, - for
// standard streams, --json for machines, colour and progress only on a terminal. Every
// error ends in one line that says what and where, a hint where there is a next step,
// and an exit code of its own kind (exit.go). A command that fails leaves no output file.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Release is the version of this program; the build sets it.
var Release = "0.1.0-dev"

// env is what a command may touch of the world.
type env struct {
	in       io.Reader
	out, err io.Writer
	colour   string // auto, always or never
	running  bool   // the command line was understood
}

// Main runs the program and returns its exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	// The collector would let the heap grow to twice what lives; captures pass through
	// in bounded rounds, so little of it is worth keeping.
	debug.SetGCPercent(50)
	// A closed pipe is then an error of the write, so that a command ends as it would
	// anyhow and removes what it was making.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	printed := &sink{w: out}
	e := &env{in: newSource(ctx, in), out: printed, err: errOut}
	root := e.root()
	root.SetArgs(args)
	root.SetIn(e.in)
	root.SetOut(printed)
	root.SetErr(errOut)
	used, err := root.ExecuteContextC(ctx)
	if err != nil && !e.running {
		err = misused(root, args, err)
	}
	if err == nil {
		err = printed.err
	}
	if err == nil || closedPipe(err) {
		return exitDone
	}
	code := exitCode(ctx, err)
	e.report(err, code, used.CommandPath())
	return code
}

// misused is an error of the command line, with the nearest command where there is none
// of that name.
func misused(root *cobra.Command, args []string, err error) error {
	if _, rest, unknown := root.Find(args); unknown != nil {
		for _, name := range rest {
			if near := root.SuggestionsFor(name); len(near) > 0 {
				return codedError{err, exitUsage, "did you mean pcapsule " + strings.Join(near, " or pcapsule ") + "?"}
			}
		}
	}
	return usageError{err}
}

func (e *env) root() *cobra.Command {
	c := &cobra.Command{
		Use:           "pcapsule",
		Short:         "Turn packet captures into evidence bundles that answer questions",
		Long:          "pcapsule turns any pcap or pcapng file into a portable evidence bundle: the packets,\ntables of every call in them, and hashes of both. It answers questions about bundles\nwithout a cluster, a server or a network, and every answer cites its packets.\n\n" + exitCodes,
		Version:       Release,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.DisableSuggestions, c.SuggestionsMinimumDistance = true, 2 // they become the hint
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetHelpCommand(e.cmdHelp())
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if e.colour != "auto" && e.colour != "always" && e.colour != "never" {
			return usagef("--color %q: want auto, always or never", e.colour)
		}
		return nil
	}
	c.PersistentFlags().StringVar(&e.colour, "color", "auto", "colour: auto, always or never")
	for _, sub := range e.commands() {
		sub.Args = wanted(sub.Args)
		run := sub.RunE
		sub.RunE = func(c *cobra.Command, args []string) error {
			e.running = true
			return run(c, args)
		}
		c.AddCommand(sub)
	}
	return c
}

// commands lists the commands; a new one is one file and one line here.
func (e *env) commands() []*cobra.Command {
	return []*cobra.Command{
		e.cmdRecord(),
		e.cmdDoctor(),
		e.cmdBundle(),
		e.cmdInfo(),
		e.cmdAsk(),
		e.cmdCheck(),
		e.cmdQuery(),
		e.cmdSQL(),
		e.cmdKFL(),
		e.cmdShow(),
		e.cmdFollow(),
		e.cmdPackets(),
		e.cmdDecrypt(),
		e.cmdReport(),
		e.cmdVerify(),
		e.cmdRing(),
		e.cmdSnapshot(),
		e.cmdExtcap(),
		e.cmdSchema(),
		e.cmdMCP(),
		e.cmdServe(),
		e.cmdCompletion(),
	}
}

// wanted says of a wrong number of arguments what the command wants.
func wanted(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check != nil && check(c, args) != nil {
			return usagef("%d arguments, want: %s", len(args), strings.TrimSuffix(c.CommandPath(), c.Name())+c.Use)
		}
		return nil
	}
}

// warn prints a warning.
func (e *env) warn(format string, args ...any) {
	fmt.Fprintf(e.err, "warning: %s\n", lines(fmt.Sprintf(format, args...)))
}

// note tells something that is no warning, on a terminal only.
func (e *env) note(format string, args ...any) {
	if terminal(e.err) {
		fmt.Fprintf(e.err, format+"\n", args...)
	}
}

// coloured reports whether output to w may have colours.
func (e *env) coloured(w any) bool {
	switch e.colour {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(w)
}
