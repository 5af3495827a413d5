package custody

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Rings returns verdicts on the rings of a bundle, whose files match its manifests, and on their
// anchors. Each anchor in trust must be in the chain of a ring here. A bundle of a ring has its
// seals.jsonl, so a reader need not trust bundle.json about the segments.
func Rings(b *bundle.Bundle, trust ring.VerifyOptions) []seal.Verdict {
	c := &ringChecker{dir: b.Dir, trust: trust, sealed: map[string]map[ring.ID]*ring.Seal{}}
	c.witnessed(b)
	for i := range b.Manifest.SideInputs {
		if s := &b.Manifest.SideInputs[i]; s.Kind == "seals" {
			c.ring(s.Path)
		}
	}
	c.segments(b.Manifest)
	c.anchors()
	return c.verdicts
}

type ringChecker struct {
	dir      string
	trust    ring.VerifyOptions
	said     []ring.Anchor                     // that the custody log has
	reports  []*ring.Report                    // of the rings with an unbroken chain
	sealed   map[string]map[ring.ID]*ring.Seal // by ring
	verdicts []seal.Verdict
}

func (c *ringChecker) add(check string, s seal.State, place, detail string) {
	c.verdicts = append(c.verdicts, seal.Verdict{Check: check, State: s, Place: place, Detail: detail})
}

// failed reports whether a verdict of a check is false.
func (c *ringChecker) failed(check string) bool {
	return slices.ContainsFunc(c.verdicts, func(v seal.Verdict) bool { return v.Check == check })
}

// witnessed reads what a witness, such as the hub of a cluster, added to the custody log. With keys of witnesses in
// trust, only their anchors count.
func (c *ringChecker) witnessed(b *bundle.Bundle) {
	entries, _, _ := b.Custody() // a damaged log has a verdict of its own
	for i := range entries {
		e := &entries[i]
		var a ring.Anchor
		switch {
		case e.Event == bundle.EventContradicted:
			c.add("anchor", seal.No, "custody/log.jsonl", "a witness reports that this is not the ring that it saw before: "+e.Note)
		case e.Event != bundle.EventAnchored:
		case json.Unmarshal([]byte(e.Details["anchor"]), &a) != nil:
			c.add("anchor", seal.No, "custody/log.jsonl", fmt.Sprintf("entry %d has no readable anchor", e.Seq))
		case len(c.trust.Witnesses) == 0 || slices.ContainsFunc(c.trust.Witnesses, a.By):
			c.said = append(c.said, a)
		}
	}
}

// ring checks one chain, and the anchors that are for it.
func (c *ringChecker) ring(file string) {
	dir := filepath.Join(c.dir, filepath.FromSlash(path.Dir(file)))
	r, err := ring.Open(dir)
	if err != nil {
		c.add("ring", seal.No, file, err.Error())
		return
	}
	opt := c.trust
	opt.Anchors = slices.DeleteFunc(slices.Concat(opt.Anchors, c.said), func(a ring.Anchor) bool { return a.Ring != r.ID })
	report, sealed, err := ring.CheckChain(dir, opt)
	if err != nil {
		c.add("ring", seal.No, file, err.Error())
		return
	}
	for _, p := range report.Problems {
		if p.Record < 0 && p.File == path.Base(file) { // of an anchor in trust
			c.add("anchor", seal.No, file, p.What+", or the bundle is older than the anchor")
		} else {
			c.add("ring", seal.No, file, p.String())
			return
		}
	}
	c.reports, c.sealed[report.Ring] = append(c.reports, report), sealed
}

// segments compares the packet files with their records.
func (c *ringChecker) segments(m *bundle.Manifest) {
	found, unsealed, others := 0, 0, 0
	for i := range m.Inputs {
		in := &m.Inputs[i]
		if in.Segment == nil || in.Segment.Seal == "" {
			others++
			continue
		}
		chain, there := c.sealed[in.Segment.Ring]
		s := chain[ring.ID{Series: in.Segment.Series, Node: in.Node, Sequence: in.Segment.Sequence}]
		switch {
		case s == nil && (in.Segment.Seal != "sealed" || !there && c.failed("ring")):
			unsealed++
		case s == nil:
			c.add("ring", seal.No, in.Path, "bundle.json says that a ring sealed it, but no record here does")
		case s.Size != in.Size || !strings.EqualFold(s.SHA256, in.SHA256.String()):
			c.add("ring", seal.No, in.Path, "it differs from what its ring sealed")
		default:
			found++
		}
	}
	switch {
	case c.failed("ring"):
	case unsealed > 0:
		c.add("ring", seal.NotChecked, "", plural.Sprintf("%d {segment has|segments have} no seal", unsealed))
	case len(c.reports) == 0:
		c.add("ring", seal.NotChecked, "", "no input is a segment of a recorder's ring")
	case others > 0:
		c.add("ring", seal.NotChecked, "", plural.Sprintf("%d {capture is|captures are} of no ring; ", others)+plural.Sprintf("%d {segment|segments} as sealed; ", found)+c.describe())
	default:
		c.add("ring", seal.Yes, "", plural.Sprintf("%d {segment|segments} as sealed; ", found)+c.describe())
	}
}

// describe describes the unbroken chains.
func (c *ringChecker) describe() string {
	records, signed, keys := int64(0), int64(0), []string{}
	for _, r := range c.reports {
		records, signed, keys = records+r.Records, signed+r.Signed, append(keys, r.Keys...)
	}
	text := plural.Sprintf("the chain of %d {record|records} is unbroken", records)
	if len(c.reports) > 1 {
		text = plural.Sprintf("the chains of %d rings with %d {record|records} are unbroken", len(c.reports), records)
	}
	if len(keys) == 0 {
		return text + ", not signed"
	}
	return text + fmt.Sprintf(", %d signed by %s", signed, strings.Join(slices.Compact(keys), ", "))
}

// anchors is the verdict on what witnesses have seen.
func (c *ringChecker) anchors() {
	for _, a := range c.trust.Anchors {
		if !slices.ContainsFunc(c.reports, func(r *ring.Report) bool { return r.Ring == a.Ring }) {
			c.add("anchor", seal.No, "", fmt.Sprintf("the anchor of record %d is for ring %.40q, of which the bundle has no unbroken chain", a.Of, a.Ring))
		}
	}
	if c.failed("anchor") {
		return
	}
	for _, r := range c.reports {
		label := "ring " + r.Ring[:min(len(r.Ring), 8)]
		given := slices.ContainsFunc(c.trust.Anchors, func(a ring.Anchor) bool { return a.Ring == r.Ring })
		seen := fmt.Sprintf("%s up to record %d of %d, seen by %s at %s", label, r.Anchored, r.Records-1, r.AnchoredBy, r.AnchoredAt)
		switch {
		case r.Anchored < 0:
			c.add("anchor", seal.NotChecked, "", label+" has no anchor, so a cut-off end cannot be detected")
		case given:
			c.add("anchor", seal.Yes, "", seen+", an anchor that you gave")
		case r.AnchorsTrusted:
			c.add("anchor", seal.Yes, "", seen+", a witness whose key you gave")
		default:
			c.add("anchor", seal.NotChecked, "", seen+"; give the witness's key with --witness")
		}
	}
}
