package derive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// Files of a derived bundle.
const (
	derivedDir      = "data/derived/"
	commitmentsPath = derivedDir + "commitments.dsse.json"
	proofPath       = derivedDir + "proof-%03d.bin"
	rowsPath        = derivedDir + "rows-%s.bin"
)

// commentsRule is the rule of a packet of which only comments were changed.
const commentsRule = "comments"

// ErrSeed means that a seed file is not that of the original's seal.
var ErrSeed = errors.New("the seed file is not that of the bundle's seal")

// prove adds the signed commitments of the original and the proofs of its files to a draft.
func (s *source) prove(draft *Draft, d *bundle.Derived, seed *seal.SeedFile) error {
	c, verdicts := seal.CheckCommitments(context.Background(), commitmentsPath, seed.Commitments, seal.Trust{})
	if c == nil {
		return fmt.Errorf("%w: %s", ErrSeed, verdicts[0].Detail)
	}
	if err := draft.Add(commitmentsPath, seed.Commitments); err != nil {
		return err
	}
	for i := range s.b.Manifest.Inputs {
		in := &s.b.Manifest.Inputs[i]
		p := bundle.DerivedProof{FileID: in.FileID, Proof: fmt.Sprintf(proofPath, in.FileID)}
		derived := ""
		if at := slices.Index(draft.Sources, s.to.Path(in.Path)); at >= 0 {
			p.Path = draft.Manifest.Input(int32(at)).Path
			derived = draft.Path(p.Path)
		}
		rules := s.rules[i]
		data, f, err := commit.Prove(s.b.Path(in.Path), derived, in.FileID, commit.Key(seed.Seed).File(in.FileID), partOf(c, in.FileID), s.keep[i], func(index int64) string {
			if r, ok := rules[index]; ok {
				return r
			}
			return commentsRule
		})
		if err != nil {
			return fmt.Errorf("proving %s: %w", in.Path, err)
		}
		if !slices.Contains(c.Files, f) {
			return fmt.Errorf("%w: its commitment to %s is to other packets", ErrSeed, in.Path)
		}
		if err := draft.Add(p.Proof, data); err != nil {
			return err
		}
		d.Proofs = append(d.Proofs, p)
	}
	return s.proveRows(draft, d, seed, c)
}

// proveRows adds the proofs of the tables that cannot be made from packets. A merged bundle has rows of
// other inputs too, and no such proofs; neither has a table whose rows are in another order now.
func (s *source) proveRows(draft *Draft, d *bundle.Derived, seed *seal.SeedFile, c *seal.Commitments) error {
	if d.Kind == bundle.Merged {
		return nil
	}
	was, now := bundle.TableParts(s.b.Payload(), s.b.Path), bundle.TableParts(draft.Files, draft.Path)
	for _, name := range commit.SideTables {
		if !slices.ContainsFunc(c.Tables, func(t bundle.TableCommitment) bool { return t.Table == name }) {
			continue // sealed before there were commitments to rows
		}
		data, t, err := commit.ProveRows(was[name], now[name], name, commit.Key(seed.Seed))
		if errors.Is(err, commit.ErrOrder) {
			continue
		}
		if err != nil {
			return fmt.Errorf("proving table %s: %w", name, err)
		}
		if !slices.Contains(c.Tables, t) {
			return fmt.Errorf("%w: its commitment to table %s is to other rows", ErrSeed, name)
		}
		p := bundle.RowProof{Table: name, Proof: fmt.Sprintf(rowsPath, name)}
		if err := draft.Add(p.Proof, data); err != nil {
			return err
		}
		d.Rows = append(d.Rows, p)
	}
	return nil
}

// Verify checks a derived bundle's statements about its original, and files that reveal parts of
// it. It returns no verdict for a bundle that is not derived.
func Verify(ctx context.Context, b *bundle.Bundle, trust seal.Trust, reveals ...string) []seal.Verdict {
	d := b.Manifest.Derived
	if d == nil {
		return nil
	}
	no := func(place, what string) []seal.Verdict {
		return []seal.Verdict{{Check: "derived", State: seal.No, Place: place, Detail: what}}
	}
	v := seal.Verdict{Check: "derived", State: seal.NotChecked, Place: "data/bundle.json", Detail: stated(d)}
	if err := agrees(d, b.Payload()); err != nil {
		return no(v.Place, err.Error())
	}
	if !slices.ContainsFunc(b.Payload(), func(p bundle.Payload) bool { return p.Path == commitmentsPath }) {
		v.Detail += "; stated, not proved: it was made without the seed of the original's seal"
		list := []seal.Verdict{v}
		for _, file := range reveals {
			list = append(list, seal.Verdict{Check: "revealed", State: seal.No, Place: file, Detail: "the bundle has no commitments of its original"})
		}
		return list
	}
	data, err := readLimited(b.Path(commitmentsPath))
	if err != nil {
		return no(commitmentsPath, err.Error())
	}
	c, list := seal.CheckCommitments(ctx, commitmentsPath, data, trust)
	if c == nil {
		return list
	}
	got, place, err := verifyProofs(ctx, b, d, c)
	if err != nil {
		return append(list, no(place, err.Error())...)
	}
	if err := proved(d, got, c); err != nil {
		return append(list, no(v.Place, err.Error())...)
	}
	proven := seal.Verdict{Check: "derived", State: seal.Yes, Place: v.Place, Detail: provenOf(&got, c)}
	if got.Unproved > 0 {
		proven.State = seal.NotChecked
	}
	v.Check = "stated"
	v.Detail += rulesOf(&got) + "; only the maker of this bundle states this, and what its packet files have beside packets: interfaces, names, counts of losses"
	list = append(list, proven)
	list = append(append(list, v), verifyRows(b, d, c)...)
	for _, file := range reveals {
		list = append(list, verifyReveal(b, d, c, file))
	}
	return list
}

