package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/cli/kubectl"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/cli/serve"
	"github.com/pcapsule/pcapsule/cli/snapshots"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/forensics"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/section"
	"github.com/pcapsule/pcapsule/report/templates"
)

// serving returns what the commands mcp and serve take from this package.
func (e *env) serving() serve.Options {
	return serve.Options{Streams: &e.Streams, Questions: findings.Questions(), Analyzers: findings.Analyzers(),
		Lists:     readLists,
		AccessLog: func() *accesslog.Log { return e.access }, Report: renderReport, Reports: reportsOfPage, Spans: spanLines, HTTP: writeHTTP, Store: openSnapshots, Copies: followCopies, Cluster: e.cluster,
		Live: serve.Live{Keep: exporter.DefaultLiveKeep, MaxKeep: exporter.MaxLiveKeep, Bytes: exporter.DefaultLiveBytes}}
}

// cluster opens the snapshots of a cluster.
func (e *env) cluster(namespace string) (store.Store, func(), error) {
	if !offer.Plain(namespace) {
		return nil, nil, exit.Usagef("--cluster %q: must be the namespace of the hub", namespace)
	}
	s := kubectl.NewStore(&e.Streams, namespace)
	return s, s.Close, nil
}

// openSnapshots opens the store of a ring's snapshots.
func openSnapshots(ring, folder string, live serve.Live, warn func(format string, args ...any)) (store.Store, forensics.Opener, func(), error) {
	if err := exit.Folder("--ring", ring); err != nil {
		return nil, nil, nil, err
	}
	o := snapshots.Options{Ring: ring, Dir: folder, Keep: live.Keep, Export: exportHeld, Program: "pcapsule " + version.Release, OnError: func(err error) { warn("%v", err) }}
	if live.Keep > 0 {
		o.Follow = func(ctx context.Context, ring string, onError func(error)) (snapshots.Live, error) {
			return exporter.Follow(ctx, ring, exporter.FollowOptions{Keep: live.Keep, Most: live.Bytes, Release: version.Release, OnError: onError})
		}
	}
	s, err := snapshots.Open(o)
	if err != nil {
		return nil, nil, nil, ringcmd.Error(err)
	}
	return s, s.OpenBundle, s.Close, nil
}

// followCopies follows the rings whose copies the hub keeps.
func followCopies(folder string, live serve.Live, warn func(format string, args ...any)) (store.Live, forensics.Opener, func(), error) {
	if err := exit.Folder("--live-copies", folder); err != nil {
		return nil, nil, nil, err
	}
	s := snapshots.FollowCopies(snapshots.CopiesOptions{Dir: folder, Keep: live.Keep, Owners: derive.AddOwners, OnError: func(err error) { warn("%v", err) },
		Follow: func(ctx context.Context, ring string, share int64, gaps func() []bundle.LiveGap, onError func(error)) (snapshots.Live, error) {
			return exporter.Follow(ctx, ring, exporter.FollowOptions{Keep: live.Keep, Most: live.Bytes / share, Release: version.Release, OnError: onError, Gaps: gaps})
		},
		Mirror: func(ctx context.Context, dir string, gaps func() []bundle.LiveGap, onError func(error)) (snapshots.Live, error) {
			return exporter.Mirror(ctx, dir, exporter.FollowOptions{Release: version.Release, OnError: onError, Gaps: gaps})
		}})
	return s, s.OpenBundle, s.Close, nil
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

// writeHTTP writes a call of HTTP for another program.
func writeHTTP(x *forensics.Exchange, form string, w io.Writer) error {
	if !slices.Contains(httpProtocols, format.Text(x.Call.Get("protocol"))) {
		return errors.New("this is not a call of HTTP")
	}
	s := &console.Streams{Out: w, Err: io.Discard}
	out := format.HAR(s)
	if form == "curl" {
		out = format.Curl(s)
	}
	if err := out.Call(x); err != nil {
		return err
	}
	return out.End()
}

// renderReport returns the report on a case as an HTML page.
func renderReport(ctx context.Context, c *forensics.Case) (text, mimeType string, err error) {
	r, err := report.Build(ctx, c, *reportOptions())
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	err = render.Markdown(&b, r)
	return b.String(), "text/markdown", err
}

// reportsOfPage are the reports that a page offers: the built-in templates in all formats.
func reportsOfPage() *mcp.Reports {
	out, o := &mcp.Reports{Write: writeReport}, reportOptions()
	for _, name := range templates.Names() {
		text, err := templates.Builtin(name)
		cobra.CheckErr(err)
		t, err := templates.Parse(name, text, section.Known(o.Questions, o.Analyzers, o.Frameworks))
		cobra.CheckErr(err)
		out.Templates = append(out.Templates, mcp.ReportTemplate{Name: name, Title: t.Title, About: t.About})
	}
	for _, f := range render.Forms() {
		out.Formats = append(out.Formats, f.Name)
	}
	return out
}

// writeReport writes a report of the page, the same as the command report.
func writeReport(ctx context.Context, c *forensics.Case, r mcp.ReportRequest, w io.Writer) error {
	form, err := render.FormOf("." + r.Format)
	if err != nil {
		return err
	}
	o := reportOptions()
	o.Name, o.Title, o.KFL, o.From, o.To = r.Template, r.Title, r.KFL, r.From, r.To
	if r.Mask != nil {
		sum := sha256.Sum256(c.Policy().Source())
		o.MaskID, o.Mask = hex.EncodeToString(sum[:]), r.Mask
	}
	made, err := report.Build(ctx, c, *o)
	if err != nil {
		return err
	}
	return form.Write(w, made)
}
