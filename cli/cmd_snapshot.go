package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/policyflag"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// sealWait is how long to wait for a recorder to end its segments.
const sealWait = 20 * time.Second

// maxGaps is how many coverage gaps are printed; the bundle lists all.
const maxGaps = 5

type snapshotFlags struct {
	bundleFlags
	last  time.Duration
	owner policyflag.Owner
	kfl   string
}

func (e *env) cmdSnapshot() *cobra.Command {
	var f snapshotFlags
	c := &cobra.Command{
		Use:   "snapshot RING (--last 10m | --from TIME --to TIME) [KFL] -o NAME.pcapsule",
		Short: "Bundle a time range from a ring while recording continues",
		Long: `Make a bundle of a time range of a ring. A recorder that is writing into the ring seals its
current segments and continues. The segments of the time range are pinned, so that
retention keeps them until the bundle is complete.

The bundle contains whole segments, which can be checked against the ring's seals; its tables
contain only the packets of the time range. With --filter, or a KFL filter for calls (or
--namespace, --pod and similar flags), it contains one derived capture instead: the matching
packets, or those of matching calls and the earlier packets of their connections. Its section
header names the original segments.

The key files of the segments decrypt their content. If connections remain encrypted, key files of
other segments are tried, because a connection may have begun earlier, or its key may have been read
late.`,
		Example: `  pcapsule snapshot /var/lib/pcapsule --last 10m -o incident.pcapsule
  pcapsule snapshot /var/lib/pcapsule --from 2026-01-31T14:15:00Z --to 2026-01-31T14:20:00Z -o five-minutes.pcapsule
  pcapsule snapshot /var/lib/pcapsule --last 1h 'http && status_code >= 500' -o errors.pcapsule
  pcapsule snapshot /var/lib/pcapsule --last 10m --filter 'udp port 53' -o names.pcapsule`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			return ringcmd.Error(e.runSnapshot(c.Context(), args, &f))
		},
	}
	fl := c.Flags()
	fl.DurationVar(&f.last, "last", 0, "length of time before now, or before the last packet if no recorder is running")
	command.Between(fl, "last", &f.last, time.Millisecond, command.Longest)
	fl.StringVar(&f.from, "from", "", "packets from this time on, "+command.TimeForms)
	fl.StringVar(&f.to, "to", "", "packets up to this time, in the same forms")
	fl.StringVar(&f.filter, "filter", "", "only packets that match this tcpdump filter")
	f.owner.Define(fl, "only calls from or to")
	f.shared(fl)
	return c
}

// condition sets f.kfl from the argument or the owner flags that choose calls.
func (f *snapshotFlags) condition(args []string) error {
	if len(args) > 1 {
		f.kfl = args[1]
	}
	who, err := f.owner.Selector()
	if err != nil {
		return exit.Usagef("%v", err)
	}
	text, err := policyflag.KFL(&who)
	if err != nil {
		return exit.Usagef("%v", err)
	}
	if text != "" && f.kfl != "" {
		return exit.Usagef("a KFL filter excludes --namespace, --pod and similar flags: put these conditions into the filter")
	}
	f.kfl = cmp.Or(f.kfl, text)
	return nil
}

// check refuses an invalid request before any segment is pinned.
func (f *snapshotFlags) check(e *env) error {
	switch {
	case f.last > 0 && (f.from != "" || f.to != ""):
		return exit.Usagef("--last excludes --from and --to: give one")
	case f.last == 0 && f.from == "" && f.to == "":
		return exit.Usagef("missing time range: give --last 10m, or --from and --to")
	}
	if f.kfl != "" {
		if _, err := kfl.Parse(f.kfl); err != nil {
			return e.questionError(err)
		}
	}
	if f.filter != "" {
		if _, err := filter.Compile(f.filter, 276, 0); err != nil {
			if _, other := filter.Compile(f.filter, 1, 0); other != nil {
				return other
			}
		}
	}
	return nil
}

