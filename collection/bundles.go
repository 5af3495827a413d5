package collection

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/forensics"
)

// Access opens and checks bundles by their paths, and perhaps by addresses.
type Access struct {
	Remote   func(path string) bool // it is an address, not a path
	List     func(ctx context.Context, address string) ([]string, error)
	Lake     func(ctx context.Context, f *File) ([]string, error)
	Identify func(ctx context.Context, path string) (*bundle.Report, error) // reads the hashes and the folder custody/ only
	Verify   func(ctx context.Context, path string) (*bundle.Report, error)
	Open     forensics.Opener
}

// Local is access to bundles in folders and ZIPs.
func Local() Access {
	return Access{
		Remote:   func(string) bool { return false },
		Identify: bundle.VerifyCustody,
		Verify: func(ctx context.Context, path string) (*bundle.Report, error) {
			return bundle.Verify(ctx, path, nil)
		},
		Open: bundle.OpenWith,
	}
}

// Bundle is a bundle of a collection. Summary is nil if it cannot be read; Problem then says why.
type Bundle struct {
	Name        string         `json:"name"` // as the file or its pattern names it
	Fingerprint string         `json:"tagmanifest_sha256,omitempty"`
	Problem     string         `json:"problem,omitempty"` // why nothing of it counts
	Outside     bool           `json:"outside_period,omitempty"`
	Seal        string         `json:"seal"`        // yes, no, not_checked
	SealDetail  string         `json:"seal_detail"` // of the signature
	CustodyHead string         `json:"custody_head,omitempty"`
	Summary     *BundleSummary `json:"summary,omitempty"`

	path    string
	none    bool   // the row is no bundle that anything is missing of
	custody string // SHA-256 of what custody/ has
}

// counts reports whether the bundle is a part of the population.
func (b *Bundle) counts() bool { return b.Problem == "" && !b.Outside }

// resolve lists the bundles that the file names. A pattern without a bundle is an entry with a problem.
func resolve(ctx context.Context, f *File, a Access) ([]*Bundle, error) {
	var out []*Bundle
	seen := map[string]bool{}
	add := func(name, path, problem string, none bool) {
		if !seen[path] {
			seen[path] = true
			out = append(out, &Bundle{Name: name, path: path, Problem: problem, none: none, Seal: string(seal.NotChecked)})
		}
	}
	remote := func(entry string, list []string, err error) {
		if err != nil {
			add(entry, entry, "its bundles cannot be listed: "+err.Error(), false)
		} else if len(list) == 0 {
			add(entry, entry, "there is no bundle", true)
		}
		for _, p := range list {
			add(strings.SplitN(p, "?", 2)[0], p, "", false)
		}
	}
	for _, entry := range f.Bundles {
		if a.Remote(entry) {
			list, err := a.List(ctx, entry)
			remote(entry, list, err)
			continue
		}
		path := entry
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.Path), path)
		}
		list := []string{path}
		if strings.ContainsAny(entry, "*?[") {
			var err error
			if list, err = filepath.Glob(path); err != nil {
				return nil, &FileError{f.Path, fmt.Errorf("bundles: %q is not a pattern: %w", entry, err)}
			}
			list = slices.DeleteFunc(list, func(p string) bool { return strings.HasPrefix(filepath.Base(p), ".") })
			if len(list) == 0 {
				add(entry, path, "no bundle matches", true)
			}
		}
		for _, p := range list {
			name := p
			if rel, err := filepath.Rel(filepath.Dir(f.Path), p); err == nil && !filepath.IsAbs(entry) {
				name = filepath.ToSlash(rel)
			}
			add(name, p, "", false)
		}
	}
	if f.Lake != "" && a.Lake != nil {
		list, err := a.Lake(ctx, f)
		remote(f.Lake, list, err)
	}
	if len(out) > maxBundles {
		return nil, &FileError{f.Path, fmt.Errorf("%d bundles, at most %d are allowed", len(out), maxBundles)}
	}
	return out, ctx.Err()
}

// identify reads the hashes and the custody log of a bundle.
func (b *Bundle) identify(ctx context.Context, a Access, trust seal.Trust) error {
	r, err := a.Identify(ctx, b.path)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.Problem = plain(err, b.path)
		return nil
	}
	if !r.OK() {
		b.Problem = r.Problems[0].String()
		return nil
	}
	b.Fingerprint, b.CustodyHead = r.TagManifest.String(), r.CustodyHead.String()
	sum := sha256.New()
	fmt.Fprintln(sum, b.CustodyHead)
	for _, name := range slices.Sorted(maps.Keys(r.CustodyFiles)) {
		fmt.Fprintf(sum, "%q %x\n", name, sha256.Sum256(r.CustodyFiles[name]))
	}
	b.custody = fmt.Sprintf("%x", sum.Sum(nil))
	b.Seal = string(seal.Yes)
	for _, v := range seal.Check(ctx, r, trust) {
		if rank(v.State) > rank(seal.State(b.Seal)) || b.SealDetail == "" {
			b.Seal, b.SealDetail = string(v.State), strings.TrimSuffix(v.Detail, "; compare this fingerprint, or give the key with --signer")
		}
	}
	if len(r.CustodyFiles) == 0 && b.Seal == string(seal.NotChecked) {
		b.SealDetail = "not sealed"
	}
	if b.Seal == string(seal.No) {
		b.Problem = "its seal does not verify: " + b.SealDetail
	}
	return nil
}

// rank orders states from good to bad.
func rank(s seal.State) int {
	return slices.Index([]seal.State{seal.Yes, seal.NotChecked, seal.No}, s)
}

// plain is an error without the path of the bundle, which the row has already.
func plain(err error, path string) string {
	text := err.Error()
	for _, before := range []string{"verifying ", "opening bundle "} {
		text = strings.TrimPrefix(text, before+path+": ")
	}
	text = strings.ReplaceAll(text, path+": ", "")
	if errors.Is(err, fs.ErrNotExist) {
		text = "it does not exist"
	}
	return cmp.Or(text, "unreadable")
}
