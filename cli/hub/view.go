package hub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// maker makes bundles, one at a time, because each may use all of the memory.
type maker struct {
	memory int64
	turn   chan struct{}
}

// alone waits until no other bundle is being made. The function that it returns lets the next begin.
func (m *maker) alone() (done func()) {
	m.turn <- struct{}{}
	return func() { <-m.turn }
}

// make makes the bundle of a part of a snapshot.
func (m *maker) make(ctx context.Context, from, to string, window [2]ring.Time) error {
	defer m.alone()()
	_, err := exporter.Run(ctx, []string{from}, to, exporter.Options{FromNs: int64(window[0]), ToNs: int64(window[1]), Memory: m.memory, Release: version.Release})
	return err
}

// stamp adds what the hub says of a ring to a bundle's custody log, once.
func stamp(path string, s collect.Seen) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	entries, _, err := b.Custody()
	if err != nil {
		return err
	}
	e := bundle.Entry{Event: bundle.EventAnchored, Tool: "pcapsule-hub " + version.Release}
	if s.Problem != "" {
		e.Event, e.Note = bundle.EventContradicted, s.Problem
	} else {
		text, err := json.Marshal(s.Anchor)
		if err != nil {
			return err
		}
		e.Details = map[string]string{"anchor": string(text)}
	}
	if slices.ContainsFunc(entries, func(x bundle.Entry) bool { return x.Event == e.Event }) {
		return nil
	}
	_, _, err = b.AppendCustody(e)
	return err
}

// Namespaces implements download.Cutter.
func (m *maker) Namespaces(ctx context.Context, path string) ([]string, error) {
	b, err := bundle.Open(path)
	if err != nil {
		return nil, err
	}
	return derive.Namespaces(ctx, b)
}

// View implements download.Cutter.
func (m *maker) View(ctx context.Context, bundles []string, v download.View, known *offer.Owners) (download.Cut, error) {
	var owners *bundle.Owners
	if v.Namespaces != nil {
		owners = &bundle.Owners{Until: known.Until}
		for _, x := range known.Had {
			owners.Add(x.Addr, x.Namespace)
		}
		for _, path := range bundles {
			b, err := bundle.Open(path)
			if err != nil {
				return nil, err
			}
			if err := derive.AddOwners(ctx, owners, b); err != nil {
				return nil, err
			}
		}
	}
	return func(ctx context.Context, path, to string) error { return m.cut(ctx, path, to, v, owners) }, nil
}

// cut makes a bundle of a view.
func (m *maker) cut(ctx context.Context, path, to string, v download.View, owners *bundle.Owners) error {
	defer m.alone()()
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	o := derive.Options{Exporter: m, Event: bundle.Entry{Time: *bundle.At(time.Now().UnixNano()), Tool: "pcapsule-hub " + version.Release}}
	c := derive.Choice{Filter: v.Select.Filter, Said: bundle.DerivedCut{Namespaces: v.Namespaces, Pods: v.Select.OfPods(), Packets: v.Select.Filter}, Owners: owners}
	if v.Namespaces != nil && v.Select.Cuts() { // its words may name other namespaces
		c.Said.Pods, c.Said.Packets = "the snapshot's selection", ""
	}
	if accept := v.Select.Accepts(); accept != nil {
		c.Pods = func(p derive.Pod) bool {
			return accept(&resource.Pod{Namespace: p.Namespace, Name: p.Name, Kind: p.Kind, Owner: p.Workload, Labels: p.Labels, Services: p.Services})
		}
	}
	_, err = derive.Cut(ctx, b, to, c, o)
	if errors.Is(err, derive.ErrNothing) {
		return download.ErrNothing
	}
	return err
}

// Derive implements derive.Exporter.
func (m *maker) Derive(ctx context.Context, b *bundle.Bundle, output string, a derive.Additions, accept func(*derive.Draft) error) (*bundle.Manifest, error) {
	o := exporter.Options{Release: version.Release, Memory: m.memory, Kube: a.Kube, Hosts: a.Hosts, Alerts: a.Alerts, Keys: a.Keys, EmbedKeys: a.EmbedKeys, MoveInputs: a.MoveInputs}
	return exporter.Derive(ctx, b, output, o, func(d *exporter.Draft) error {
		return accept(&derive.Draft{Manifest: d.Manifest, Sources: d.Sources, Files: d.Files(), Path: d.Path, Add: d.Add})
	})
}

// Trace implements derive.Exporter.
func (m *maker) Trace(ctx context.Context, b *bundle.Bundle, keep func(file int32, index int64) bool, each func(derive.Traced) error) error {
	return exporter.Trace(ctx, b, exporter.Options{Release: version.Release, Memory: m.memory}, keep, func(x exporter.Traced) error { return each(derive.Traced(x)) })
}
