package derive_test

import (
	"context"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// removal is a policy of package redact.
type removal struct{ *redact.Removal }

func (r removal) Search(found func(rule, value, whole string, rest bool)) derive.Search {
	f := r.Finder(found)
	return derive.Search{Row: f.Row, Text: f.Text, Header: f.Header, Payload: f.Payload}
}

// tables makes derived bundles by package exporter.
type tables struct{ exporter.Options }

// Derive implements derive.Exporter.
func (t tables) Derive(ctx context.Context, b *bundle.Bundle, output string, a derive.Additions, accept func(*derive.Draft) error) (*bundle.Manifest, error) {
	o := t.Options
	o.Kube, o.Hosts, o.Keys, o.EmbedKeys, o.MoveInputs = a.Kube, a.Hosts, a.Keys, a.EmbedKeys, a.MoveInputs
	return exporter.Derive(ctx, b, output, o, func(d *exporter.Draft) error {
		return accept(&derive.Draft{Manifest: d.Manifest, Sources: d.Sources, Files: d.Files(), Path: d.Path, Add: d.Add})
	})
}

// Trace implements derive.Exporter.
func (t tables) Trace(ctx context.Context, b *bundle.Bundle, keep func(file int32, index int64) bool, each func(derive.Traced) error) error {
	return exporter.Trace(ctx, b, t.Options, keep, func(x exporter.Traced) error { return each(derive.Traced(x)) })
}
