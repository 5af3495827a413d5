package commit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// VerifyFile checks a proof against the packets of a derived file, which is empty if no packet was
// kept, and against a signed commitment. An error means that the proof is wrong.
func VerifyFile(proof, derived string, want bundle.Commitment) (c Counts, err error) {
	var to source
	if want.Part == 0 || want.Part > MaxPart {
		return c, fmt.Errorf("%w: %d bytes are not the size of a part", ErrProof, want.Part)
	}
	if derived != "" {
		in, err := openPackets(derived, int(want.Part))
		if err != nil {
			return c, err
		}
		defer in.close()
		to = in
	}
	return verify(proof, to, want.Packets, want.Root)
}

func verify(proof string, to source, n uint64, root bundle.Digest) (c Counts, err error) {
	x, err := readProof(proof)
	if err != nil {
		return c, err
	}
	x.derived = to
	return x.verify(n, root)
}

func readProof(path string) (*reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxProof {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrProof, info.Size(), maxProof)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(data)
}

// reader takes a proof apart.
type reader struct {
	b       []byte
	bad     bool
	rules   []string
	runs    []run
	hashes  []Hash
	keys    []Key
	derived source
	counts  Counts
	hash    *hasher
}

func (r *reader) uvarint(most uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > most {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return make([]byte, min(n, maxRule))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

var errMalformed = fmt.Errorf("%w: it is cut or malformed", ErrProof)

// parse reads a proof without the part about changed packets or rows.
func parse(data []byte) (*reader, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrProof, magic)
	}
	r := &reader{b: rest, hash: newHasher(), counts: Counts{Rules: map[string]int64{}}}
	for range r.uvarint(maxRules) {
		r.rules = append(r.rules, string(r.take(int(r.uvarint(maxRule)))))
	}
	total := uint64(0)
	for n := r.uvarint(uint64(len(r.b))); n > 0 && !r.bad; n-- {
		x := run{r.take(1)[0], r.uvarint(1 << depth)}
		total += x.n
		if x.state >= states || x.n == 0 || total > 1<<depth {
			return nil, errMalformed
		}
		r.runs = append(r.runs, x)
	}
	for n := r.uvarint(uint64(len(r.b) / len(Hash{}))); n > 0 && !r.bad; n-- {
		r.hashes = append(r.hashes, Hash(r.take(len(Hash{}))))
	}
	index := uint64(0)
	for _, x := range r.runs {
		if x.state == unchanged {
			blocks(index, index+x.n, func(uint64, int) {
				if !r.bad {
					r.keys = append(r.keys, Key(r.take(len(Key{}))))
				}
			})
		}
		index += x.n
	}
	if r.bad {
		return nil, errMalformed
	}
	return r, nil
}

// verify computes the root and compares it.
func (r *reader) verify(n uint64, want bundle.Digest) (Counts, error) {
	total := uint64(0)
	for _, x := range r.runs {
		total += x.n
	}
	if total != n {
		return r.counts, fmt.Errorf("%w: it is about %d packets or rows, %d were committed to", ErrProof, total, n)
	}
	v := verifier{proof: r.hashes, next: r.leaves()}
	root := EmptyRoot()
	if total > 0 {
		var err error
		if root, err = v.verify(total); err != nil {
			return r.counts, err
		}
	}
	if r.derived != nil {
		if err := r.derived.next(); err != io.EOF {
			return r.counts, fmt.Errorf("%w: the derived file has more than it names", ErrProof)
		}
	}
	if r.bad || len(r.b) > 0 {
		return r.counts, errMalformed
	}
	if bundle.Digest(root) != want {
		return r.counts, fmt.Errorf("%w: its root is not the one that was signed", ErrProof)
	}
	return r.counts, nil
}

// leaves returns the leaves of the present packets or rows.
func (r *reader) leaves() func() (*Known, error) {
	runs, index, left := r.runs, uint64(0), uint64(0)
	var block, end uint64 // of the key in use
	var walk walker
	return func() (*Known, error) {
		for left == 0 {
			if len(runs) == 0 {
				return nil, nil
			}
			if runs[0].state == removed {
				r.counts.Removed += int64(runs[0].n)
				index += runs[0].n
				runs = runs[1:]
				continue
			}
			left, end = runs[0].n, index
		}
		if err := r.step(index); err != nil {
			return nil, err
		}
		k := &Known{Index: index}
		if runs[0].state == changed {
			k.Leaf = r.changed()
		} else {
			if index == end { // the next key
				stop := index + left
				first := true
				blocks(index, stop, func(at uint64, level int) {
					if first {
						block, end, first = uint64(level), at+1<<level, false
					}
				})
				walk.path[block] = r.keys[0]
				r.keys = r.keys[1:]
				for l := int(block) - 1; l >= 0; l-- {
					walk.path[l] = walk.path[l+1].child(byte(index >> l & 1))
				}
				walk.next, walk.valid = index, true
			}
			k.Leaf = r.hash.of(walk.at(nil, index), r.derived)
			r.counts.Unchanged++
		}
		index++
		if left--; left == 0 {
			runs = runs[1:]
		}
		return k, nil
	}
}

// step advances to the next packet or row, which was made of the original's.
func (r *reader) step(index uint64) error {
	if r.derived == nil {
		return fmt.Errorf("%w: there is no file for what was made of %d", ErrProof, index)
	}
	err := r.derived.next()
	if err == io.EOF {
		return fmt.Errorf("%w: what was made of %d is missing", ErrProof, index)
	}
	return err
}

// changed is the leaf of a changed packet or row: from its unchanged groups, and the hashes of the
// others.
func (r *reader) changed() Hash {
	rule, n, runs := r.uvarint(maxRules), r.uvarint(maxGroups), r.uvarint(maxGroups)
	if rule >= uint64(len(r.rules)) || n > uint64(len(r.b)) || runs > n+1 {
		r.bad = true
	}
	states := make([]byte, 0, min(n, uint64(len(r.b))))
	for i := uint64(0); i < runs && !r.bad; i++ {
		size := r.uvarint(n - uint64(len(states)))
		if size == 0 && i > 0 {
			r.bad = true
		}
		states = append(states, bytes.Repeat([]byte{byte(i & 1)}, int(size))...)
	}
	if r.bad || uint64(len(states)) != n {
		r.bad = true
		return Hash{}
	}
	r.hash.begin()
	x := newChange(r.derived)
	for g, state := range states {
		if state == changed {
			r.hash.add(Hash(r.take(len(Hash{}))))
			r.bad = r.bad || !x.hidden(g)
			continue
		}
		at, content, ok := x.shown(g)
		r.bad = r.bad || !ok
		r.hash.add(r.hash.hash(Salt(r.take(len(Salt{}))), at, content))
	}
	if r.bad || !x.end() {
		r.bad = true
		return Hash{}
	}
	r.counts.Changed++
	r.counts.Rules[r.rules[rule]]++
	r.counts.Add(&x.Counts)
	return r.hash.sum()
}

// stateOf is the state of one packet or row by a proof that was verified.
func (r *reader) stateOf(index uint64) (state byte, ok bool) {
	for _, x := range r.runs {
		if index < x.n {
			return x.state, true
		}
		index -= x.n
	}
	return 0, false
}