// provenOf says what proofs show. It has nothing that only the maker of the derived bundle says.
func provenOf(got *commit.Counts, c *seal.Commitments) string {
	text := fmt.Sprintf("packets of the original, sealed at %s: %d unchanged, %d changed, %d removed", c.SealedAt, got.Unchanged, got.Changed, got.Removed)
	if got.Changed > 0 {
		text += fmt.Sprintf("; bytes of changed packets: %d masked, %d not proved, all others unchanged; checksums corrected: %d; options removed: %d",
			got.Masked, got.Stated, got.Checksums, got.Options)
	}
	if got.Unproved > 0 {
		text += fmt.Sprintf("; changed packets with bytes that are not proved, which the maker of this bundle may have written: %d", got.Unproved)
	}
	return text
}

// rulesOf names the rules of a redaction, as a proof has them.
func rulesOf(got *commit.Counts) string {
	var rules []string
	for _, r := range slices.Sorted(maps.Keys(got.Rules)) {
		rules = append(rules, fmt.Sprintf("%s %d", r, got.Rules[r]))
	}
	if len(rules) == 0 {
		return ""
	}
	return "; rules: " + strings.Join(rules, ", ")
}

// verifyRows checks the proofs of the tables that cannot be made from packets.
func verifyRows(b *bundle.Bundle, d *bundle.Derived, c *seal.Commitments) (list []seal.Verdict) {
	parts := bundle.TableParts(b.Payload(), b.Path)
	for _, t := range c.Tables {
		if !slices.Contains(commit.SideTables, t.Table) {
			continue
		}
		v := seal.Verdict{Check: "rows", State: seal.NotChecked, Place: "data/tables/" + t.Table, Detail: "no proof of its rows"}
		if i := slices.IndexFunc(d.Rows, func(p bundle.RowProof) bool { return p.Table == t.Table }); i >= 0 {
			got, err := commit.VerifyRows(b.Path(fmt.Sprintf(rowsPath, t.Table)), parts[t.Table], t)
			v.State, v.Detail = seal.Yes, fmt.Sprintf("rows of the original: %d unchanged, %d removed", got.Unchanged, got.Removed)
			if got.Changed > 0 {
				v.State = seal.NotChecked
				v.Detail += fmt.Sprintf(", %d changed, with %d groups of columns that are not proved", got.Changed, got.Stated)
			}
			if err != nil {
				v.State, v.Detail = seal.No, err.Error()
			}
		}
		list = append(list, v)
	}
	if slices.ContainsFunc(b.Manifest.Tables, func(t bundle.Table) bool { return t.Name == "alerts" && t.Rows > 0 }) {
		list = append(list, seal.Verdict{Check: "rows", State: seal.NotChecked, Place: "data/tables/alerts", Detail: "nothing proves that other programs said so of the original"})
	}
	return list
}

// stated has the statements of a derived bundle about itself.
func stated(d *bundle.Derived) string {
	text := d.Kind
	if d.From.TagManifest != nil {
		text += " from the bundle with the tagmanifest sha256 " + d.From.TagManifest.String()[:16] + "…"
	}
	text += fmt.Sprintf(": %d packets unchanged, %d changed, %d removed", d.Packets.Unchanged, d.Packets.Changed, d.Packets.Removed)
	if d.Policy != nil {
		name := d.Policy.Name
		if name == "" {
			name = "without a name"
		}
		text += fmt.Sprintf(", by policy %s (sha256 %s…)", name, d.Policy.SHA256.String()[:16])
	}
	if d.Cut != nil {
		text += "; that it has all packets of its filter is not proved"
	}
	return text + "; rederivable: " + d.Rederivable
}

// verifyProofs checks the proof of each committed file, and that every packet file has one.
func verifyProofs(ctx context.Context, b *bundle.Bundle, d *bundle.Derived, c *seal.Commitments) (sum commit.Counts, place string, err error) {
	sum.Rules = map[string]int64{}
	proofs := map[int32]bundle.DerivedProof{}
	left := map[string]bool{}
	for i := range b.Manifest.Inputs {
		left[b.Manifest.Inputs[i].Path] = true
	}
	for _, p := range d.Proofs {
		if _, twice := proofs[p.FileID]; twice || p.Proof != fmt.Sprintf(proofPath, p.FileID) {
			return sum, "data/bundle.json", fmt.Errorf("its list of proofs is wrong at file %d", p.FileID)
		}
		proofs[p.FileID] = p
	}
	for _, f := range c.Files {
		if ctx.Err() != nil {
			return sum, "", context.Cause(ctx)
		}
		p, ok := proofs[f.FileID]
		delete(proofs, f.FileID)
		if !ok || p.Path != "" && !left[p.Path] {
			return sum, "data/bundle.json", fmt.Errorf("no proof for file %d of the original", f.FileID)
		}
		derived := ""
		if p.Path != "" {
			delete(left, p.Path)
			derived = b.Path(p.Path)
		}
		got, err := commit.VerifyFile(b.Path(p.Proof), derived, f)
		if err != nil {
			return sum, p.Proof, err
		}
		sum.Add(&got)
	}
	if len(proofs)+len(left) > 0 {
		return sum, "data/bundle.json", errors.New("it has packets or proofs that the original's seal does not know")
	}
	return sum, "", nil
}

// readLimited reads the envelope of commitments.
func readLimited(path string) ([]byte, error) {
	const most = 16 << 20
	if info, err := os.Stat(path); err != nil || info.Size() > most {
		return nil, errors.Join(err, fmt.Errorf("no envelope of at most %d bytes", most))
	}
	return os.ReadFile(path)
}
