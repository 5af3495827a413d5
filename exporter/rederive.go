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
	"github.com/pcapsule/pcapsule/exporter/internal/read"
)

// Difference is a column whose values are not what the packets give.
type Difference struct {
	Table  string `json:"table"`
	Column string `json:"column,omitempty"`
	What   string `json:"what"`
}

// Rederived is the outcome of making a bundle's tables again.
type Rederived struct {
	Release     string       `json:"release"`      // that made the bundle
	By          string       `json:"rederived_by"` // release that made them again
	Tables      int          `json:"tables"`
	Columns     int          `json:"columns"`
	Differences []Difference `json:"differences"`
}

// OK reports whether every column is the same.
func (r *Rederived) OK() bool { return len(r.Differences) == 0 }

// ErrNotRederivable means that what the tables were made from is not in the bundle.
var ErrNotRederivable = errors.New("the bundle does not hold what its tables were made from")

// ErrNeedsKeys means that the tables were made with keys that must be given.
var ErrNeedsKeys = errors.New("the bundle's tables cannot be made again without its keys")

// Rederive makes the tables of b again, from the packets and inputs that b holds, in a
// folder for temporary files, and compares the row digests. b is only read.
func Rederive(ctx context.Context, b *bundle.Bundle, o Options) (*Rederived, error) {
	m := b.Manifest
	var err error
	if o, err = optionsOf(b, o); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "pcapsule-rederive-")
	if err != nil {
		return nil, fmt.Errorf("rederiving: %w", err)
	}
	defer os.RemoveAll(tmp)
	sources, err := read.OfBundle(b)
	if err != nil {
		return nil, err
	}
	again, err := bundle.Create(filepath.Join(tmp, "again.pcapsule"), bundle.CreateOptions{})
	if err != nil {
		return nil, err
	}
	defer again.Abort()
	made, err := build(ctx, sources, again, o)
	if err != nil {
		return nil, fmt.Errorf("rederiving: %w", err)
	}
	return compare(m, made), nil
}

// beside reports whether a side input belongs to an input or a ring rather than to the run.
func beside(kind string) bool {
	return kind == "owners" || kind == "events" || kind == "seals" || kind == "pin"
}

// optionsOf reads the options that change data out of the manifest.
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
	o.Kube, o.Hosts = nil, nil
	if err := keysOf(b, &o); err != nil {
		return o, err
	}
	for _, s := range m.SideInputs {
		if strings.HasPrefix(s.Kind, "keys") || beside(s.Kind) {
			continue
		}
		if s.Path == "" {
			return o, fmt.Errorf("%w: it lacks %s", ErrNotRederivable, s.Name)
		}
		if p := b.Path(s.Path); !slices.Contains(o.Kube, p) {
			o.Kube = append(o.Kube, p)
		}
	}
	return o, nil
}

// keysOf finds the keys that a bundle was made with: those that it holds itself, else the
// caller must give them.
func keysOf(b *bundle.Bundle, o *Options) error {
	var needs []string
	for _, s := range b.Manifest.SideInputs {
		switch s.Kind {
		case "keys_used":
			if !strings.HasSuffix(s.Path, ".age") || len(o.Identities) > 0 {
				o.Keys = append(o.Keys, b.Path(s.Path))
			}
		case "keys":
			needs = append(needs, fmt.Sprintf("%s (sha256 %s)", s.Name, s.SHA256Original))
		}
	}
	if len(needs) > 0 && len(o.Keys) == 0 {
		return fmt.Errorf("%w: it was made with keys that it does not hold: %s", ErrNeedsKeys, strings.Join(needs, ", "))
	}
	return nil
}

func compare(want, got *bundle.Manifest) *Rederived {
	r := &Rederived{Release: want.Tool.Release, By: got.Tool.Release, Differences: []Difference{}}
	have := map[string]*bundle.Table{}
	for i := range got.Tables {
		have[got.Tables[i].Name+"/"+got.Tables[i].Protocol] = &got.Tables[i]
	}
	for i := range want.Tables {
		w := &want.Tables[i]
		key := w.Name + "/" + w.Protocol
		name := strings.TrimSuffix(key, "/")
		r.Tables++
		g := have[key]
		delete(have, key)
		if g == nil {
			r.Differences = append(r.Differences, Difference{name, "", "the packets give no such table"})
			continue
		}
		if g.Rows != w.Rows {
			r.Differences = append(r.Differences, Difference{name, "", fmt.Sprintf("%d rows, the packets give %d", w.Rows, g.Rows)})
			continue
		}
		cols := map[string]bundle.Column{}
		for _, c := range g.Columns {
			cols[c.Name] = c
		}
		for _, c := range w.Columns {
			r.Columns++
			if again, ok := cols[c.Name]; !ok {
				r.Differences = append(r.Differences, Difference{name, c.Name, "this release has no such column"})
			} else if again != c {
				r.Differences = append(r.Differences, Difference{name, c.Name, "other values than the packets give"})
			}
		}
	}
	var extra []string
	for k := range have {
		extra = append(extra, strings.TrimSuffix(k, "/"))
	}
	slices.Sort(extra)
	for _, k := range extra {
		r.Differences = append(r.Differences, Difference{k, "", "the packets give it, the bundle lacks it"})
	}
	return r
}
