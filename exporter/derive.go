package exporter

import (
	"context"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Draft is a bundle that is complete but has no name yet.
type Draft struct {
	Manifest *bundle.Manifest // may be changed
	Sources  []string         // paths of the packet files that it was made from, by file_id
	b        *bundle.Builder
	files    []bundle.Payload
}

// Files lists everything below data/ except bundle.json.
func (d *Draft) Files() []bundle.Payload { return d.files }

// Path is where a file of the draft is.
func (d *Draft) Path(rel string) string { return d.b.Path(rel) }

// Add adds a file below data/.
func (d *Draft) Add(rel string, data []byte) error {
	f, err := d.b.Create(rel)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Derive makes a bundle at output from the packets and side inputs that b describes, with b's
// options that change data/. It adds the Kube files, hosts files, alerts and keys of o. accept sees the
// draft before it gets its name; if it returns an error, nothing is left behind. The errors are
// those of Run. With o.MoveInputs, the packet files of b are moved, not copied.
func Derive(ctx context.Context, b *bundle.Bundle, output string, o Options, accept func(*Draft) error) (*bundle.Manifest, error) {
	kube, hosts, alerts := o.Kube, o.Hosts, o.Alerts
	o, err := optionsOf(b, o)
	if err != nil {
		return nil, err
	}
	o.Kube, o.Hosts, o.Alerts = append(o.Kube, kube...), hosts, append(o.Alerts, alerts...)
	sources, err := read.OfBundle(b)
	if err != nil {
		return nil, err
	}
	sources.Keep(o.MoveInputs)
	to, err := bundle.Create(output, o.Custody)
	if err != nil {
		return nil, err
	}
	defer to.Abort()
	defer context.AfterFunc(ctx, to.Abort)()
	m, err := build(ctx, sources, to, o)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	d := &Draft{Manifest: m, Sources: sources.Paths(), b: to}
	if d.files, err = to.Draft(); err != nil {
		return nil, err
	}
	if err := accept(d); err != nil {
		return nil, err
	}
	if err := to.Finish(m); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return m, nil
}

// Traced is a call with the places where its bytes were captured.
type Traced struct {
	Call   *table.Call
	Bodies []*dissect.Body  // see dissect.Body.Places
	Hidden []dissect.Hidden // what no row shows; nil if a place is not known
}

// Trace dissects the packets of b again for which keep is true, or all, and calls each for every
// call. Packets have the numbers that they have in b. Only keys in the packets are used. each runs
// on one goroutine, in the order of the calls, and must not keep the bodies.
func Trace(ctx context.Context, b *bundle.Bundle, o Options, keep func(file int32, index int64) bool, each func(Traced) error) error {
	o, err := optionsOf(b, o)
	if err != nil {
		return err
	}
	o.trace, o.keep, o.Keys = true, keep, nil
	sources, err := read.OfBundle(b)
	if err != nil {
		return err
	}
	keys, err := read.LoadKeys(sources, nil, nil)
	if err != nil {
		return err
	}
	defer keys.Store.Close()
	protocols := o.protocols(keys.Store)
	_, err = pipe(ctx, o.reads(sources, nil, protocols), false, protocols, o, func(r *round.Round) error {
		for s := range r.Out {
			for i := range r.Out[s].Calls {
				c := &r.Out[s].Calls[i]
				t := Traced{Call: c.Row.Base(), Hidden: c.Hidden}
				for _, body := range []*dissect.Body{c.ReqBody, c.RespBody} {
					if body != nil {
						t.Bodies = append(t.Bodies, body)
					}
				}
				if err := each(t); err != nil {
					return err
				}
				for _, body := range t.Bodies {
					body.Release()
				}
			}
		}
		return nil
	})
	return err
}
