package ring

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Anchor is a countersignature: a witness outside the node has seen the chain up to a
// record, so it cannot be cut or changed up to that record without being noticed. An anchor
// in the witness's file names the ring; one in the chain need not.
type Anchor struct {
	Ring      string            `json:"ring,omitempty"`
	Of        uint64            `json:"of"`                 // number of the record
	Hash      string            `json:"hash"`               // its hash
	Segments  map[string]uint64 `json:"segments,omitempty"` // by series: the last number sealed up to that record
	Witness   string            `json:"witness"`
	PublicKey string            `json:"public_key"` // ed25519, base64
	At        Time              `json:"at"`         // by the witness's clock
	Signature string            `json:"signature"`  // base64, over statement
}

// ErrBroken means that a chain is invalid, so that no witness should sign it.
var ErrBroken = errors.New("the chain of records is broken")

// statement is the text that a witness signs.
func (a *Anchor) statement(ring string) []byte {
	text, _ := json.Marshal(struct {
		Ring     string            `json:"ring"`
		Of       uint64            `json:"of"`
		Hash     string            `json:"hash"`
		Segments map[string]uint64 `json:"segments,omitempty"`
		At       Time              `json:"at"`
	}{ring, a.Of, a.Hash, a.Segments, a.At}) // strings and numbers always encode
	return preAuth(anchorType, text)
}

// Sign returns the anchor with a witness's signature. Its ring must be set.
func (a Anchor) Sign(key ed25519.PrivateKey) Anchor {
	a.PublicKey = publicText(key)
	a.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, a.statement(a.Ring)))
	return a
}

// By reports whether an anchor names a witness's key. Only a check of the chain proves that the key
// signed it.
func (a Anchor) By(key ed25519.PublicKey) bool {
	k, ok := publicKey(a.PublicKey)
	return ok && k.Equal(key)
}

// check verifies the witness's signature.
func (a *Anchor) check(ring string) error {
	if a.Ring != "" && a.Ring != ring {
		return fmt.Errorf("anchor of record %d by %.80q: it is for ring %.40q", a.Of, a.Witness, a.Ring)
	}
	key, ok := publicKey(a.PublicKey)
	sig, err := base64.StdEncoding.DecodeString(a.Signature)
	if !ok || err != nil || !ed25519.Verify(key, a.statement(ring), sig) {
		return fmt.Errorf("anchor of record %d by %.80q: the signature is not valid", a.Of, a.Witness)
	}
	return nil
}

// MakeAnchor verifies the chain of the ring in dir with opt, and returns an anchor of its last
// record for a witness to sign. It does not read segments, so a copy of the seals is enough. For a
// broken chain it returns ErrBroken, and a report with the reasons.
func MakeAnchor(dir string, opt VerifyOptions, witness string) (Anchor, *Report, error) {
	v, err := verifyChain(dir, opt)
	if err != nil {
		return Anchor{}, nil, err
	}
	if !v.rep.OK() {
		return Anchor{}, v.rep, fmt.Errorf("anchoring ring %s: %w", dir, ErrBroken)
	}
	return Anchor{Ring: v.rep.Ring, Of: uint64(len(v.hashes) - 1), Hash: hex.EncodeToString(v.hashes[len(v.hashes)-1][:]), Segments: v.last(), Witness: witness, At: now()}, v.rep, nil
}

// CheckChain does the part of Verify that needs only seals.jsonl: it checks the records, and the
// anchors in opt against them. It also returns the seal of each segment that was ever sealed.
func CheckChain(dir string, opt VerifyOptions) (*Report, map[ID]*Seal, error) {
	v, err := verifyChain(dir, opt)
	if err != nil {
		return nil, nil, err
	}
	return v.rep, v.sealed, nil
}

// last returns the highest sealed number of each series.
func (v *verifier) last() map[string]uint64 {
	m := map[string]uint64{}
	for id := range v.sealed {
		m[id.Series] = max(m[id.Series], id.Sequence)
	}
	return m
}

// anchor checks the anchor in record n, or one from outside if n is -1.
func (v *verifier) anchor(n int64, a *Anchor, outside bool) {
	if err := a.check(v.rep.Ring); err != nil {
		v.rep.problem(n, sealsName, "%v", err)
		return
	}
	if len(v.opt.Witnesses) > 0 && !slices.ContainsFunc(v.opt.Witnesses, a.By) {
		text := fmt.Sprintf("the anchor of record %d is by %.80q, which is not one of the given witnesses", a.Of, a.Witness)
		if outside {
			v.rep.problem(n, sealsName, "%s", text)
		} else {
			v.rep.Notes = append(v.rep.Notes, text)
		}
		return
	}
	if a.Of >= uint64(len(v.hashes)) || !outside && a.Of >= uint64(n) {
		v.rep.problem(n, sealsName, "the anchor of record %d is beyond the end of the chain: its tail was cut%s", a.Of, v.cutSegments(a))
		return
	}
	if hex.EncodeToString(v.hashes[a.Of][:]) != strings.ToLower(a.Hash) {
		v.rep.problem(n, sealsName, "the anchor of record %d has another hash: the chain is not the one that the witness saw%s", a.Of, v.cutSegments(a))
		return
	}
	if int64(a.Of) > v.rep.Anchored {
		v.rep.Anchored, v.rep.AnchoredBy, v.rep.AnchoredAt = int64(a.Of), a.Witness, a.At
	}
}

// cutSegments names the segments that a witness saw sealed and that the chain lacks.
func (v *verifier) cutSegments(a *Anchor) string {
	have := v.last()
	var missing []string
	for _, series := range slices.Sorted(maps.Keys(a.Segments)) {
		first, last := ID{series, v.rep.Node, have[series] + 1}, ID{series, v.rep.Node, a.Segments[series]}
		switch {
		case first.Sequence == last.Sequence:
			missing = append(missing, last.Segment())
		case first.Sequence < last.Sequence:
			missing = append(missing, first.Segment()+" to "+last.Segment())
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "; missing: " + strings.Join(missing, ", ")
}

// Countersign writes a witness's anchor to the chain.
func (w *Writer) Countersign(a Anchor) error {
	if err := a.check(w.chain.ring); err != nil {
		return err
	}
	_, err := w.chain.append(&Record{Kind: KindAnchor, Anchor: &a})
	return err
}
