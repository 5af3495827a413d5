package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/cli/ringcmd"
	"github.com/pcapsule/pcapsule/internal/cli/snapshots"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/render"
)

// answerFlags are the flags of commands that serve answers to assistants.
type answerFlags struct {
	exportDir, redact, tools string
	ring, snapshots          string
	secrets, show, packets   bool
	allow                    []string
	deadline                 time.Duration
	parallel                 int
	memory, temp, keep       size
	access                   *accesslog.Log
}

func (a *answerFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.tools, "tools", "all", "tools to offer: names of sets and of tools, separated by commas; sets are all, core, cases, calls, network, services, incidents, performance, security, checks and ring")
	f.StringVar(&a.exportDir, "export-dir", "", "folder into which export_pcap may write; without it, that tool is refused")
	f.StringSliceVar(&a.allow, "allow", nil, "folder from which open_case may open bundles; can be repeated")
	f.StringVar(&a.ring, "ring", "", "ring of a recorder on this machine: clients can freeze, dissect and query its time ranges, and its last seconds")
	f.StringVar(&a.snapshots, "snapshots", "", "with --ring: folder for snapshots, preferably on the ring's disk (default: RING.snapshots)")
	f.StringVar(&a.redact, "redact", "", "policy file that says what to mask; without it, credentials are masked")
	f.BoolVar(&a.secrets, "secrets", false, "mask nothing")
	f.BoolVar(&a.show, "show-secrets", false, "the same as --secrets")
	f.DurationVar(&a.deadline, "deadline", 30*time.Second, "maximum time for one answer")
	f.IntVar(&a.parallel, "parallel", 2, "number of long answers computed at once, each on all processors")
	a.memory, a.temp, a.keep = 1<<30, 4<<30, 32<<20
	f.Var(&a.memory, "memory", "memory that the program tries to stay below")
	f.Var(&a.temp, "max-temp", "temporary files for queries that do not fit into memory; 0: such queries fail")
	f.Var(&a.keep, "keep", "memory for cached answers; 0: no cache")
	cobra.CheckErr(f.MarkHidden("show-secrets"))
}

