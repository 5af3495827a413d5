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
const magic = "pcapsule proof 1\n"

// Limits of a proof.
const (
	maxProof  = 1 << 30 // bytes of the file
	maxRules  = 4096
	maxRule   = 256 // bytes of the name of one
	maxGroups = 1 << 17
	maxHead   = 1 << 30 // bytes of a packet's headers
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
func Prove(original, derived string, id int32, key Key, keep func(index int64) bool, rule func(index int64) string) (proof []byte, f bundle.Commitment, err error) {
	from, err := openPackets(original)
	if err != nil {
		return nil, f, err
	}
	defer from.close()
	var to source
	if derived != "" {
		in, err := openPackets(derived)
		if err != nil {
			return nil, f, err
		}
		defer in.close()
		to = in
	}
	proof, n, root, err := prove(from, to, key, keep, rule)
	return proof, bundle.Commitment{FileID: id, Packets: n, Root: root}, err
}

func prove(from, to source, key Key, keep func(index int64) bool, rule func(index int64) string) (proof []byte, n uint64, root bundle.Digest, err error) {
	x := prover{key: key, rules: map[string]uint64{}, from: from, to: to, rule: rule}
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
	x.tree.Add(leafOf(k, x.from), keep)
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
	x.state(changed)
	name := x.rule(int64(index))
	no, ok := x.rules[name]
	if !ok {
		no = uint64(len(x.names))
		x.rules[name] = no
		x.names = append(x.names, name)
	}
	head := x.from.head()
	var now [][]byte
	var old int
	fits := x.to.groups(head, func(_ int, content ...[]byte) { now = append(now, bytes.Join(content, nil)) })
	x.from.groups(head, func(int, ...[]byte) { old++ })
	if !fits || old != len(now) {
		return fmt.Errorf("what was made of %d has another length", index)
	}
	x.uvarint(no, uint64(head), uint64(len(now)))
	x.from.groups(head, func(g int, content ...[]byte) {
		salt := k.salt(g)
		if bytes.Equal(bytes.Join(content, nil), now[g]) {
			x.changes.WriteByte(unchanged)
			x.changes.Write(salt[:])
			return
		}
		h := groupLeaf(salt, content...)
		x.changes.WriteByte(changed)
		x.changes.Write(h[:])
	})
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
