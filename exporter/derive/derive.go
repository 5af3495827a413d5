// Package derive makes bundles from bundles: redacted, cut, or with names and keys added
// (docs/format/derived.md).
//
// Packets are changed first; then the exporter makes everything else from them. So tables cannot
// contain anything that the packets do not, and a derived bundle can be rederived like any other. A
// redaction ends only when a search of the new tables and packets finds none of the removed values;
// if it still finds one after the last attempt, no bundle is made. The original is only read.
package derive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// ErrNothing means that a policy finds nothing, or a cut keeps nothing.
var ErrNothing = errors.New("nothing matches")

// ErrChanged means that a bundle's packets changed while they were read, or were changed before.
var ErrChanged = errors.New("the packets are not those of the manifest")

// Additions are further files for the tables.
type Additions struct {
	Kube, Hosts, Alerts, Keys []string
	EmbedKeys                 bool // keep the keys that were used
	MoveInputs                bool // the packet files may be moved instead of copied
}

// Draft is a bundle that is complete but has no name yet.
type Draft struct {
	Manifest *bundle.Manifest // may be changed
	Sources  []string         // paths of the packet files that it was made from, by file_id
	Files    []bundle.Payload // everything below data/ except bundle.json
	Path     func(rel string) string
	Add      func(rel string, data []byte) error
}

// Exporter makes bundles from packets: package exporter, which this package does not know.
type Exporter interface {
	// Derive makes a bundle at output from the packets and side inputs that b describes. accept
	// sees it before it gets its name; if that fails, nothing is left behind.
	Derive(ctx context.Context, b *bundle.Bundle, output string, a Additions, accept func(*Draft) error) (*bundle.Manifest, error)
	// Trace dissects the packets of b for which keep returns true, or all. It calls each for every
	// call, with the places where its bodies, and values that no row shows, were captured.
	Trace(ctx context.Context, b *bundle.Bundle, keep func(file int32, index int64) bool, each func(Traced) error) error
}

// Options of a derived bundle.
type Options struct {
	Additions
	Exporter Exporter
	Memory   int64          // limit in bytes; 0 means the exporter's default
	Event    bundle.Entry   // of the custody log: who derives, where and with which program
	Seed     *seal.SeedFile // of the original's seal; with it the bundle proves what it was made from
}

// Report describes the result.
type Report struct {
	Derived  bundle.Derived   `json:"derived"`
	Rounds   int              `json:"rounds,omitempty"` // attempts until the result was clean
	Values   int              `json:"values,omitempty"` // distinct values that were searched
	Manifest *bundle.Manifest `json:"-"`
	Warnings []string         `json:"warnings"`
}

// source is a copy of a bundle's packets and side inputs, changed, from which the exporter makes
// the derived bundle.
type source struct {
	b   *bundle.Bundle // the original
	dir string
	to  *bundle.Bundle // the copy; only its folder and manifest are set

	keep  []func(index int64) bool // packets of each file
	rules []map[int64]string       // of changed packets of each file

	spaces spaces // that a cut is limited to
}

// newSource makes the folder of a copy beside the derived bundle.
func newSource(b *bundle.Bundle, output string) (*source, error) {
	dir, err := os.MkdirTemp(filepath.Dir(output), ".pcapsule-derive-")
	if err != nil {
		return nil, err
	}
	m := *b.Manifest
	m.Inputs = slices.Clone(m.Inputs)
	m.SideInputs = slices.Clone(m.SideInputs)
	return &source{b: b, dir: dir, keep: make([]func(int64) bool, len(m.Inputs)), rules: make([]map[int64]string, len(m.Inputs)), to: &bundle.Bundle{Dir: dir, Manifest: &m}}, nil
}

func (s *source) remove() { os.RemoveAll(s.dir) }

// path makes the folder of a file of the copy, and removes an earlier attempt.
func (s *source) path(rel string) (string, error) {
	p := s.to.Path(rel)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return "", err
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return p, nil
}