// server opens bundles and makes a server for them. end closes both.
func (a *answerFlags) server(ctx context.Context, paths []string, warn func(format string, args ...any)) (s *mcp.Server, end func(), err error) {
	if err := cmp.Or(a.named(paths), a.check(), exit.Outside(a.exportDir, a.snapshots)); err != nil {
		return nil, nil, err
	}
	if err := distinct(paths); err != nil {
		return nil, nil, err
	}
	if a.keep == 0 {
		a.keep = -1
	}
	o := mcp.Options{Keep: int(a.keep), Release: version.Release, Questions: findings.Questions(), Packets: a.packets, Tools: a.tools, ExportDir: a.exportDir, Allow: a.allow, Deadline: a.deadline, Parallel: a.parallel, Report: renderReport, AccessLog: a.access}
	if !a.secrets {
		o.Policy = redact.Default()
		if a.redact != "" {
			if o.Policy, err = redact.Load(a.redact); err != nil {
				return nil, nil, exit.With(err, exit.Usage, "")
			}
		}
	}
	room := a.room(warn)
	ends := []func(){room.close}
	o.Open = func(ctx context.Context, paths []string) (*forensics.Case, error) {
		options := room.options()
		options.MaskSecrets, options.Policy = !a.secrets, o.Policy
		c, err := forensics.Open(ctx, paths, options)
		if err == nil {
			finding.Bind(c, findings.Analyzers())
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
	if a.ring != "" {
		store, err := a.store(warn)
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, store.Close)
		o.Store = store
	}
	var c *forensics.Case
	if len(paths) > 0 || a.ring == "" {
		if c, err = o.Open(ctx, paths); err != nil {
			return nil, nil, err
		}
	}
	if s, err = mcp.New(c, o); err != nil {
		if c != nil {
			c.Close()
		}
		var choice *mcp.ToolsError
		if errors.As(err, &choice) {
			err = exit.Usagef("--tools: %s", choice.Text)
		}
		return nil, nil, err
	}
	ends = append(ends, func() { s.Close() })
	return s, stop, nil
}

// store opens the store of the ring's snapshots.
func (a *answerFlags) store(warn func(format string, args ...any)) (*snapshots.Store, error) {
	if _, err := os.Stat(a.ring); err != nil {
		return nil, fmt.Errorf("opening ring: %w", err)
	}
	dir := a.snapshots
	if dir == "" {
		dir = strings.TrimRight(filepath.Clean(a.ring), "/") + ".snapshots"
	}
	s, err := snapshots.Open(snapshots.Options{Ring: a.ring, Dir: dir, Export: exportHeld, Program: "pcapsule " + version.Release, OnError: func(err error) { warn("%v", err) }})
	return s, ringcmd.Error(err)
}

// exportHeld makes a bundle of a snapshot's segments.
func exportHeld(ctx context.Context, from, to string, fromNs, toNs int64, done func(snapshots.Progress)) (*bundle.Manifest, error) {
	o := exporter.Options{Release: version.Release, FromNs: fromNs, ToNs: toNs}
	if done != nil {
		o.Progress = func(p exporter.Progress) {
			done(snapshots.Progress{ReadBytes: p.ReadBytes, TotalBytes: p.TotalBytes, Packets: p.Packets, Calls: p.Calls})
		}
	}
	return exporter.Run(ctx, []string{from}, to, o)
}

// named refuses a command line that names neither a bundle nor a ring.
func (a *answerFlags) named(args []string) error {
	if len(args) == 0 && a.ring == "" {
		return exit.Usagef("missing argument: BUNDLE, or --ring with a recorder's ring")
	}
	if a.snapshots != "" && a.ring == "" {
		return exit.Usagef("--snapshots needs --ring")
	}
	return nil
}

func (a *answerFlags) check() error {
	a.secrets = a.secrets || a.show
	if a.exportDir != "" {
		if info, err := os.Stat(a.exportDir); err != nil || !info.IsDir() {
			return exit.Usagef("--export-dir %s: not a folder", a.exportDir)
		}
	}
	for _, dir := range a.allow {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return exit.Usagef("--allow %s: not a folder", dir)
		}
	}
	switch {
	case a.secrets && a.redact != "":
		return exit.Usagef("--secrets and --redact exclude each other: give one")
	case a.deadline <= 0 || a.deadline > time.Hour:
		return exit.Usagef("--deadline %s: want more than 0 and at most 1h", a.deadline)
	case a.parallel < 1 || a.parallel > 64:
		return exit.Usagef("--parallel %d: want 1 to 64", a.parallel)
	case a.temp > 1<<50:
		return exit.Usagef("--max-temp %s: want at most 1024TiB", &a.temp)
	case a.keep > 1<<40:
		return exit.Usagef("--keep %s: want at most 1TiB", &a.keep)
	case a.memory < minMemory || a.memory > 1<<40:
		return exit.Usagef("--memory %s: want 64MiB to 1TiB", &a.memory)
	}
	return nil
}

// renderReport returns the report on a case as an HTML page.
func renderReport(ctx context.Context, c *forensics.Case) (text, mimeType string, err error) {
	r, err := report.Build(ctx, c, *reportOptions())
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	err = render.HTML(&b, r)
	return b.String(), "text/html", err
}

func (e *env) cmdMCP() *cobra.Command {
	var a answerFlags
	c := &cobra.Command{
		Use:   "mcp [BUNDLE...]",
		Short: "Serve bundles to an assistant: MCP over standard input and output",
		Long: `Serve bundles to an assistant over the Model Context Protocol on standard input and output.
Every answer cites its packets and states what was recorded. Credentials are masked unless
--secrets is given; --redact sets your own policy. With --ring it also answers questions about
a recorder's ring on this machine. pcapsule serve does the same over HTTP.`,
		Example: `  pcapsule mcp incident.pcapsule
  assistant mcp add incident -- pcapsule mcp /evidence/incident.pcapsule --export-dir /tmp
  pcapsule mcp --ring /var/lib/pcapsule --export-dir /tmp
  pcapsule mcp incident.pcapsule --tools core,security --access-log /var/log/pcapsule-access.jsonl`,
		ValidArgsFunction: completeBundles,
		RunE: func(c *cobra.Command, args []string) error {
			a.access = e.access
			s, end, err := a.server(c.Context(), args, e.warn)
			if err != nil {
				return err
			}
			defer end()
			err = s.ServeStdio(c.Context(), e.in, e.exact())
			if err == nil {
				err = c.Context().Err()
			}
			if err != nil && !closedPipe(err) {
				return exit.With(fmt.Errorf("reading MCP messages from standard input: %w", err), exit.Other, "an assistant starts this command and sends JSON-RPC, one message per line")
			}
			return err
		},
	}
	a.flags(c)
	return c
}
