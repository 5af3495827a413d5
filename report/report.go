// Package report makes reports about a case, and checks them.
//
// Build makes the report as a value: statements, figures and tables, each with its queries and with
// the calls and packets behind it. A template lists its sections. The same bundles and the same
// options give the same value; no clock is read. Package render writes the value as a file, and
// Verify checks a file against its bundles.
package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/report/section"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// Options define how to build a report. Questions must have those of package finding/all.
type Options struct {
	Questions  []ask.Question
	Analyzers  []string         // their names
	Frameworks []string         // of controls
	Template   string           // text of the template; empty: the built-in template Name
	Name       string           // name of the template; empty: overview
	Title      string           // empty: the names of the bundles
	From, To   string           // window, in the forms that questions take
	KFL        string           // filter of calls
	Accept     string           // list of accepted findings, as list_findings takes it
	Allow      []string         // allowed outside destinations and pairs of namespaces, as list_findings takes them
	Attest     bool             // the author states what the question controls takes as attest
	Release    string           // of the program that builds the report
	Checks     []*bundle.Report // results of verifications, one per bundle; nil: use the state in the case

	MaskID string              // SHA-256 of the policy that masks; empty: nothing is masked
	Mask   func(string) string // masks secret values in a text; nil: nothing is masked

	Recheck Rechecker // asks a second tool about the calls that the report cites; nil: none is asked

	basis *value.Basis // of the report that is built again
}

// Rechecker asks a second tool about calls by their ids. For a masked report it must not return text
// from packets.
type Rechecker func(ctx context.Context, c *forensics.Case, ids []string, masked bool) (*value.Recheck, error)

// defaultTemplate is the template of a report that names none.
const defaultTemplate = "overview"

// Build makes a report of a case. It returns a *templates.Error for a mistake in the template, an
// *ask.InputError for a wrong window, and otherwise the errors of questions.
func Build(ctx context.Context, c *forensics.Case, o Options) (*value.Report, error) {
	basis, err := o.basisOf(c)
	if err != nil {
		return nil, err
	}
	t, err := templates.Parse(basis.Name, []byte(basis.Template), section.Known(o.Questions, o.Analyzers, o.Frameworks))
	if err != nil {
		return nil, err
	}
	in := section.Input{Case: c, Questions: o.Questions, Template: t, Basis: *basis, Checks: o.Checks}
	if o.Recheck != nil {
		in.Recheck = func(ctx context.Context, ids []string) (*value.Recheck, error) {
			return o.Recheck(ctx, c, ids, o.Mask != nil)
		}
	}
	r, err := section.Build(ctx, in)
	if err != nil || o.Mask == nil {
		return r, err
	}
	return masked(r, o.Mask)
}

// basisOf collects the inputs of the report.
func (o *Options) basisOf(c *forensics.Case) (*value.Basis, error) {
	if o.basis != nil {
		return o.basis, nil
	}
	b := &value.Basis{Release: value.Clean(o.Release, value.MaxText), Name: o.Name, Template: o.Template, Title: o.Title, From: o.From, To: o.To, KFL: o.KFL, Mask: o.MaskID, Accept: o.Accept, Allow: o.Allow, Attest: o.Attest}
	if b.Name == "" {
		b.Name = defaultTemplate
	}
	if b.Template == "" {
		text, err := templates.Builtin(b.Name)
		if err != nil {
			return nil, err
		}
		b.Template = string(text)
	}
	if o.Mask != nil && o.Mask(o.KFL) != o.KFL {
		return nil, &ask.InputError{Field: "kfl", What: "the filter has a secret that the report masks: write it without the secret"}
	}
	b.Indicators, b.GeoIP = ListsOf(c)
	for i, info := range c.Bundles() {
		s, err := sourceOf(info)
		if err != nil {
			return nil, err
		}
		s.Checked = i < len(o.Checks) && o.Checks[i] != nil
		b.Bundles = append(b.Bundles, s)
	}
	return b, nil
}

// ListsOf identifies the lists of indicators and the GeoIP files of a case.
func ListsOf(c *forensics.Case) (indicators, geoip []value.List) {
	if set := c.Indicators(); set != nil {
		for _, f := range set.Sources {
			indicators = append(indicators, value.List{Name: value.Clean(f.File, value.MaxText), SHA256: f.SHA256})
		}
	}
	if set := c.GeoIP(); set != nil {
		for _, f := range set.Files {
			geoip = append(geoip, value.List{Name: value.Clean(f.Name, value.MaxText), SHA256: f.SHA256})
		}
	}
	return indicators, geoip
}

// sourceOf identifies a bundle.
func sourceOf(info forensics.BundleInfo) (value.Source, error) {
	text, err := os.ReadFile(filepath.Join(info.Dir, "tagmanifest-sha256.txt"))
	if err != nil {
		return value.Source{}, fmt.Errorf("reading the hashes of a bundle: %w", err)
	}
	sum := sha256.Sum256(text)
	return value.Source{Name: value.Clean(section.Name(info), value.MaxText), TagManifest: hex.EncodeToString(sum[:])}, nil
}

// masked masks secret values in every text of a report except what identifies it.
func masked(r *value.Report, mask func(string) string) (*value.Report, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("masking a report: %w", err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("masking a report: %w", err)
	}
	tree = maskTree(tree, mask)
	var out value.Report
	if text, err = json.Marshal(tree); err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("masking a report: %w", err)
	}
	out.Basis = r.Basis
	out.Basis.Title = mask(out.Basis.Title)
	return &out, nil
}

// unmaskedKeys are fields that have no text from traffic, and that other parts refer to.
var unmaskedKeys = []string{"id", "call_id", "packets", "kind", "unit", "class", "severity"}

func maskTree(v any, mask func(string) string) any {
	switch x := v.(type) {
	case string:
		return mask(x)
	case []any:
		for i := range x {
			x[i] = maskTree(x[i], mask)
		}
	case map[string]any:
		for k := range x {
			if !slices.Contains(unmaskedKeys, k) {
				x[k] = maskTree(x[k], mask)
			}
		}
	}
	return v
}