// snapshot is the state of one snapshot while it is being made.
type snapshot struct {
	e    *env
	f    *snapshotFlags
	o    exporter.Options
	dir  string // the ring
	ring *ring.Ring
	hold string // the folder with the pinned segments
	pin  *ring.Pinned

	release []func() error // remove temporary folders
}

func (e *env) runSnapshot(ctx context.Context, args []string, f *snapshotFlags) error {
	if err := f.condition(args); err != nil {
		return err
	}
	if err := f.check(e); err != nil {
		return err
	}
	if command.IsBundlePath(args[0]) {
		return exit.With(fmt.Errorf("%s is a bundle, not the folder of a ring", args[0]), exit.NotCapture, "to bundle a part of a bundle, use pcapsule cut; a ring is the folder that a recorder writes into")
	}
	if err := exit.Outside(filepath.Dir(f.output), args[0]); err != nil {
		return err
	}
	o, err := f.options(e)
	if err != nil {
		return err
	}
	s := &snapshot{e: e, f: f, o: o, dir: args[0]}
	began := time.Now()
	if err := s.seal(ctx, began); err != nil {
		return err
	}
	if err := s.pinSegments(ctx); err != nil {
		return exit.OutputError(err, f.output)
	}
	defer s.pin.Release()
	defer func() {
		for _, release := range s.release {
			_ = release() // the next snapshot removes what is left
		}
	}()
	what := plural.Count(int64(len(s.pin.Segments)), "segment", "segments")
	var m *bundle.Manifest
	if f.kfl == "" && f.filter == "" {
		m, _, err = s.makeDecrypted(ctx, f.output, s.o)
	} else {
		what = "derived from " + what
		m, err = s.derive(ctx)
	}
	if err != nil {
		return err
	}
	for _, w := range m.Warnings {
		e.Warn("%s", w)
	}
	s.warnEncrypted(m)
	s.warnGaps()
	var calls int64
	for _, n := range m.Calls {
		calls += n
	}
	fmt.Fprintf(e.Out, "%s: %s, %s, %s, %s, in %.1f s\n", f.output, plural.Count(m.Accounts.Packets, "packet", "packets"),
		console.ByteSize(m.Accounts.Bytes), plural.Count(calls, "call", "calls"), what, time.Since(began).Seconds())
	return nil
}

// seal asks the ring's recorder to end its segments, and determines the time range.
func (s *snapshot) seal(ctx context.Context, now time.Time) (err error) {
	if s.ring, err = ring.Open(s.dir); err != nil {
		return err
	}
	if s.ring.Writing {
		wait, cancel := context.WithTimeout(ctx, sealWait)
		err := ring.AskSeal(wait, s.dir)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			// Segments that are already sealed are still evidence.
			s.e.Warn("the recorder did not seal its current segments, so they are not in the snapshot: %v", err)
		}
		if s.ring, err = ring.Open(s.dir); err != nil {
			return err
		}
	}
	first, last := s.sealedRange()
	end := int64(last)
	if s.ring.Writing {
		end = max(end, now.UnixNano()) // the recorder continued until it sealed
	}
	s.o.TimesOf = nil // resolved here, because segments of the range are chosen by it
	if s.o.FromNs, s.o.ToNs, err = s.f.times.In(int64(first), end); err != nil {
		return err
	}
	if s.ring.Writing && s.o.ToNs > end {
		s.e.Warn("--to %s is in the future; the snapshot ends with the last packet", s.f.to)
	}
	if s.o.ToNs == 0 {
		s.o.ToNs = end
	}
	if s.f.last > 0 && s.ring.Writing {
		s.o.FromNs = now.Add(-s.f.last).UnixNano()
	} else if s.f.last > 0 {
		s.o.FromNs = end - int64(s.f.last)
	}
	if first == 0 || s.o.FromNs > s.o.ToNs {
		return s.noPackets()
	}
	return nil
}

// sealedRange returns the times of the first and last packet in the ring's sealed segments.
func (s *snapshot) sealedRange() (first, last ring.Time) {
	for _, x := range s.ring.Segments {
		if x.Seal != nil && !x.Missing && x.Seal.Packets > 0 {
			if first == 0 || x.Seal.First < first {
				first = x.Seal.First
			}
			last = max(last, x.Seal.Last)
		}
	}
	return first, last
}

