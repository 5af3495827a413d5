package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// derive makes a bundle of the matching packets. It first makes one of all packets in a
// temporary folder next to the output, and selects the packets from that.
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
	m, with, err := s.makeDecrypted(ctx, whole, all)
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
	// The derived capture contains only matching packets; a coverage gap records the rest.
	s.o.Filter = ""
	from, to := s.o.FromNs, s.o.ToNs
	s.o.FromNs, s.o.ToNs = 0, 0
	made, err := s.make(ctx, derived, s.f.output, s.o)
	s.o.FromNs, s.o.ToNs = from, to
	if err != nil {
		return nil, err
	}
	s.warnParents(m)
	what := "packets that match " + s.f.filter
	if s.f.kfl != "" {
		what = plural.Count(calls, "matching call", "matching calls") + ", with the earlier packets of their connections"
	}
	fmt.Fprintf(s.e.Err, "derived: %s\n", console.Lines(what))
	return made, nil
}

// warnParents warns of damaged or changed segments, which the derived bundle does not show.
func (s *snapshot) warnParents(m *bundle.Manifest) {
	for i := range m.Inputs {
		in := &m.Inputs[i]
		if in.Segment != nil && in.Segment.Seal == "broken" {
			s.e.Warn("%s: its bytes differ from the sealed ones", in.Name)
		}
		if n := int64(len(in.Damage)) + in.DamageMore; n > 0 {
			s.e.Warn("%s: %s cannot be read", in.Name, plural.Count(n, "place", "places"))
		}
	}
}

func (s *snapshot) noMatch() error {
	what := "no packet matches the filter"
	if s.f.kfl != "" {
		what = "no call matches " + s.f.kfl
	}
	return exit.With(fmt.Errorf("%s: from %s to %s %s", s.dir, ringcmd.Time(ring.Time(s.o.FromNs)), ringcmd.Time(ring.Time(s.o.ToNs)), what), exit.Other,
		"make the snapshot without a filter, and search it with pcapsule query")

}

// carve writes the matching packets into a derived capture.
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
	sel := forensics.Selection{KFL: s.f.kfl, Vantage: forensics.BothVantage, Deadline: forensics.LongTime, About: []string{about}}
	if s.f.kfl != "" {
		sel.Context = forensics.WithContext
	}
	r, err := c.PacketsFile(ctx, sel, filepath.Join(derived, "derived.pcapng"))
	if err != nil {
		return 0, s.e.questionError(exit.OutputError(err, s.f.output))
	}
	if r.Packets == 0 {
		return 0, s.noMatch()
	}
	for _, n := range r.Notes {
		fmt.Fprintln(s.e.Err, console.Lines(n))
	}
	return r.Calls, nil
}

// sides copies the owners and keys of the original segments next to the derived capture. The
// exporter uses those that match its packets. Events are not copied.
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

// sealedKeys adds a key file that is encrypted with age, if an identity was given.
func (s *snapshot) sealedKeys(path string) {
	if _, err := os.Lstat(path); err != nil {
		return
	}
	if len(s.o.Identities) == 0 {
		s.e.Warn("%s is encrypted and was not used; give --identity", filepath.Base(path))
		return
	}
	s.o.Keys = append(s.o.Keys[:len(s.o.Keys):len(s.o.Keys)], path)
}

// appendFile appends a file, if it exists, as whole lines.
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
		_, err = out.WriteString("\n") // the last line may be incomplete; empty lines are ignored
	}
	return errors.Join(err, out.Close())
}
