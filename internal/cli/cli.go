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
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Release is the version of this program; the build sets it.
var Release = "0.1.0-dev"

// env is what a command may touch of the world.
type env struct {
	in       io.Reader
	out, err io.Writer
	strict   bool // warnings are errors
	warned   bool
	colour   string // auto, always or never
}

// Main runs the program and returns its exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	// The collector would let the heap grow to twice what lives; captures pass through
	// in bounded rounds, so little of it is worth keeping.
	debug.SetGCPercent(50)
	e := &env{in: in, out: out, err: errOut}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := e.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil && e.warned && e.strict {
		return exitDamaged
	}
	if err == nil {
		return exitDone
	}
	code := exitCode(ctx, err)
	e.report(ctx, err, code)
	return code
}

func (e *env) root() *cobra.Command {
	c := &cobra.Command{
		Use:           "pcapsule",
		Short:         "Turn packet captures into evidence bundles that answer questions",
		Long:          "pcapsule turns any pcap or pcapng file into a portable evidence bundle: the packets,\ntables of every call in them, and hashes of both. It answers questions about bundles\nwithout a cluster, a server or a network, and every answer cites its packets.",
		Version:       Release,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.PersistentFlags().StringVar(&e.colour, "color", "auto", "colour: auto, always or never")
	for _, sub := range e.commands() {
		sub.Args = usageArgs(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

// commands lists the commands; a new one is one file and one line here.
func (e *env) commands() []*cobra.Command {
	return []*cobra.Command{
		e.cmdBundle(),
		e.cmdInfo(),
		e.cmdQuery(),
		e.cmdSQL(),
		e.cmdShow(),
		e.cmdFollow(),
		e.cmdPackets(),
		e.cmdReport(),
		e.cmdVerify(),
		e.cmdSchema(),
		e.cmdMCP(),
	}
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// warn prints a warning; with --strict it makes the command fail in the end.
func (e *env) warn(format string, args ...any) {
	e.warned = true
	fmt.Fprintf(e.err, "warning: "+format+"\n", args...)
}

// note tells something that is no warning, on a terminal only.
func (e *env) note(format string, args ...any) {
	if terminal(e.err) {
		fmt.Fprintf(e.err, format+"\n", args...)
	}
}

// terminal reports whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
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
