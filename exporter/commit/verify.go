package commit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// VerifyFile checks a proof against the packets of a derived file, which is empty if no packet was
// kept, and against a signed commitment. An error says that the proof is wrong.
func VerifyFile(proof, derived string, want bundle.Commitment) (c Counts, err error) {
	info, err := os.Stat(proof)
	if err != nil {
		return c, err
	}
	if info.Size() > maxProof {
		return c, fmt.Errorf("%w: %d bytes, more than %d", ErrProof, info.Size(), maxProof)
	}
	data, err := os.ReadFile(proof)
	if err != nil {
		return c, err
	}
	x, err := parse(data)
	if err != nil {
		return c, err
	}
	if derived != "" {
		in, done, err := open(derived)
		if err != nil {
			return c, err
		}
		defer done()
		x.derived = in
	}
	return x.verify(want)
}

// reader takes a proof apart.
type reader struct {
	b       []byte
	bad     bool
	rules   []string
	runs    []run
	hashes  []Hash
	keys    []Key
	derived *packets
	split   *splitter
	counts  Counts
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

// parse reads all of a proof but what it says of changed packets.
func parse(data []byte) (*reader, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrProof, magic)
	}
	r := &reader{b: rest, split: newSplitter(), counts: Counts{Rules: map[string]int64{}}}
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
func (r *reader) verify(want bundle.Commitment) (Counts, error) {
	total := uint64(0)
	for _, x := range r.runs {
		total += x.n
	}
	if total != want.Packets {
		return r.counts, fmt.Errorf("%w: it is about %d packets, %d were committed to", ErrProof, total, want.Packets)
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
		if _, err := r.derived.next(); err != io.EOF {
			return r.counts, fmt.Errorf("%w: the derived file has packets that it does not name", ErrProof)
		}
	}
	if r.bad || len(r.b) > 0 {
		return r.counts, errMalformed
	}
	if bundle.Digest(root) != want.Root {
		return r.counts, fmt.Errorf("%w: its root is not the one that was signed", ErrProof)
	}
	return r.counts, nil
}

// leaves gives the leaves of the packets that are there.
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
		p, err := r.packet(index)
		if err != nil {
			return nil, err
		}
		k := &Known{Index: index}
		if runs[0].state == changed {
			k.Leaf = r.changed(p)
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
			k.Leaf = leaf(walk.at(nil, index), p, r.split.head(p))
			r.counts.Unchanged++
		}
		index++
		if left--; left == 0 {
			runs = runs[1:]
		}
		return k, nil
	}
}

func (r *reader) packet(index uint64) (*pcapng.Packet, error) {
	if r.derived == nil {
		return nil, fmt.Errorf("%w: there is no file for packet %d", ErrProof, index)
	}
	p, err := r.derived.next()
	if err == io.EOF {
		return nil, fmt.Errorf("%w: packet %d of the original is not in the derived file", ErrProof, index)
	}
	return p, err
}

// changed is the leaf of a changed packet: of its groups that are as they were, and the hashes of
// the others.
func (r *reader) changed(p *pcapng.Packet) Hash {
	rule, head, n := r.uvarint(maxRules), r.uvarint(uint64(len(p.Data))), r.uvarint(maxGroups)
	var t Tree
	groups(p, int(head), func(g int, content ...[]byte) {
		if uint64(g) >= n || r.bad {
			r.bad = true
			return
		}
		state, h := r.take(1)[0], Hash(r.take(len(Hash{})))
		switch state {
		case unchanged:
			t.Add(groupLeaf(h, content...))
		case changed:
			t.Add(h)
		default:
			r.bad = true
		}
	})
	if rule >= uint64(len(r.rules)) || t.Size() != n {
		r.bad = true
		return Hash{}
	}
	r.counts.Changed++
	r.counts.Rules[r.rules[rule]]++
	return ofGroups(&t)
}
