package derive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// agrees checks that what a derived bundle says of itself is possible: its statements fit its kind, each other, and its
// files in data/derived.
func agrees(d *bundle.Derived, files []bundle.Payload) error {
	switch {
	case d.Kind != bundle.Redacted && d.Kind != bundle.Cut && d.Kind != bundle.Merged:
		return fmt.Errorf("kind %q is not %s, %s or %s", d.Kind, bundle.Redacted, bundle.Cut, bundle.Merged)
	case (d.Kind == bundle.Redacted) != (d.Policy != nil), (d.Kind == bundle.Cut) != (d.Cut != nil), d.Kind != bundle.Merged && len(d.Added) > 0:
		return fmt.Errorf("what it states about its policy, cut or added files contradicts its kind %s", d.Kind)
	case d.Kind == bundle.Redacted && d.From.TagManifest != nil:
		return errors.New("a redacted bundle must not have the hash of its original")
	case (d.From.Derived == "") && len(d.From.Lacks) > 0, d.From.Derived == bundle.Redacted && len(d.From.Lacks) == 0:
		return fmt.Errorf("it says that its original was derived (%q) and lacked %d things", d.From.Derived, len(d.From.Lacks))
	}
	if err := counts(d); err != nil {
		return err
	}
	want := map[string]bool{}
	for _, p := range d.Proofs {
		want[p.Proof] = true
	}
	for _, p := range d.Rows {
		if want[p.Proof] || p.Proof != fmt.Sprintf(rowsPath, p.Table) {
			return fmt.Errorf("its list of proofs is wrong at table %.100q", p.Table)
		}
		want[p.Proof] = true
	}
	if len(want) > 0 {
		want[commitmentsPath] = true
	}
	for _, f := range files {
		if strings.HasPrefix(f.Path, derivedDir) && !want[f.Path] {
			return fmt.Errorf("%s belongs to none of its proofs", f.Path)
		}
		delete(want, f.Path)
	}
	for _, p := range d.Proofs {
		if want[p.Proof] {
			return fmt.Errorf("%s is missing", p.Proof)
		}
	}
	if len(want) > 0 {
		return errors.New("it lists proofs, but their files are missing")
	}
	return nil
}

// counts checks the packets and rules that a derived bundle states.
func counts(d *bundle.Derived) error {
	p := d.Packets
	most, sum := int64(0), int64(0)
	for _, n := range d.Rules {
		most, sum = max(most, n), sum+n
	}
	hidden := d.Cut != nil && len(d.Cut.Namespaces) > 0 // the counts of the original are about other namespaces too
	switch {
	case p.Unchanged < 0 || p.Changed < 0 || p.Removed < 0 || !hidden && p.Unchanged+p.Changed+p.Removed != d.From.Packets:
		return fmt.Errorf("%d packets unchanged, %d changed and %d removed are not the %d of the original", p.Unchanged, p.Changed, p.Removed, d.From.Packets)
	case d.Kind != bundle.Redacted && p.Changed > 0 || d.Kind == bundle.Merged && p.Removed > 0:
		return fmt.Errorf("a bundle that is %s has no changed or removed packets", d.Kind)
	case most > p.Changed || sum < p.Changed: // a packet can be changed by several rules
		return fmt.Errorf("its rules do not add up to %d changed packets", p.Changed)
	}
	return nil
}

// proved compares what a derived bundle states with what its proofs show, and its original's seal.
func proved(d *bundle.Derived, got commit.Counts, c *seal.Commitments) error {
	was := int64(0)
	for _, f := range c.Files {
		was += int64(f.Packets)
	}
	hidden := d.Cut != nil && len(d.Cut.Namespaces) > 0
	said := d.Packets
	comments := got.Bare // such a packet has the data, time and length of the original
	switch {
	case !hidden && (got.Removed != said.Removed || was != d.From.Packets),
		got.Unchanged+got.Changed != said.Unchanged+said.Changed,
		said.Changed > got.Changed, said.Changed < got.Changed-comments:
		return fmt.Errorf("it says %+v of %d packets, the proofs show %+v of %d", said, d.From.Packets, bundle.DerivedCount{Unchanged: got.Unchanged, Changed: got.Changed, Removed: got.Removed}, was)
	}
	for rule, n := range got.Rules {
		if rule != commentsRule && n > d.Rules[rule] {
			return fmt.Errorf("it says that rule %.100q changed %d packets, the proofs name it for %d", rule, d.Rules[rule], n)
		}
	}
	return nil
}
