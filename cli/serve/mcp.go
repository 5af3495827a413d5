// Package serve is the commands that serve answers about bundles to assistants: mcp, over
// standard input and output, and serve, over HTTP. It sets the limits that all cases of a
// server share.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/geoip"
	"github.com/pcapsule/pcapsule/forensics/indicator"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// Options are the parts of the rest of the program that the commands use.
type Options struct {
	*console.Streams
	Questions []ask.Question
	Analyzers []finding.Analyzer

	// Lists reads files of indicators and GeoIP files; nil if there are none.
	Lists func(indicators, geoip []string) (*indicator.Set, *geoip.Set, error)
	// AccessLog returns the log that has a line for every question; nil: none is kept.
	AccessLog func() *accesslog.Log
	// Report renders the report on a case.
	Report func(ctx context.Context, c *forensics.Case) (text, mimeType string, err error)
	// Reports makes the reports of the page.
	Reports func() *mcp.Reports
	// Spans writes the calls that match a query as messages of OTLP in JSON, one per line.
	Spans func(ctx context.Context, c *forensics.Case, q forensics.Query, write func(line []byte) error) (calls int, err error)
	// HTTP writes a call of HTTP for other programs, in a format of query.
	HTTP func(x *forensics.Exchange, form string, w io.Writer) error
	// Live has the defaults of db live.
	Live Live
	// Store opens the snapshots of a ring, which are in a folder, and follows the ring as live says.
	// warn prints a warning; open also opens what db live answers from.
	Store func(ring, folder string, live Live, warn func(format string, args ...any)) (s store.Store, open forensics.Opener, end func(), err error)
	// Cluster opens the snapshots of the cluster whose hub is in a namespace.
	Cluster func(namespace string) (s store.Store, end func(), err error)
	// Copies follows the rings of a cluster, of which the hub keeps copies in a folder. open opens what db live answers from.
	Copies func(folder string, live Live, warn func(format string, args ...any)) (s store.Live, open forensics.Opener, end func(), err error)
}

// Live limits db live: calls of the time Keep, at most MaxKeep, in files of at most Bytes.
type Live struct {
	Keep, MaxKeep time.Duration
	Bytes         int64
}

// answerFlags are the flags of commands that serve answers to assistants.
type answerFlags struct {
	exportDir, redact, tools string
	ring, snapshots, copies  string
	cluster                  string // namespace of the hub
	secrets, show, packets   bool
	allow, indicators, geoip []string
	deadline, liveKeep       time.Duration
	parallel                 int
	memory, temp, keep       command.Size
	liveMost                 command.Size
}

func (a *answerFlags) flags(c *cobra.Command, live Live) {
	f := c.Flags()
	f.StringVar(&a.tools, "tools", "all", "tools to offer: names of sets and of tools, separated by commas; sets are all, core, cases, calls, network, services, incidents, performance, security, checks and ring")
	f.StringVar(&a.exportDir, "export-dir", "", "folder into which export_pcap may write; without it, that tool is disabled")
	f.StringSliceVar(&a.allow, "allow", nil, "folder from which open_case may open bundles; can be repeated")
	f.StringVar(&a.ring, "ring", "", "ring of a recorder on this machine: clients can freeze, dissect and query time ranges of it, and query its last seconds")
	f.StringVar(&a.snapshots, "snapshots", "", "with --ring: folder for snapshots, preferably on the ring's disk (default: RING.snapshots)")
	f.StringVar(&a.cluster, "cluster", "", "namespace of a cluster's hub: clients can create, fetch and query its snapshots and record pods, by kubectl with your rights")
	f.StringVar(&a.copies, "live-copies", "", "folder with the hub's copies of the rings that it follows; db live then covers all of them")
	f.DurationVar(&a.liveKeep, "live-keep", live.Keep, "how long db live keeps calls; 0: db live is off")
	a.liveMost = command.Size(live.Bytes)
	f.Var(&a.liveMost, "live-most", "temporary files for db live; older calls are removed early if they need more")
	f.StringVar(&a.redact, "redact", "", "policy file that says what to mask; without it, credentials are masked")
	f.BoolVar(&a.secrets, "secrets", false, "show secrets: mask nothing but the evidence of findings")
	f.BoolVar(&a.show, "show-secrets", false, "the same as --secrets")
	f.DurationVar(&a.deadline, "deadline", forensics.AnswerTime, "maximum time for one answer")
	f.IntVar(&a.parallel, "parallel", 2, "number of long answers computed at once, each on as many processors as its memory allows")
	a.listFlags(f)
	a.memory, a.temp, a.keep = forensics.DefaultMemory, 4<<30, 32<<20
	f.Var(&a.memory, "memory", "memory use that the program tries not to exceed")
	f.Var(&a.temp, "max-temp", "temporary files for queries that do not fit into memory; 0: such queries fail")
	f.Var(&a.keep, "keep", "memory for cached answers; 0: no cache")
	command.Between(f, "live-keep", &a.liveKeep, 0, live.MaxKeep)
	command.Between(f, "live-most", &a.liveMost, minLive, command.Largest)
	command.Between(f, "deadline", &a.deadline, time.Millisecond, time.Hour)
	command.Between(f, "parallel", &a.parallel, 1, 64)
	command.Between(f, "memory", &a.memory, minMemory, command.Largest)
	command.Between(f, "max-temp", &a.temp, 0, command.Largest)
	command.Between(f, "keep", &a.keep, 0, command.Largest)
	cobra.CheckErr(f.MarkHidden("show-secrets"))
}

