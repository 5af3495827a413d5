package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/cli/policyflag"
	"github.com/pcapsule/pcapsule/internal/cli/ringcmd"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// sealWait is how long a recorder may take to end its segments.
const sealWait = 20 * time.Second

// told is how many holes are told of; the bundle has them all.
const told = 5

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
		Long: `Make a bundle of a time range of a ring. If a recorder is writing into the ring, it is asked to
seal its current segments, and continues. The segments of the time range are pinned, so that
retention keeps them until the bundle is complete.

The bundle has whole segments, which can be checked against the ring's seals; its tables have
only the packets of the time range. With --filter, or a KFL filter for calls (or --namespace,
--pod and similar flags), it has one derived capture instead: the packets that match, or those of
matching calls and of their connections up to there. Its section header names the original
segments.

Keys beside the segments decrypt their content. If connections remain encrypted, keys beside
segments of other times are tried: for connections that began earlier, and keys that came late.`,
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
	fl.DurationVar(&f.last, "last", 0, "this long before now, or before the last packet if no recorder is running")
	fl.StringVar(&f.from, "from", "", "packets from this time on (RFC 3339)")
	fl.StringVar(&f.to, "to", "", "packets up to this time (RFC 3339)")
	fl.StringVar(&f.filter, "filter", "", "only packets that match this tcpdump filter")
	f.owner.Define(fl, "only calls from or to")
	f.shared(fl)
	return c
}

// condition makes one of the flags and the argument that choose calls.
func (f *snapshotFlags) condition(args []string) error {
	if len(args) > 1 {
		f.kfl = args[1]
	}
	who, err := f.owner.Selector()
	if err != nil {
		return exit.Usagef("%v", err)
	}
	text, err := ownerKFL(&who)
	if err != nil {
		return exit.Usagef("%v", err)
	}
	if text != "" && f.kfl != "" {
		return exit.Usagef("a KFL condition excludes --namespace, --pod and their like: put them into it")
	}
	f.kfl = cmp.Or(f.kfl, text)
	return nil
}