// packets writes one packet file again.
func (s *source) packets(i int, e *fileEdit) (said pcapng.Rewritten, err error) {
	in := &s.to.Manifest.Inputs[i]
	to, err := s.path(in.Path)
	if err != nil {
		return said, err
	}
	if said, err = e.write(s.b.Path(in.Path), to, in.SHA256); err != nil {
		return said, fmt.Errorf("writing %s: %w", in.Path, err)
	}
	s.keep[i] = e.keep
	// It is now a file of its own, which was never compressed.
	if ext := filepath.Ext(in.Name); in.Compression != "" && len(ext) > 1 && len(ext) < len(in.Name) {
		in.Name = strings.TrimSuffix(in.Name, ext)
	}
	in.Size, in.Compression, in.SHA256Original, in.SizeOriginal, in.Damage = said.Written, "", nil, 0, nil
	return said, nil
}

// sides copies the side inputs that keep does not refuse. change may change the text of one.
func (s *source) sides(keep func(*bundle.SideInput) bool, change func(*bundle.SideInput, []byte) []byte) error {
	s.to.Manifest.SideInputs = nil
	done := map[string]bool{}
	for _, x := range s.b.Manifest.SideInputs {
		if !keep(&x) {
			continue
		}
		s.to.Manifest.SideInputs = append(s.to.Manifest.SideInputs, x)
		if x.Path == "" || x.SHA256 == nil || done[x.Path] {
			continue
		}
		done[x.Path] = true
		data, err := os.ReadFile(s.b.Path(x.Path))
		if err != nil {
			return err
		}
		to, err := s.path(x.Path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, change(&x, data), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// isKeys reports whether a side input is a file of keys.
func isKeys(x *bundle.SideInput) bool { return strings.HasPrefix(x.Kind, "keys") }

// ofRing reports whether a side input proves that segments are as their ring has them, which
// changed packets are not.
func ofRing(x *bundle.SideInput) bool { return x.Kind == "seals" || x.Kind == "pin" }

// export makes the derived bundle.
func (s *source) export(ctx context.Context, output string, o Options, d *bundle.Derived, accept func(*Draft) error) (*bundle.Manifest, error) {
	o.MoveInputs = s.dir != ""
	m, err := o.Exporter.Derive(ctx, s.to, output, o.Additions, func(draft *Draft) error {
		draft.Manifest.Derived = d
		if err := accept(draft); err != nil || o.Seed == nil {
			return err
		}
		return s.prove(draft, d, o.Seed)
	})
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(output)
	if err != nil {
		return nil, err
	}
	e := o.Event
	e.Event = d.Kind
	e.Details = map[string]string{}
	if h := d.From.TagManifest; h != nil {
		e.Details["from_tagmanifest_sha256"] = h.String()
	}
	if d.Policy != nil {
		e.Details["policy_sha256"] = d.Policy.SHA256.String()
	}
	if _, _, err := b.AppendCustody(e); err != nil {
		return nil, err
	}
	return m, nil
}

// origin describes the original, without its name. Its hash is left out if secret is set.
func origin(b *bundle.Bundle, secret bool) (bundle.DerivedFrom, error) {
	f := bundle.DerivedFrom{}
	for i := range b.Manifest.Inputs {
		f.Packets += b.Manifest.Inputs[i].Packets
	}
	if d := b.Manifest.Derived; d != nil {
		f.Derived, f.Lacks = d.Kind, d.Lacks()
	}
	if secret {
		for i := range f.Lacks { // what was left out may be a value that is removed now
			f.Lacks[i] = bundle.Lack{Reason: f.Lacks[i].Reason}
		}
		return f, nil
	}
	entries, _, err := b.Custody()
	if err != nil {
		return f, err
	}
	if len(entries) > 0 {
		f.TagManifest = entries[0].TagManifest
	}
	return f, nil
}

const fully = "every table is made from the packets in this bundle"
