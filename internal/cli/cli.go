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
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/cli/command"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/doctor"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/cli/ringcmd"
	"github.com/pcapsule/pcapsule/internal/version"
)

// env is what a command may touch of the world.
type env struct {
	in       io.Reader
	out, err io.Writer
	colour   string        // auto, always or never
	running  bool          // the command line was understood
	mask     string        // of --mask: a policy, maskDefault, or empty
	known    *redact.Known // what is secret in a case that is masked
	captures bundleFlags   // of captureFlags
	wide     bool          // of wideFlag
	hidden   []string      // columns that only colour a table's rows
	held     []*bundle.Held
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
	printed := &console.Sink{W: out}
	e := &env{in: newSource(ctx, in), out: printed, err: &console.Sink{W: errOut}}
	root := e.root()
	root.SetArgs(args)
	root.SetIn(e.in)
	root.SetOut(printed)
	root.SetErr(e.err)
	used, err := root.ExecuteContextC(ctx)
	if end := printed.End(); err == nil {
		err = end
	}
	e.endPage()
	if err != nil && !e.running {
		err = misused(root, args, err)
	}
	if err == nil {
		err = printed.Err
	}
	if err == nil || closedPipe(err) {
		return exit.Done
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
				return exit.With(err, exit.Usage, "did you mean pcapsule "+strings.Join(near, " or pcapsule ")+"?")
			}
		}
	}
	return exit.With(err, exit.Usage, "")
}

func (e *env) root() *cobra.Command {
	c := &cobra.Command{
		Use:           "pcapsule",
		Short:         "Turn packet captures into evidence bundles that answer questions",
		Long:          "pcapsule turns any pcap or pcapng file into a portable evidence bundle: the packets,\ntables of every call in them, and hashes of both. It answers questions about bundles\nwithout a cluster, a server or a network, and every answer cites its packets.\n\n" + exitCodes,
		Version:       version.Of("pcapsule").Short(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.DisableSuggestions, c.SuggestionsMinimumDistance = true, 2 // they become the hint
	c.CompletionOptions.DisableDefaultCmd = true
	help := command.Help("pcapsule help query")
	e.runs(help)
	command.SetHelp(c, e.pageWidth)
	c.SetHelpCommand(help)
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if e.colour != "auto" && e.colour != "always" && e.colour != "never" {
			return exit.Usagef("--color %q: want auto, always or never", e.colour)
		}
		return nil
	}
	c.PersistentFlags().StringVar(&e.colour, "color", "auto", "colour: auto, always or never")
	completes(c, "color", "auto", "always", "never")
	for _, sub := range e.commands() {
		sub.Args = command.Wanted(sub.Args)
		e.runs(sub)
		c.AddCommand(sub)
	}
	return c
}

// runs notes of a command, and of those below it, when its command line was understood.
func (e *env) runs(c *cobra.Command) {
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		e.running = true
		e.page(c)
		return run(c, args)
	}
	for _, sub := range c.Commands() {
		if sub.RunE != nil {
			e.runs(sub)
		}
	}
}

// page sends what a command prints through a pager if that is a text for people which may be
// longer than a screen.
func (e *env) page(c *cobra.Command) {
	paged := []string{"ask", "info", "query", "sql", "show", "schema", "kfl", "help", "follow"}
	for c.HasParent() && c.Parent().HasParent() {
		c = c.Parent()
	}
	sink, ok := e.out.(*console.Sink)
	if !ok || !slices.Contains(paged, c.Name()) {
		return
	}
	if p := console.PagerOf(sink); p != nil {
		sink.W = p
	}
}

// endPage waits until the reader of the pager has seen enough, so that what is said about
// the output stands behind it.
func (e *env) endPage() {
	sink, ok := e.out.(*console.Sink)
	if !ok {
		return
	}
	if p, ok := sink.W.(*console.Pager); ok {
		sink.W = console.File(p)
		_ = p.Close() // what it was given has an error of its own
	}
}

// commands lists the commands; a new one is one file and one line here.
func (e *env) commands() []*cobra.Command {
	return []*cobra.Command{
		e.cmdRecord(),
		doctor.Command(command.Pcapsule, layoutsFolder, questionChecks),
		e.cmdBundle(),
		e.cmdInfo(),
		e.cmdAsk(),
		e.cmdCheck(),
		e.cmdQuery(),
		e.cmdSQL(),
		e.cmdShell(),
		e.cmdKFL(),
		e.cmdShow(),
		e.cmdFollow(),
		e.cmdPackets(),
		e.cmdDecrypt(),
		e.cmdReport(),
		e.cmdVerify(),
		e.cmdSeal(),
		e.cmdTimestamp(),
		e.cmdRedact(),
		e.cmdCut(),
		e.cmdMerge(),
		e.cmdCustody(),
		ringcmd.Command(command.Pcapsule, version.Release),
		e.cmdSnapshot(),
		e.cmdExtcap(),
		e.cmdSchema(),
		e.cmdMCP(),
		e.cmdServe(),
		command.Completion(command.Pcapsule, "commands, flags and their values, bundles in the current folder, KFL, calls and table names"),
		command.Version(command.Pcapsule, bundle.SchemaVersion),
	}
}

// wanted says of a wrong number of arguments what the command wants.
func wanted(check cobra.PositionalArgs) cobra.PositionalArgs { return command.Wanted(check) }

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
		return passStyles(w)
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && draws(w) && passStyles(w)
}

// passStyles lets styles pass to w.
func passStyles(w any) bool {
	if s, ok := w.(*console.Sink); ok {
		s.Styled = true
	}
	return true
}

// exact is standard output for what programs read to the byte.
func (e *env) exact() io.Writer { return console.Exact(e.out) }