// check refuses what cannot be asked before anything is held.
func (f *snapshotFlags) check(e *env) error {
	switch {
	case f.last < 0:
		return exit.Usagef("--last %s: want more than 0", f.last)
	case f.last > 0 && (f.from != "" || f.to != ""):
		return exit.Usagef("--last excludes --from and --to: give one")
	case f.last == 0 && f.from == "" && f.to == "":
		return exit.Usagef("no time named: give --last 10m, or --from and --to")
	}
	if f.kfl != "" {
		if _, err := kfl.Parse(f.kfl); err != nil {
			return e.asked(err)
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

// snapshot is one on its way.
type snapshot struct {
	e    *env
	f    *snapshotFlags
	o    exporter.Options
	dir  string // the ring
	ring *ring.Ring
	hold string // the folder that holds segments
	pin  *ring.Pinned

	release []func() error // of folders on the way
}

func (e *env) runSnapshot(ctx context.Context, args []string, f *snapshotFlags) error {
	if err := f.condition(args); err != nil {
		return err
	}
	if err := f.check(e); err != nil {
		return err
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
	if err := s.take(ctx); err != nil {
		return exit.OutputError(err, f.output)
	}
	defer s.pin.Release()
	defer func() {
		for _, release := range s.release {
			_ = release() // what is left the next snapshot removes
		}
	}()
	what := plural.Count(int64(len(s.pin.Segments)), "segment", "segments")
	var m *bundle.Manifest
	if f.kfl == "" && f.filter == "" {
		m, _, err = s.makeOpen(ctx, f.output, s.o)
	} else {
		what = "derived from " + what
		m, err = s.derive(ctx)
	}
	if err != nil {
		return err
	}
	for _, w := range m.Warnings {
		e.warn("%s", w)
	}
	s.tellShut(m)
	s.tellHoles()
	var calls int64
	for _, n := range m.Calls {
		calls += n
	}
	fmt.Fprintf(e.out, "%s: %s packets, %s, %s calls, %s, in %.1f s\n", f.output, plural.Thousands(m.Accounts.Packets),
		byteSize(m.Accounts.Bytes), plural.Thousands(calls), what, time.Since(began).Seconds())
	return nil
}

// seal asks the ring's recorder to end its segments, and finds out which time is meant.
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
			// What is sealed already is evidence all the same.
			s.e.warn("the recorder did not seal what it has not sealed yet; that is not in the snapshot: %v", err)
		}
		if s.ring, err = ring.Open(s.dir); err != nil {
			return err
		}
	}
	first, last := s.has()
	end := int64(last)
	if s.ring.Writing {
		end = max(end, now.UnixNano()) // the recorder went on until it sealed
		if s.o.ToNs > end {
			s.e.warn("--to %s lies ahead; the snapshot ends with what is recorded", s.f.to)
		}
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
		return s.nothing()
	}
	return nil
}

// has is the time of the packets in the ring's sealed segments.
func (s *snapshot) has() (first, last ring.Time) {
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

// nothing is the error where the ring has no packet of the time.
func (s *snapshot) nothing() error {
	first, last := s.has()
	if first == 0 {
		return exit.With(fmt.Errorf("%s: the ring has no sealed packets", s.dir), exit.Other, "pcapsule ring ls "+s.dir+" shows what is there")
	}
	return exit.With(fmt.Errorf("%s: no packets from %s to %s; the ring has %s to %s", s.dir, ringcmd.Time(ring.Time(s.o.FromNs)), ringcmd.Time(ring.Time(s.o.ToNs)), first, last),
		exit.Other, "ask for a time that it has; pcapsule ring ls "+s.dir+" lists segments and coverage gaps")

}

// take holds the segments of the time: by hard links beside the ring, or beside the output,
// or in the ring; where no links can be made by copies beside the output.
func (s *snapshot) take(ctx context.Context) error {
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
	// Those of snapshots that were killed would hold segments for ever.
	if _, err := ring.SweepHolds(dir, filepath.Dir(dir), filepath.Dir(filepath.Clean(s.f.output))); err != nil {
		s.e.warn("%v", err)
	}
	s.pin, err = ring.Pin(ctx, dir, s.o.FromNs, s.o.ToNs, s.hold, ring.PinOptions{Keys: true, Hold: true})
	if errors.Is(err, fs.ErrPermission) {
		// Key logs have rights of their own.
		if s.pin, err = ring.Pin(ctx, dir, s.o.FromNs, s.o.ToNs, s.hold, ring.PinOptions{Hold: true}); err == nil {
			s.e.warn("key logs of the ring were not used: only their owner may read them")
		}
	}
	if err != nil {
		return err
	}
	for _, name := range s.pin.Missing {
		s.e.warn("%s is not there any more", name)
	}
	if len(s.pin.Segments) == 0 {
		return errors.Join(s.nothing(), s.pin.Release())
	}
	return nil
}

// linkable reports whether a file of the ring can be linked under that name.
func linkable(dir, path string) bool {
	err := os.Link(filepath.Join(dir, "seals.jsonl"), path)
	return err == nil && os.Remove(path) == nil
}

// make makes a bundle of what is in a folder.
func (s *snapshot) make(ctx context.Context, from, to string, o exporter.Options) (*bundle.Manifest, error) {
	bar := newProgress(s.e)
	o.Progress = bar.update
	strict := o.Accept
	o.Accept = func(m *bundle.Manifest) error {
		if m.Accounts.Packets == 0 {
			return s.nothing()
		}
		if strict == nil {
			return nil
		}
		return strict(m)
	}
	m, err := exporter.Run(ctx, []string{from}, to, o)
	bar.clear()
	if err != nil {
		return nil, s.e.bundleError(ctx, err, s.f.output)
	}
	return m, nil
}

// derive makes a bundle of the packets that match: first one of all, from which they are
// taken, in a folder beside the output.
func (s *snapshot) derive(ctx context.Context) (*bundle.Manifest, error) {
	out := filepath.Clean(s.f.output)
	work, release, err := ring.Hold(filepath.Dir(out))
	if err != nil {
		return nil, exit.OutputError(err, s.f.output)
	}
	defer release()
	all := s.o
	all.EmbedKeys, all.KeysTo, all.Accept, all.Custody = false, nil, nil, bundle.CreateOptions{}
	whole := filepath.Join(work, "all.pcapsule")
	m, with, err := s.makeOpen(ctx, whole, all)
	if err != nil {
		var none *exit.Error
		if s.f.filter != "" && errors.As(err, &none) && none.Code == exit.Other {
			err = s.noMatch()
		}
		return nil, err
	}
	derived := filepath.Join(work, "derived")
	calls, err := s.carve(ctx, whole, derived)
	if err != nil {
		return nil, err
	}
	if err := s.sides(derived); err != nil {
		return nil, exit.OutputError(err, s.f.output)
	}
	s.o.Keys = with.Keys
	// All that is in the derived capture was chosen; what is beside it is a hole there.
	s.o.Filter = ""
	from, to := s.o.FromNs, s.o.ToNs
	s.o.FromNs, s.o.ToNs = 0, 0
	made, err := s.make(ctx, derived, s.f.output, s.o)
	s.o.FromNs, s.o.ToNs = from, to
	if err != nil {
		return nil, err
	}
	s.tellParents(m)
	what := "packets that match " + s.f.filter
	if s.f.kfl != "" {
		what = plural.Count(calls, "call that matches", "calls that match") + ", with the connections up to there"
	}
	fmt.Fprintf(s.e.err, "derived: %s\n", lines(what))
	return made, nil
}

// tellParents says what is wrong with a parent, which the derived bundle cannot tell.
func (s *snapshot) tellParents(m *bundle.Manifest) {
	for i := range m.Inputs {
		in := &m.Inputs[i]
		if in.Segment != nil && in.Segment.Seal == "broken" {
			s.e.warn("%s: its bytes are not the sealed ones", in.Name)
		}
		if n := int64(len(in.Damage)) + in.DamageMore; n > 0 {
			s.e.warn("%s: %s cannot be read", in.Name, plural.Count(n, "place", "places"))
		}
	}
}

func (s *snapshot) noMatch() error {
	what := "no packet matches the filter"
	if s.f.kfl != "" {
		what = "no call matches " + s.f.kfl
	}
	return exit.With(fmt.Errorf("%s: from %s to %s %s", s.dir, ringcmd.Time(ring.Time(s.o.FromNs)), ringcmd.Time(ring.Time(s.o.ToNs)), what), exit.Other,
		"without a condition the snapshot has all of the time, and can be asked with pcapsule query")

}

// carve writes the packets that match into a derived capture.
func (s *snapshot) carve(ctx context.Context, whole, derived string) (calls int64, err error) {
	about, err := ring.Derive(s.hold, derived, s.pin, ring.Derived{Filter: s.f.filter, KFL: s.f.kfl})
	if err != nil {
		return 0, exit.OutputError(err, s.f.output)
	}
	c, err := s.e.openCase(ctx, []string{whole})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	sel := forensics.Selection{KFL: s.f.kfl, Vantage: forensics.BothVantage, About: []string{about}}
	if s.f.kfl != "" {
		sel.Context = forensics.WithContext
	}
	r, err := c.PacketsFile(ctx, sel, filepath.Join(derived, "derived.pcapng"))
	if err != nil {
		return 0, s.e.asked(exit.OutputError(err, s.f.output))
	}
	if r.Packets == 0 {
		return 0, s.noMatch()
	}
	for _, n := range r.Notes {
		fmt.Fprintln(s.e.err, lines(n))
	}
	return r.Calls, nil
}

// sides gives the derived capture what stood beside its parents: owners and keys, of which
// the exporter takes what fits its packets. Events of others do not come along.
func (s *snapshot) sides(derived string) error {
	for _, kind := range []string{"owners.jsonl", ring.KeysKind, ring.KeysKind + ".age"} {
		for _, name := range s.pin.Segments {
			from := filepath.Join(s.hold, strings.TrimSuffix(name, "pcapng")+kind)
			if kind == ring.KeysKind+".age" {
				s.sealedKeys(from)
				continue
			}
			if err := appendFile(filepath.Join(derived, "derived."+kind), from); err != nil {
				return err
			}
		}
	}
	return nil
}

// sealedKeys takes keys that age encrypted where they can be opened.
func (s *snapshot) sealedKeys(path string) {
	if _, err := os.Lstat(path); err != nil {
		return
	}
	if len(s.o.Identities) == 0 {
		s.e.warn("%s is encrypted and was not used; give --identity", filepath.Base(path))
		return
	}
	s.o.Keys = append(s.o.Keys[:len(s.o.Keys):len(s.o.Keys)], path)
}

// appendFile appends a file that may not be there, as whole lines.
func appendFile(to, from string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		_, err = out.WriteString("\n") // the last line may have been half written; empty ones say nothing
	}
	return errors.Join(err, out.Close())
}

// tellHoles says what of the time the ring does not have.
func (s *snapshot) tellHoles() {
	more := 0
	n := 0
	for _, h := range s.ring.Holes {
		if int64(h.To) < s.o.FromNs || int64(h.From) > s.o.ToNs {
			continue
		}
		if n++; n > told {
			more++
			continue
		}
		s.e.warn("not in it: %s", ringcmd.Hole(h))
	}
	if more > 0 {
		s.e.warn("%s; table coverage has them all", plural.Count(int64(more), "more coverage gap", "more coverage gaps"))
	}
}
