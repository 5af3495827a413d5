package commit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// magic begins a proof.
const magic = "pcapsule proof 2\n"

// Limits of a proof.
const (
	maxProof  = 1 << 30 // bytes of the file
	maxRules  = 4096
	maxRule   = 256 // bytes of the name of one
	maxGroups = 1 << 28
)

// States of a packet or row of the original.
const (
	unchanged = iota // it is in the derived file, byte for byte
	changed          // it is there, and some of its groups differ
	removed          // it is not there
	states
)

// Counts are the packets of an original file, or the rows of an original table.
type Counts struct {
	Unchanged, Changed, Removed int64
	Rules                       map[string]int64 // what was changed, by rule

	// Of changed packets. Every other byte of them is proved to be the original's.
	Masked    int64 // bytes that are a mask
	Checksums int64 // that are right for what the packet has now
	Options   int64 // that were removed
	Stated    int64 // bytes that whoever made the derived file wrote; of rows: groups
	Unproved  int64 // packets or rows with them
	Bare      int64 // changed packets of which only options were removed
}

// Add adds the counts of another file.
func (c *Counts) Add(o *Counts) {
	c.Unchanged, c.Changed, c.Removed = c.Unchanged+o.Unchanged, c.Changed+o.Changed, c.Removed+o.Removed
	c.Masked, c.Checksums, c.Options = c.Masked+o.Masked, c.Checksums+o.Checksums, c.Options+o.Options
	c.Stated, c.Unproved, c.Bare = c.Stated+o.Stated, c.Unproved+o.Unproved, c.Bare+o.Bare
	if c.Rules == nil {
		c.Rules = map[string]int64{}
	}
	for r, n := range o.Rules {
		c.Rules[r] += n
	}
}

// run is a number of packets or rows in one state.
type run struct {
	state byte
	n     uint64
}

// Prove makes the proof that the packets of a derived file come from an original, to whose packets
// key committed. keep selects the packets of the derived file, and rule is why one was changed.
// Prove also returns the commitment, for comparison with the signed one. derived may be empty if no
// packet was kept.
func Prove(original, derived string, id int32, key Key, part int, keep func(index int64) bool, rule func(index int64) string) (proof []byte, f bundle.Commitment, err error) {
	from, err := openPackets(original, part)
	if err != nil {
		return nil, f, err
	}
	defer from.close()
	var to source
	if derived != "" {
		in, err := openPackets(derived, part)
		if err != nil {
			return nil, f, err
		}
		defer in.close()
		to = in
	}
	proof, n, root, err := prove(from, to, key, keep, rule)
	return proof, bundle.Commitment{FileID: id, Packets: n, Part: uint32(part), Root: root}, err
}

func prove(from, to source, key Key, keep func(index int64) bool, rule func(index int64) string) (proof []byte, n uint64, root bundle.Digest, err error) {
	x := prover{key: key, hash: newHasher(), rules: map[string]uint64{}, from: from, to: to, rule: rule}
	for {
		err := from.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = x.leaf(keep(int64(x.tree.n)))
		}
		if err != nil {
			return nil, 0, root, err
		}
	}
	if to != nil && to.next() != io.EOF {
		return nil, 0, root, errors.New("the derived file has more than was kept")
	}
	top, hashes := x.tree.Proof()
	return x.encode(hashes), x.tree.n, bundle.Digest(top), nil
}

// prover makes a proof.
type prover struct {
	key      Key
	hash     *hasher
	from, to source // to is nil if nothing was kept
	rule     func(int64) string
	walk     walker
	tree     Prover
	runs     []run
	rules    map[string]uint64
	names    []string
	changes  bytes.Buffer // of what was changed
}

