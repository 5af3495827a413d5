// Package commit commits to packets without showing them: salted Merkle trees whose roots a seal
// signs, and proofs that a packet of a derived bundle is a packet of the sealed one
// (docs/format/derived.md).
//
// Trees are those of RFC 9162 section 2.1. Each leaf is salted from a secret seed, so that nobody
// can try values against a root or a proof.
package commit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
)

// Hash is a node of a tree.
type Hash [sha256.Size]byte

// EmptyRoot is the root of a tree without leaves.
func EmptyRoot() Hash { return sha256.Sum256(nil) }

func nodeHash(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Tree computes a root from leaves that come one after another. It keeps one hash for each
// level. The zero value is a tree without leaves.
type Tree struct {
	n     uint64
	peaks []Hash // roots of the complete subtrees, largest first
}

// Add appends a leaf.
func (t *Tree) Add(leaf Hash) {
	h := leaf
	for n := t.n; n&1 == 1; n >>= 1 {
		h = nodeHash(t.peaks[len(t.peaks)-1], h)
		t.peaks = t.peaks[:len(t.peaks)-1]
	}
	t.peaks = append(t.peaks, h)
	t.n++
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.n }

// Root is the root of the leaves so far.
func (t *Tree) Root() Hash {
	if t.n == 0 {
		return EmptyRoot()
	}
	h := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		h = nodeHash(t.peaks[i], h)
	}
	return h
}

// Prover collects the proof that some leaves of a tree are known: the roots of the largest subtrees
// without a known leaf. The zero value is ready to use.
type Prover struct {
	stack []subtree
	n     uint64
}

// subtree is a complete subtree, with the proof of the leaves in it that are known.
type subtree struct {
	hash  Hash
	known bool
	proof []Hash // of the unknown subtrees in it, left to right; nil if it is unknown as a whole
}

// Add appends a leaf. known is whether the reader of the proof will know it.
func (p *Prover) Add(leaf Hash, known bool) {
	s := subtree{hash: leaf, known: known}
	for n := p.n; n&1 == 1; n >>= 1 {
		last := len(p.stack) - 1
		s = join(p.stack[last], s)
		p.stack = p.stack[:last]
	}
	p.stack = append(p.stack, s)
	p.n++
}

// join joins two subtrees.
func join(left, right subtree) subtree {
	s := subtree{hash: nodeHash(left.hash, right.hash), known: left.known || right.known}
	if s.known {
		s.proof = append(left.unknown(), right.unknown()...)
	}
	return s
}

func (s *subtree) unknown() []Hash {
	if s.known {
		return s.proof
	}
	return []Hash{s.hash}
}

// Proof returns the root and the hashes of the unknown subtrees, left to right.
func (p *Prover) Proof() (root Hash, proof []Hash) {
	if p.n == 0 {
		return EmptyRoot(), nil
	}
	s := p.stack[len(p.stack)-1]
	for i := len(p.stack) - 2; i >= 0; i-- {
		s = join(p.stack[i], s)
	}
	return s.hash, s.unknown()
}

// ErrProof means that a proof does not have the form that its leaves need.
var ErrProof = errors.New("the proof does not fit")

// Known is a leaf that the reader of a proof knows.
type Known struct {
	Index uint64
	Leaf  Hash
}

// Verify computes the root of a tree of n leaves from leaves that are known, in order, and a proof.
// A root does not determine n, which must come from the signer of the root. It returns ErrProof if
// the proof does not have exactly the hashes that it needs.
func Verify(n uint64, known []Known, proof []Hash) (Hash, error) {
	if n == 0 {
		if len(known)+len(proof) > 0 {
			return Hash{}, ErrProof
		}
		return EmptyRoot(), nil
	}
	for i := range known {
		if known[i].Index >= n || i > 0 && known[i].Index <= known[i-1].Index {
			return Hash{}, fmt.Errorf("%w: leaf %d is out of order or outside %d leaves", ErrProof, known[i].Index, n)
		}
	}
	v := verifier{proof: proof, next: func() (*Known, error) {
		if len(known) == 0 {
			return nil, nil
		}
		k := &known[0]
		known = known[1:]
		return k, nil
	}}
	return v.verify(n)
}

// verifier computes a root from known leaves, which come in order, and a proof.
type verifier struct {
	next  func() (*Known, error) // nil after the last
	known *Known
	proof []Hash
}

func (v *verifier) verify(n uint64) (root Hash, err error) {
	if v.known, err = v.next(); err != nil {
		return root, err
	}
	if root, err = v.root(0, n); err != nil {
		return root, err
	}
	if v.known != nil || len(v.proof) > 0 {
		return root, fmt.Errorf("%w: it has %d hashes too many", ErrProof, len(v.proof))
	}
	return root, nil
}

// root is the root of the leaves from from on, n of them.
func (v *verifier) root(from, n uint64) (h Hash, err error) {
	if v.known == nil || v.known.Index >= from+n {
		if len(v.proof) == 0 {
			return h, fmt.Errorf("%w: a hash is missing", ErrProof)
		}
		h = v.proof[0]
		v.proof = v.proof[1:]
		return h, nil
	}
	if n == 1 {
		h = v.known.Leaf
		v.known, err = v.next()
		return h, err
	}
	k := uint64(1) << (bits.Len64(n-1) - 1) // the largest power of two below n
	left, err := v.root(from, k)
	if err != nil {
		return h, err
	}
	right, err := v.root(from+k, n-k)
	return nodeHash(left, right), err
}
