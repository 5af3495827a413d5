package exporter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/join"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
)

// Difference is one difference between a bundle and the result of importing its packets again.
type Difference = bundle.Difference

// Rederived is the result of making a bundle again from its packets.
type Rederived = bundle.Rederived

// ErrNotRederivable means that the bundle does not contain all inputs of its tables.
var ErrNotRederivable = errors.New("the bundle does not contain everything that its tables were made from")

// ErrNeedsKeys means that the tables were made with keys that the caller must supply.
var ErrNeedsKeys = bundle.ErrNeedsKeys

// Rederive makes everything below data/ again, from the packets and inputs in b, in a folder for
// temporary files, and compares it with the files of b: the rows of both, the row digests, and
// every field of bundle.json. If this release made b, files must be identical. b is only read.
func Rederive(ctx context.Context, b *bundle.Bundle, o Options) (*Rederived, error) {
	x, err := makeAgain(ctx, b, o)
	if err != nil {
		return nil, err
	}
	defer x.remove()
	return x.compare(ctx, b)
}

// remade is everything below data/ of a bundle, made again from its packets.
type remade struct {
	release string
	tmp     string
	builder *bundle.Builder
	m       *bundle.Manifest
	files   []bundle.Payload
}

func makeAgain(ctx context.Context, b *bundle.Bundle, o Options) (*remade, error) {
	o, err := optionsOf(b, o)
	if err != nil {
		return nil, err
	}
	x := &remade{release: o.Release}
	if err := x.make(ctx, b, o); err != nil {
		x.remove()
		return nil, fmt.Errorf("rederiving: %w", err)
	}
	return x, nil
}

func (x *remade) make(ctx context.Context, b *bundle.Bundle, o Options) (err error) {
	sources, err := read.OfBundle(b)
	if err != nil {
		return err
	}
	if x.tmp, err = os.MkdirTemp("", "pcapsule-rederive-"); err != nil {
		return err
	}
	if x.builder, err = bundle.Create(filepath.Join(x.tmp, "again.pcapsule"), bundle.CreateOptions{}); err != nil {
		return err
	}
	if x.m, err = build(ctx, sources, x.builder, o); err != nil {
		return err
	}
	x.files, err = x.builder.Draft()
	return err
}

// remove removes the temporary files.
func (x *remade) remove() {
	if x.builder != nil {
		x.builder.Abort()
	}
	if x.tmp != "" {
		os.RemoveAll(x.tmp)
	}
}

func (x *remade) compare(ctx context.Context, b *bundle.Bundle) (*Rederived, error) {
	m := b.Manifest
	c := &comparison{b: b, again: x.builder, made: x.m, files: x.files, same: m.Tool.Release == x.release,
		r: &Rederived{Release: m.Tool.Release, By: x.release, Differences: []Difference{}, Unproven: []string{}}}
	if err := c.run(ctx); err != nil {
		return nil, fmt.Errorf("rederiving: %w", err)
	}
	return c.r, nil
}

// beside reports whether a side input belongs to an input or a ring rather than to the run.
func beside(kind string) bool {
	return kind == "owners" || kind == "events" || kind == "seals" || kind == "pin"
}

// optionsOf reads the options that affect data from the manifest.
func optionsOf(b *bundle.Bundle, o Options) (Options, error) {
	m := b.Manifest
	var err error
	o.Filter = m.Filters.BPF
	if m.Filters.FromNs != nil {
		o.FromNs = int64(*m.Filters.FromNs)
	}
	if m.Filters.ToNs != nil {
		o.ToNs = int64(*m.Filters.ToNs)
	}
	var keys []string
	for k := range m.Options {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if k == "memory" {
			if o.Memory, err = strconv.ParseInt(m.Options[k], 10, 64); err != nil {
				return o, fmt.Errorf("option %s: %w", k, err)
			}
			continue
		}
		if k == "only" || k == "without" {
			list := map[string]*[]string{"only": &o.Only, "without": &o.Without}[k]
			*list = strings.Split(m.Options[k], ",")
			continue
		}
		if !strings.HasPrefix(k, "decode_as.") {
			return o, fmt.Errorf("%w: option %s is not known to this release", ErrNotRederivable, k)
		}
		left, name, _ := strings.Cut(m.Options[k], "=")
		transport, port, _ := strings.Cut(left, "/")
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return o, fmt.Errorf("option %s: %q: %w", k, m.Options[k], err)
		}
		d := dissect.DecodeAs{Port: uint16(n), Protocol: name}
		if transport == "udp" {
			d.Transport = dissect.UDP
		}
		o.DecodeAs = append(o.DecodeAs, d)
	}
	if err := o.checkProtocols(); err != nil {
		return o, fmt.Errorf("%w: %w", ErrNotRederivable, err)
	}
	o.Kube, o.Hosts, o.Alerts = nil, nil, nil
	if err := keysOf(b, &o); err != nil {
		return o, err
	}
	for _, s := range m.SideInputs {
		if strings.HasPrefix(s.Kind, "keys") || beside(s.Kind) || s.Path == "" || s.SHA256 == nil { // nothing of it was used
			continue
		}
		to := &o.Kube
		if s.Kind == "alerts" {
			to = &o.Alerts
		}
		if p := b.Path(s.Path); !slices.Contains(*to, p) {
			*to = append(*to, p)
		}
	}
	return o, nil
}

// keysOf finds the keys that a bundle was made with: those in the bundle, else the caller's.
func keysOf(b *bundle.Bundle, o *Options) error {
	var needs []string
	for _, s := range b.Manifest.SideInputs {
		switch s.Kind {
		case "keys_used":
			if s.Path != join.SealedKeysPath || len(o.Identities) > 0 {
				o.Keys = append(o.Keys, b.Path(s.Path))
			}
			o.EmbedKeys = o.EmbedKeys || s.Path != join.SealedKeysPath
		case "keys":
			needs = append(needs, fmt.Sprintf("%s (sha256 %s)", s.Name, s.SHA256Original))
		}
	}
	if len(needs) > 0 && len(o.Keys) == 0 {
		return fmt.Errorf("%w: it was made with keys that it does not contain: %s", ErrNeedsKeys, strings.Join(needs, ", "))
	}
	return nil
}