// leaf adds what from is at.
func (x *prover) leaf(keep bool) error {
	index := x.tree.n
	k := x.walk.at(&x.key, index)
	x.tree.Add(x.hash.of(k, x.from), keep)
	if !keep {
		x.state(removed)
		return nil
	}
	if x.to == nil {
		return errors.New("something was kept, but there is no derived file")
	}
	if err := x.to.next(); err != nil {
		return fmt.Errorf("reading what was made of %d: %w", index, err)
	}
	if x.from.same(x.to) {
		x.state(unchanged)
		return nil
	}
	return x.change(k, int64(index))
}

// change adds what was changed. The groups of a derived packet are those of the original, in their
// order, without some of its options.
func (x *prover) change(k Key, index int64) error {
	var now [][]byte
	x.to.groups(func(_ int, _ uint32, content []byte) { now = append(now, bytes.Clone(content)) })
	_, isPacket := x.from.(*packets)
	var states []byte
	var values bytes.Buffer
	x.hash.salts.reset(&k)
	options, differs := -1, false
	if p, ok := x.from.(*packets); ok {
		options = p.optionsAt()
	}
	var err error
	x.from.groups(func(g int, at uint32, content []byte) {
		salt := x.hash.salts.of(g)
		state := byte(changed)
		switch {
		case len(now) == 0:
		case bytes.Equal(content, now[0]):
			state, now = unchanged, now[1:]
		case isPacket && options >= 0 && g >= options: // removed
		case isPacket && (g == 0 || len(content) != len(now[0])):
			err = fmt.Errorf("what was made of %d has another length, time or interface", index)
		default:
			now = now[1:]
		}
		states = append(states, state)
		if state == unchanged {
			values.Write(salt[:])
			return
		}
		differs = true
		h := x.hash.hash(salt, at, content)
		values.Write(h[:])
	})
	if err == nil && len(now) > 0 {
		err = fmt.Errorf("what was made of %d has options that the original lacks", index)
	}
	if err != nil {
		return err
	}
	if !differs {
		x.state(unchanged)
		return nil
	}
	x.state(changed)
	name := x.rule(index)
	no, ok := x.rules[name]
	if !ok {
		no = uint64(len(x.names))
		x.rules[name] = no
		x.names = append(x.names, name)
	}
	var runs []uint64
	for i, s := range states {
		if i == 0 && s == changed {
			runs = append(runs, 0)
		}
		if i == 0 || s != states[i-1] {
			runs = append(runs, 0)
		}
		runs[len(runs)-1]++
	}
	x.uvarint(no, uint64(len(states)), uint64(len(runs)))
	x.uvarint(runs...)
	x.changes.Write(values.Bytes())
	return nil
}

func (x *prover) state(s byte) {
	if n := len(x.runs); n > 0 && x.runs[n-1].state == s {
		x.runs[n-1].n++
		return
	}
	x.runs = append(x.runs, run{s, 1})
}

func (x *prover) uvarint(list ...uint64) {
	for _, n := range list {
		x.changes.Write(binary.AppendUvarint(nil, n))
	}
}

// encode writes the proof: rules, runs, the hashes of removed subtrees, the keys of unchanged runs,
// and the salts and leaves of changed packets.
func (x *prover) encode(hashes []Hash) []byte {
	out := []byte(magic)
	out = binary.AppendUvarint(out, uint64(len(x.names)))
	for _, name := range x.names {
		out = binary.AppendUvarint(out, uint64(len(name)))
		out = append(out, name...)
	}
	out = binary.AppendUvarint(out, uint64(len(x.runs)))
	for _, r := range x.runs {
		out = append(out, r.state)
		out = binary.AppendUvarint(out, r.n)
	}
	out = binary.AppendUvarint(out, uint64(len(hashes)))
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	index := uint64(0)
	for _, r := range x.runs {
		if r.state == unchanged {
			blocks(index, index+r.n, func(at uint64, level int) {
				k := x.key.node(at, level)
				out = append(out, k[:]...)
			})
		}
		index += r.n
	}
	return append(out, x.changes.Bytes()...)
}
