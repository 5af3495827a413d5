package derive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// RevealPacket reveals the packet of an original with this packet_no. seed is the seed file of the
// original's seal. It fails with ErrSeed if it is that of another bundle.
func RevealPacket(ctx context.Context, b *bundle.Bundle, seed *seal.SeedFile, no int64) (*commit.Reveal, error) {
	where, err := locate(ctx, bundle.TableParts(b.Payload(), b.Path), map[int64]bool{no: true})
	if err != nil {
		return nil, err
	}
	at, ok := where[no]
	if !ok {
		return nil, fmt.Errorf("the bundle has no packet %d", no)
	}
	c, verdicts := seal.CheckCommitments(ctx, commitmentsPath, seed.Commitments, seal.Trust{})
	if c == nil {
		return nil, fmt.Errorf("%w: %s", ErrSeed, verdicts[0].Detail)
	}
	r, err := commit.RevealPacket(b.Path(b.Manifest.Input(at.file).Path), at.file, partOf(c, at.file), uint64(at.index), seed.Seed)
	if err != nil {
		return nil, err
	}
	return r, ofSeed(ctx, r, seed)
}

// partOf is the size of the parts of a file's packets.
func partOf(c *seal.Commitments, file int32) int {
	for _, f := range c.Files {
		if f.FileID == file {
			return int(f.Part)
		}
	}
	return commit.MaxPart // no commitment is to it
}

// RevealRow reveals a row of a table of an original, or some of its groups; of table calls the one
// with this call_no. The errors are those of RevealPacket.
func RevealRow(ctx context.Context, b *bundle.Bundle, seed *seal.SeedFile, name string, row uint64, groups []string) (*commit.Reveal, error) {
	tables := bundle.TableParts(b.Payload(), b.Path)
	if name == "calls" {
		var err error
		if name, row, err = callAt(ctx, tables, int64(row)); err != nil {
			return nil, err
		}
	}
	if tables[name] == nil {
		return nil, fmt.Errorf("the bundle has no table %q", name)
	}
	r, err := commit.RevealRow(tables[name], name, row, seed.Seed, groups)
	if err != nil {
		return nil, err
	}
	return r, ofSeed(ctx, r, seed)
}

// callAt finds a call by its number: the table of its protocol, and the row there.
func callAt(ctx context.Context, tables map[string][]string, no int64) (name string, row uint64, err error) {
	for t, files := range tables {
		if !strings.HasPrefix(t, "calls/") {
			continue
		}
		n := uint64(0)
		err := parts.Each(ctx, files, []string{"call_no"}, func(v []any) error {
			if v[0] == no {
				name, row = t, n
			}
			n++
			return nil
		})
		if err != nil {
			return "", 0, err
		}
	}
	if name == "" {
		return "", 0, fmt.Errorf("the bundle has no call %d", no)
	}
	return name, row, nil
}

// ofSeed checks a revealed packet or row against the commitments of the seed file.
func ofSeed(ctx context.Context, r *commit.Reveal, seed *seal.SeedFile) error {
	c, verdicts := seal.CheckCommitments(ctx, commitmentsPath, seed.Commitments, seal.Trust{})
	if c == nil {
		return fmt.Errorf("%w: %s", ErrSeed, verdicts[0].Detail)
	}
	err := committed(r, c)
	if errors.Is(err, commit.ErrProof) {
		err = fmt.Errorf("%w: %w", ErrSeed, err)
	}
	return err
}

// committed checks a revealed packet or row against a commitment. It fails with commit.ErrProof if
// the commitment is to something else.
func committed(r *commit.Reveal, c *seal.Commitments) error {
	for _, t := range c.Tables {
		if r.Table == t.Table {
			return r.Verify(t.Rows, t.Root)
		}
	}
	for _, f := range c.Files {
		if r.Table == "" && r.FileID == f.FileID {
			return r.Verify(f.Packets, f.Root)
		}
	}
	return fmt.Errorf("%s: the seal has no commitment to it; reveal the packets that it was made from", r.What())
}

// verifyReveal checks a file that reveals a part of the original of a derived bundle.
func verifyReveal(b *bundle.Bundle, d *bundle.Derived, c *seal.Commitments, file string) seal.Verdict {
	v := seal.Verdict{Check: "revealed", State: seal.No, Place: file}
	r, err := commit.ReadReveal(file)
	if err == nil {
		err = committed(r, c)
	}
	if err != nil {
		v.Detail = err.Error()
		return v
	}
	var shown []string
	for _, g := range r.Groups {
		if g.Salt != nil {
			shown = append(shown, g.Name)
		}
	}
	if len(shown) == len(r.Groups) {
		shown = []string{"all of it"}
	}
	v.State = seal.Yes
	v.Detail = fmt.Sprintf("%s is the one that was sealed at %s; it shows %s", r.What(), c.SealedAt, strings.Join(shown, ", "))
	proof := ""
	if i := slices.IndexFunc(d.Proofs, func(p bundle.DerivedProof) bool { return r.Table == "" && p.FileID == r.FileID }); i >= 0 {
		proof = d.Proofs[i].Proof
	}
	if i := slices.IndexFunc(d.Rows, func(p bundle.RowProof) bool { return p.Table == r.Table }); i >= 0 {
		proof = d.Rows[i].Proof
	}
	if proof == "" {
		return v
	}
	if state, err := commit.StateOf(b.Path(proof), r.Index); err == nil {
		v.Detail += "; in this bundle it is " + state
	}
	return v
}
