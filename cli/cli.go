// Package cli is the program pcapsule, with one file per command: cmd_<verb>.go.
//
// Commands follow the conventions of git, jq and kubectl: examples in --help, - for standard
// streams, --json for machines, colour and progress only on a terminal. An error ends with one line
// that names the problem and its place, a hint if there is a next step, and the exit code of its
// kind (exit.go). A command that fails leaves no output file.
package cli

import (
	"cmp"
	"errors"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/cache"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/doctor"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/kubectl"
	"github.com/pcapsule/pcapsule/cli/record"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/cli/serve"
	"github.com/pcapsule/pcapsule/cli/stores"
	"github.com/pcapsule/pcapsule/cli/verify"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/version"
)

// env is a command's access to the outside world.
type env struct {
	console.Streams
	running    bool          // the command line was valid
	prompt     bool          // a line of the shell
	mask       string        // from --mask: a policy, maskDefault, or empty
	indicators []string      // of --indicators
	geoip      []string      // of --geoip
	known      *redact.Known // the secret values of a masked case
	captures   bundleFlags   // from captureFlags
	held       []*bundle.Held

	accessPath string         // of --access-log, or of the environment
	access     *accesslog.Log // nil: none is kept
}

// Main runs the program and returns its exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	// A closed pipe then fails the write, so the command ends normally and removes its
	// unfinished output.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := exit.OnSignal()
	defer stop()
	printed := &console.Sink{W: out}
	e := &env{Streams: console.Streams{In: console.NewInput(ctx, in), Out: printed, Err: &console.Sink{W: errOut}}}
	root := e.root()
	args = kubectl.AsPlugin(root, args)
	root.SetArgs(args)
	root.SetIn(e.In)
	root.SetOut(printed)
	root.SetErr(e.Err)
	used, err := root.ExecuteContextC(ctx)
	if err != nil && !e.running {
		err = misused(root, args, err)
	}
	if end := printed.End(); err == nil {
		err = end
	}
	e.EndPager()
	if err == nil {
		err = printed.Err
	}
	if err == nil || exit.IsClosedPipe(err) {
		return exit.Done
	}
	code := exitCode(ctx, err)
	e.report(err, code, used.CommandPath())
	return code
}

// misused returns the error of an invalid command line. For an unknown command the hint
// suggests the nearest one.
func misused(root *cobra.Command, args []string, err error) error {
	var coded *exit.Error
	if errors.As(err, &coded) {
		return err
	}
	if _, rest, unknown := root.Find(args); unknown != nil {
		for _, name := range rest {
			questions, _, _ := root.Find([]string{"ask"})
			if hint := cmp.Or(command.Likely(root, name), command.Likely(questions, name)); hint != "" {
				return exit.With(err, exit.Usage, hint)
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
	c.DisableSuggestions = true // they become the hint
	c.SetFlagErrorFunc(command.FlagError)
	c.CompletionOptions.DisableDefaultCmd = true
	help := command.Help("pcapsule help query")
	e.runs(help)
	command.SetHelp(c, e.PageWidth)
	c.SetHelpCommand(help)
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if e.Colour != "auto" && e.Colour != "always" && e.Colour != "never" {
			return command.OneOf("--color", e.Colour, []string{"auto", "always", "never"})
		}
		return nil
	}
	c.PersistentFlags().StringVar(&e.Colour, "color", "auto", "colour: auto, always or never")
	c.PersistentFlags().StringVar(&e.accessPath, "access-log", "", "file to which JSON lines are appended: each command, its bundles, and each question to mcp and serve")
	completes(c, "color", "auto", "always", "never")
	for _, g := range groups {
		c.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
	}
	c.SetHelpCommandGroupID(other)
	for _, sub := range e.commands() {
		sub.GroupID = groupOf(sub.Name())
		command.CheckAllArgs(sub)
		e.runs(sub)
		c.AddCommand(sub)
	}
	return c
}

// runs makes c and its subcommands record that their command line was valid.
func (e *env) runs(c *cobra.Command) {
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		e.running = true
		return e.logged(c, args, func() error {
			e.page(c)
			return run(c, args)
		})
	}
	for _, sub := range c.Commands() {
		if sub.RunE != nil {
			e.runs(sub)
		}
	}
}

// page sends the output of a command through a pager if it is text for people that may be
// longer than a screen.
func (e *env) page(c *cobra.Command) {
	paged := []string{"ask", "check", "info", "report", "collection", "query", "sql", "show", "schema", "kfl", "help", "follow", "objects"}
	for c.HasParent() && c.Parent().HasParent() {
		c = c.Parent()
	}
	if slices.Contains(paged, c.Name()) {
		e.StartPager()
	}
}

// groups are the commands as help lists them, by what a user wants to do.
var groups = []struct{ title, names string }{
	{"Bundles and captures", "bundle decrypt packets wireshark cut merge redact"},
	{"Questions", "info ask check query show follow sql shell tail objects report collection"},
	{"Recording", "record snapshot fetch kubectl ring doctor extcap"},
	{"Evidence", "verify seal timestamp reveal custody handover receive"},
	{"Servers and stores", "open serve mcp store lake"},
	{"Reference", "kfl schema protocols findings"},
	{other, "completion man version"},
}

const other = "Other commands"

func groupOf(name string) string {
	for _, g := range groups {
		if slices.Contains(strings.Fields(g.names), name) {
			return g.title
		}
	}
	return ""
}

// commands lists the commands; a new command is one file, one line here, and its name in groups.
func (e *env) commands() []*cobra.Command {
	return []*cobra.Command{
		record.Command(&e.Streams),
		doctor.Command(command.Pcapsule, record.LayoutsFolder, questionChecks),
		e.cmdBundle(),
		e.cmdInfo(),
		e.cmdAsk(),
		e.cmdCheck(),
		e.cmdQuery(),
		e.cmdTail(),
		e.cmdSQL(),
		e.cmdShell(),
		e.cmdKFL(),
		e.cmdShow(),
		e.cmdFollow(),
		e.cmdPackets(),
		e.cmdWireshark(),
		e.cmdObjects(),
		e.cmdDecrypt(),
		e.cmdReport(),
		e.cmdCollection(),
		verify.Command(&e.Streams, rederive, cache.MarkVerified),
		custody.Seal(&e.Streams),
		custody.Timestamp(&e.Streams),
		e.cmdRedact(),
		custody.Reveal(&e.Streams),
		e.cmdCut(),
		e.cmdMerge(),
		custody.Log(&e.Streams),
		custody.Handover(&e.Streams),
		custody.Receive(&e.Streams),
		stores.Command(&e.Streams),
		e.cmdLake(),
		ringcmd.Command(command.Pcapsule, version.Release),
		e.cmdSnapshot(),
		e.cmdFetch(),
		kubectl.Command(&e.Streams),
		record.Extcap(&e.Streams),
		e.cmdProtocols(),
		e.cmdFindings(),
		e.cmdSchema(),
		serve.MCP(e.serving()),
		serve.HTTP(e.serving()),
		serve.Page(e.serving(), e.bundles, e.captureFlags),
		command.Completion(command.Pcapsule, "commands, flags and their values, bundles in the current folder, KFL, calls and table names"),
		command.Man(command.Pcapsule),
		command.Version(command.Pcapsule, bundle.SchemaVersion),
	}
}
