package cli

import (
	"context"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/stores"
	"github.com/pcapsule/pcapsule/collection"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
	"github.com/pcapsule/pcapsule/store"
)

// collected is access to the bundles of a collection: in folders, in stores, and in a lake.
func (e *env) collected(ctx context.Context) collection.Access {
	a := collection.Local()
	a.Remote = store.IsAddress
	a.List = stores.List
	a.Lake = func(ctx context.Context, f *collection.File) ([]string, error) {
		return e.selected(ctx, []string{"bundles", "--json", "--catalog=" + f.Lake, "--since=" + f.Period.From, "--until=" + f.To.Format("2006-01-02")})
	}
	local := a
	a.Identify = func(ctx context.Context, path string) (*bundle.Report, error) {
		if store.IsAddress(path) {
			return stores.Check(ctx, path, false)
		}
		return local.Identify(ctx, path)
	}
	a.Verify = func(ctx context.Context, path string) (*bundle.Report, error) {
		if store.IsAddress(path) {
			return stores.Check(ctx, path, true)
		}
		return local.Verify(ctx, path)
	}
	a.Open = func(path string, o bundle.OpenOptions) (*bundle.Bundle, error) {
		if !store.IsAddress(path) {
			return local.Open(path, o)
		}
		b, h, err := stores.Open(ctx, path, &e.Streams)
		if h != nil {
			e.held = append(e.held, h)
		}
		return b, err
	}
	return a
}

// checkCollection checks a report about a collection.
func (e *env) checkCollection(ctx context.Context, args []string, form render.Form, file []byte, r *value.Report) (*checkedReport, error) {
	if len(args) != 2 {
		return nil, exit.Usagef("%s is about a collection: give its file, %s", args[0], console.Line(r.Basis.Title))
	}
	again, different, err := reportAgain(ctx, args[1], r, e.collected(ctx))
	if err != nil {
		return nil, err
	}
	out := &checkedReport{report: r, file: file}
	if different != "" {
		out.check = &report.Check{Title: r.Title, Kind: r.Kind, Differences: []string{different}}
		return out, nil
	}
	out.check, err = report.Repeat(form, file, r, again)
	return out, err
}