// noPackets is the error if the ring has no packet in the time range.
func (s *snapshot) noPackets() error {
	first, last := s.sealedRange()
	if first == 0 {
		return exit.With(fmt.Errorf("%s: the ring has no sealed packets", s.dir), exit.Other, "pcapsule ring ls "+s.dir+" lists its segments")
	}
	return exit.With(fmt.Errorf("%s: no packets from %s to %s; the ring has %s to %s", s.dir, ringcmd.Time(ring.Time(s.o.FromNs)), ringcmd.Time(ring.Time(s.o.ToNs)), first, last),
		exit.Other, "choose a time within that range; pcapsule ring ls "+s.dir+" lists segments and coverage gaps")

}

// pinSegments pins the segments of the time range with hard links: next to the ring, next to
// the output, or in the ring. If no link can be made, it copies them next to the output.
func (s *snapshot) pinSegments(ctx context.Context) error {
	var id [6]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(s.dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	name := ring.HoldPrefix + hex.EncodeToString(id[:])
	s.hold = filepath.Join(filepath.Dir(filepath.Clean(s.f.output)), name)
	for _, parent := range []string{filepath.Dir(dir), filepath.Dir(s.hold), dir} {
		if linkable(dir, filepath.Join(parent, name)) {
			s.hold = filepath.Join(parent, name)
			break
		}
	}
	// The folders of killed snapshots would otherwise pin their segments forever.
	if _, err := ring.SweepHolds(dir, filepath.Dir(dir), filepath.Dir(filepath.Clean(s.f.output))); err != nil {
		s.e.Warn("%v", err)
	}
	s.pin, err = ring.Pin(ctx, dir, s.o.FromNs, s.o.ToNs, s.hold, ring.PinOptions{Keys: true, Hold: true})
	if errors.Is(err, fs.ErrPermission) {
		// Key logs may be readable only by their owner.
		if s.pin, err = ring.Pin(ctx, dir, s.o.FromNs, s.o.ToNs, s.hold, ring.PinOptions{Hold: true}); err == nil {
			s.e.Warn("the ring's key logs were not used: only their owner may read them")
		}
	}
	if err != nil {
		return err
	}
	for _, name := range s.pin.Missing {
		s.e.Warn("%s no longer exists", name)
	}
	if len(s.pin.Segments) == 0 {
		return errors.Join(s.noPackets(), s.pin.Release())
	}
	return nil
}

// linkable reports whether a file of the ring can be hard-linked to path.
func linkable(dir, path string) bool {
	err := os.Link(filepath.Join(dir, "seals.jsonl"), path)
	return err == nil && os.Remove(path) == nil
}

// make makes a bundle of the segments in a folder.
func (s *snapshot) make(ctx context.Context, from, to string, o exporter.Options) (*bundle.Manifest, error) {
	bar := s.e.Progress()
	o.Progress = drawn(bar)
	strict := o.Accept
	o.Accept = func(m *bundle.Manifest) error {
		if m.Accounts.Packets == 0 {
			return s.noPackets()
		}
		if strict == nil {
			return nil
		}
		return strict(m)
	}
	m, err := exporter.Run(ctx, []string{from}, to, o)
	bar.Clear()
	if err != nil {
		return nil, s.e.bundleError(ctx, err, s.f.output)
	}
	return m, nil
}

// warnGaps warns of the coverage gaps in the time range.
func (s *snapshot) warnGaps() {
	more := 0
	n := 0
	for _, h := range s.ring.Holes {
		if int64(h.To) < s.o.FromNs || int64(h.From) > s.o.ToNs {
			continue
		}
		if n++; n > maxGaps {
			more++
			continue
		}
		s.e.Warn("coverage gap: %s", ringcmd.GapText(h))
	}
	if more > 0 {
		s.e.Warn("%s; table coverage lists all", plural.Count(int64(more), "more coverage gap", "more coverage gaps"))
	}
}
