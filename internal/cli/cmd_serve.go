package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/cli/ringcmd"
	"github.com/pcapsule/pcapsule/internal/cli/serve"
	"github.com/pcapsule/pcapsule/internal/cli/snapshots"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/render"
)

// serving returns what the commands mcp and serve take from this package.
func (e *env) serving() serve.Options {
	return serve.Options{Streams: &e.Streams, Questions: findings.Questions(), Analyzers: findings.Analyzers(),
		AccessLog: func() *accesslog.Log { return e.access }, Report: renderReport, Store: openSnapshots}
}

// openSnapshots opens the store of a ring's snapshots.
func openSnapshots(ring, folder string, live exporter.FollowOptions, warn func(format string, args ...any)) (store.Store, func(), error) {
	if _, err := os.Stat(ring); err != nil {
		return nil, nil, fmt.Errorf("opening ring: %w", err)
	}
	live.Release = version.Release
	s, err := snapshots.Open(snapshots.Options{Ring: ring, Dir: folder, Live: live, Export: exportHeld, Program: "pcapsule " + version.Release, OnError: func(err error) { warn("%v", err) }})
	if err != nil {
		return nil, nil, ringcmd.Error(err)
	}
	return s, s.Close, nil
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