// listFlags are the flags for files that answers use beside bundles.
func (a *answerFlags) listFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&a.indicators, "indicators", nil, "file of indicators of compromise that traffic is compared with: a list, CSV, STIX 2.1 or MISP JSON; can be repeated")
	f.StringArrayVar(&a.geoip, "geoip", nil, "GeoIP file (.mmdb) that names countries and network operators of outside addresses; can be repeated")
}

// server opens bundles and makes a server for them. end closes both.
func (a *answerFlags) server(ctx context.Context, with Options, paths []string) (s *mcp.Server, end func(), err error) {
	if err := cmp.Or(a.named(paths), a.check(), exit.Outside(a.exportDir, a.snapshots)); err != nil {
		return nil, nil, err
	}
	if err := command.Distinct(paths); err != nil {
		return nil, nil, err
	}
	if a.keep == 0 {
		a.keep = -1
	}
	o := mcp.Options{Keep: int(a.keep), Release: version.Release, Questions: with.Questions, Packets: a.packets, Tools: a.tools, ExportDir: a.exportDir, Allow: a.allow, Deadline: a.deadline, Parallel: a.parallel, Report: with.Report, Reports: with.Reports(), Spans: with.Spans, HTTP: with.HTTP, AccessLog: with.AccessLog()}
	if !a.secrets {
		o.Policy = redact.Default()
		if a.redact != "" {
			if o.Policy, err = redact.Load(a.redact); err != nil {
				return nil, nil, exit.With(err, exit.Syntax, "docs/guide/redaction.md describes the format of a policy")
			}
		}
	}
	indicators, places, err := with.Lists(a.indicators, a.geoip)
	if err != nil {
		return nil, nil, err
	}
	room := a.room(with.Warn)
	ends := []func(){room.close}
	var opener forensics.Opener
	o.Open = func(ctx context.Context, paths []string) (*forensics.Case, error) {
		options := room.options()
		options.MaskSecrets, options.Policy = !a.secrets, o.Policy
		if a.secrets {
			options.Policy = redact.Nothing()
		}
		options.Open, options.Indicators, options.GeoIP = opener, indicators, places
		c, err := forensics.Open(ctx, paths, options)
		if err == nil {
			finding.Bind(c, with.Analyzers)
		}
		return c, err
	}
	stop := func() {
		for _, f := range slices.Backward(ends) {
			f()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if opener, err = a.sources(with, &o, &ends); err != nil {
		return nil, nil, err
	}
	var c *forensics.Case
	if len(paths) > 0 || a.ring == "" && a.copies == "" && a.cluster == "" {
		if c, err = o.Open(ctx, paths); err != nil {
			return nil, nil, err
		}
	}
	if s, err = mcp.New(c, o); err != nil {
		if c != nil {
			c.Close()
		}
		var choice *tools.ToolsError
		if errors.As(err, &choice) {
			err = exit.Usagef("--tools: %s", choice.Text)
		}
		return nil, nil, err
	}
	ends = append(ends, func() { s.Close() })
	return s, stop, nil
}

// sources opens what the server reads besides bundles: a ring, the snapshots of a cluster, copies of rings. The opener
// is that of their parts. What must be closed is added to ends.
func (a *answerFlags) sources(with Options, o *mcp.Options, ends *[]func()) (opener forensics.Opener, err error) {
	live := Live{Keep: a.liveKeep, Bytes: int64(a.liveMost)}
	var end func()
	if a.ring != "" {
		folder := cmp.Or(a.snapshots, strings.TrimRight(filepath.Clean(a.ring), "/")+".snapshots")
		if o.Store, opener, end, err = with.Store(a.ring, folder, live, with.Warn); err != nil {
			return nil, err
		}
		*ends = append(*ends, end)
	}
	if a.cluster != "" {
		if o.Store, end, err = with.Cluster(a.cluster); err != nil {
			return nil, err
		}
		*ends = append(*ends, end)
	}
	if a.copies != "" {
		if o.Live, opener, end, err = with.Copies(a.copies, live, with.Warn); err != nil {
			return nil, err
		}
		*ends = append(*ends, end)
	}
	return opener, nil
}

// named refuses a command line that names neither a bundle nor a ring.
func (a *answerFlags) named(args []string) error {
	if len(args) == 0 && a.ring == "" && a.copies == "" && a.cluster == "" {
		return exit.Usagef("missing argument: BUNDLE, or --ring with a recorder's ring")
	}
	if a.copies != "" && (a.ring != "" || a.liveKeep == 0) {
		return exit.Usagef("--live-copies excludes --ring and --live-keep 0")
	}
	if a.cluster != "" && a.ring != "" {
		return exit.Usagef("--cluster and --ring exclude each other: give one")
	}
	if a.snapshots != "" && a.ring == "" {
		return exit.Usagef("--snapshots needs --ring")
	}
	return nil
}

func (a *answerFlags) check() error {
	a.secrets = a.secrets || a.show
	if a.exportDir != "" {
		if err := exit.Folder("--export-dir", a.exportDir); err != nil {
			return err
		}
	}
	for _, dir := range a.allow {
		if err := exit.Folder("--allow", dir); err != nil {
			return err
		}
	}
	if a.secrets && a.redact != "" {
		return exit.Usagef("--secrets and --redact exclude each other: give one")
	}
	return nil
}

// MCP returns the command mcp.
func MCP(with Options) *cobra.Command {
	c := stdio(with, &answerFlags{})
	c.AddCommand(install(with), uninstall(with), list(with))
	return c
}

// stdio returns the command mcp without its subcommands.
func stdio(with Options, a *answerFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "mcp [BUNDLE...]",
		Short: "Serve bundles to an assistant: MCP over standard input and output",
		Long: `Serve bundles to an assistant over the Model Context Protocol on standard input and output.
Every answer cites its packets and states what was recorded. Credentials are masked unless
--secrets is given; --redact sets your own policy. With --ring it also answers questions about
a recorder's ring on this machine, with --cluster about the snapshots of a cluster. pcapsule serve does the same over
HTTP.`,
		Example: `  pcapsule mcp incident.pcapsule
  pcapsule mcp install incident.pcapsule
  pcapsule mcp --ring /var/lib/pcapsule --export-dir /tmp
  pcapsule mcp --cluster pcapsule
  pcapsule mcp incident.pcapsule --tools core,security --access-log /var/log/pcapsule-access.jsonl`,
		ValidArgsFunction: command.CompleteBundles,
		RunE: func(c *cobra.Command, args []string) error {
			s, end, err := a.server(c.Context(), with, args)
			if err != nil {
				return err
			}
			defer end()
			err = s.ServeStdio(c.Context(), with.In, with.Exact())
			if c.Context().Err() != nil {
				return nil
			}
			if err != nil && !exit.IsClosedPipe(err) {
				return exit.With(fmt.Errorf("reading MCP messages from standard input: %w", err), exit.Other, "an assistant starts this command and sends JSON-RPC, one message per line")
			}
			return err
		},
	}
	a.flags(c, with.Live)
	return c
}
