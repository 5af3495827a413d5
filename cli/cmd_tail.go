package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

type tailFlags struct {
	ring, server, tokenFile, ca, name, format string
	last                                      time.Duration
	once                                      bool
}

func (e *env) cmdTail() *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail [KFL]",
		Short: "Print calls while they are recorded",
		Long: `Print the calls that match a KFL filter about a second after they finish. They come
from the ring of a recorder on this machine, or from a server that serves one. Without a filter
all calls are printed. A warning states each coverage gap.`,
		Example: `  pcapsule tail 'http && status_code >= 500' --ring /var/lib/pcapsule
  pcapsule tail dns --ring /var/lib/pcapsule --last 5m --format ndjson
  pcapsule tail --server http://127.0.0.1:8898 'elapsed_time > 500ms'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			filter := ""
			if len(args) > 0 {
				filter = args[0]
			}
			return e.runTail(c.Context(), filter, &f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.ring, "ring", "", "folder that a recorder on this machine writes into")
	fl.StringVar(&f.server, "server", "", "address of pcapsule serve --ring, such as http://127.0.0.1:8898")
	fl.StringVar(&f.tokenFile, "token-file", "", "with --server: file with the token (default: $PCAPSULE_TOKEN)")
	fl.StringVar(&f.ca, "ca", "", "with --server: certificate authority of the server, in PEM (default: the system's authorities)")
	fl.StringVar(&f.name, "server-name", "", "with --server: name in the certificate of the server, if its address has another")
	fl.StringVar(&f.format, "format", "table", "table or ndjson")
	fl.DurationVar(&f.last, "last", 0, "with --ring: start this long before now")
	command.Between(fl, "last", &f.last, time.Millisecond, exporter.MaxLiveKeep)
	fl.BoolVar(&f.once, "once", false, "with --ring: stop at the end of the ring instead of following it")
	e.maskFlag(c)
	completes(c, "format", "table", "ndjson")
	return c
}

// check refuses contradictory flags.
func (f *tailFlags) check() error {
	switch {
	case (f.ring == "") == (f.server == ""):
		return exit.Usagef("give --ring with a recorder's ring, or --server with the address of pcapsule serve")
	case f.format != "table" && f.format != "ndjson":
		return command.OneOf("--format", f.format, []string{"table", "ndjson"})
	case f.server != "" && (f.last > 0 || f.once):
		return exit.Usagef("--last and --once need --ring")
	case f.ring != "" && (f.tokenFile != "" || f.ca != "" || f.name != ""):
		return exit.Usagef("--token-file, --ca and --server-name need --server")
	}
	return nil
}

func (e *env) runTail(ctx context.Context, filter string, f *tailFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if _, err := kfl.Parse(filter); err != nil && filter != "" {
		return e.questionError(err)
	}
	if f.server != "" {
		if e.mask != "" {
			return exit.Usagef("--mask needs --ring: the server decides what it masks")
		}
		return e.tailServer(ctx, filter, f)
	}
	return ringcmd.Error(e.tailRing(ctx, filter, f))
}

// tailRing follows a ring.
func (e *env) tailRing(ctx context.Context, filter string, f *tailFlags) error {
	t := &ringTail{e: e, f: f, kfl: filter, o: forensics.Options{MaskSecrets: e.mask != ""}}
	var err error
	if t.o.MaskSecrets && e.mask != maskDefault {
		if t.o.Policy, err = redact.Load(e.mask); err != nil {
			return exit.With(err, exit.Syntax, "docs/guide/redaction.md describes the format of a policy")
		}
	}
	o := exporter.FollowOptions{Keep: max(f.last, exporter.DefaultLiveKeep), From: time.Now().Add(-f.last).UnixNano(), Once: f.once, Release: version.Release, OnError: func(err error) { e.Warn("%v", err) }}
	if f.once && f.last == 0 {
		o.From = 1
	}
	if t.live, err = exporter.Follow(ctx, f.ring, o); err != nil {
		return err
	}
	defer func() {
		if err := t.live.Close(); err != nil {
			e.Warn("removing the temporary folder: %v", err)
		}
	}()
	t.o.Open = func(path string, o bundle.OpenOptions) (*bundle.Bundle, error) {
		if b, ok := t.live.Open(path); ok {
			return b, nil
		}
		return bundle.OpenWith(path, o)
	}
	if f.once {
		return t.all(ctx)
	}
	return t.follow(ctx)
}

// ringTail prints the calls of a live run.
type ringTail struct {
	e    *env
	f    *tailFlags
	kfl  string
	live *exporter.Live
	o    forensics.Options
}

// all prints the calls of a ring that was read to its end.
func (t *ringTail) all(ctx context.Context) error {
	if err := t.live.Err(); err != nil {
		return err
	}
	v, err := t.live.View(ctx, 0, nil)
	if err != nil {
		return err
	}
	return t.show(ctx, v)
}

// follow prints the calls of each cut: from the first on, or from the first at which everything was read.
func (t *ringTail) follow(ctx context.Context) error {
	c, err := t.live.Wait(ctx, 0)
	for err == nil && t.f.last == 0 && !c.Idle {
		c, err = t.live.Wait(ctx, c.No)
	}
	after := c.No
	if t.f.last > 0 {
		after = 0
	}
	for first := true; err == nil; first = false { // the first view is opened in any case, to refuse a wrong filter
		var v *bundle.LiveView
		if v, err = t.live.Since(ctx, after, nil); err != nil {
			break
		}
		if after = v.Cut; first || !v.Empty {
			err = t.show(ctx, v)
		}
		if err == nil {
			_, err = t.live.Wait(ctx, after)
		}
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// show prints the calls of a view.
func (t *ringTail) show(ctx context.Context, v *bundle.LiveView) error {
	c, err := forensics.Open(ctx, []string{v.Path}, t.o)
	if err != nil {
		return err
	}
	defer c.Close()
	a, page := &tools.Invocation{Env: &tools.Env{}, Case: c, Max: tools.MaxBytes}, tools.ShapedPage{Limit: tools.MaxRows, Format: "full"}
	for {
		r, err := a.ShapeCalls(ctx, t.kfl, 0, 0, "", page)
		if err != nil {
			return t.e.questionError(err)
		}
		list, _ := r.Calls.([]tools.ShapedCall)
		for i := range list {
			if err := t.e.tailCall(&list[i], t.f.format); err != nil {
				return err
			}
		}
		if !r.Truncated {
			t.e.tailGaps(&r.Coverage)
			return nil
		}
		page.Cursor = r.Cursor
	}
}

// tailCall prints one call.
func (e *env) tailCall(c *tools.ShapedCall, how string) error {
	if how == "ndjson" {
		_, err := e.Out.Write(append(format.AppendJSON(nil, c), '\n'))
		return err
	}
	took := ""
	if c.LatencyMs != nil {
		took = "  " + format.Micros(int64(*c.LatencyMs*1000))
	}
	_, err := fmt.Fprintf(e.Out, "%s  %s → %s  %s  %s%s\n", time.UnixMilli(c.Ts).UTC().Format("15:04:05.000"), tailEnd(&c.Src), tailEnd(&c.Dst), c.Proto, c.Summary, took)
	return err
}

func tailEnd(x *tools.ShapedEnd) string { return cmp.Or(x.Svc, x.Pod, x.Name, x.IP) }

// tailGaps states what was not recorded or not read.
func (e *env) tailGaps(c *ask.Coverage) {
	for _, h := range c.Holes {
		e.Warn("coverage gap: %s, %s to %s: %s", h.Reason, h.From, h.To, h.Detail)
	}
}

// tailEvent is an event of GET /mcp/tail.
func (e *env) tailEvent(kind string, data []byte, how string) error {
	switch kind {
	case "call":
		var c tools.ShapedCall
		if err := json.Unmarshal(data, &c); err != nil {
			return fmt.Errorf("reading a call of the server: %w", err)
		}
		return e.tailCall(&c, how)
	case "gap":
		var c ask.Coverage
		if err := json.Unmarshal(data, &c); err != nil {
			return fmt.Errorf("reading a coverage gap of the server: %w", err)
		}
		e.tailGaps(&c)
	case "end":
		var end struct{ Message string }
		_ = json.Unmarshal(data, &end) // without a text, the end itself is the message
		return fmt.Errorf("the server ended the stream: %s", end.Message)
	}
	return nil
}
