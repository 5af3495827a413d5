package commit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// magic begins a proof.
const magic = "pcapsule proof 1\n"

// Limits of a proof.
const (
	maxProof  = 1 << 30 // bytes of the file
	maxRules  = 4096
	maxRule   = 256 // bytes of the name of one
	maxGroups = 1 << 17
)

// States of a packet of the original.
const (
	unchanged = iota // it is in the derived file, byte for byte
	changed          // it is there, and some of its groups differ
	removed          // it is not there
	states
)

// Counts are the packets of an original file.
type Counts struct {
	Unchanged, Changed, Removed int64
	Rules                       map[string]int64 // changed packets, by rule
}

// run is a number of packets in one state.
type run struct {
	state byte
	n     uint64
}

// Prove makes the proof that the packets of a derived file come from an original, to whose packets
// key committed. keep says which packets the derived file has, and rule why one was changed. It
// returns the commitment too, for comparison with the signed one. derived may be empty if no
// packet was kept.
func Prove(original, derived string, id int32, key Key, keep func(index int64) bool, rule func(index int64) string) (proof []byte, f bundle.Commitment, err error) {
	x := prover{key: key, rules: map[string]uint64{}, split: newSplitter()}
	if derived != "" {
		in, done, err := open(derived)
		if err != nil {
			return nil, f, err
		}
		defer done()
		x.derived = in
	}
	if err := each(original, func(p *pcapng.Packet) error { return x.packet(p, keep(p.Index), rule) }); err != nil {
		return nil, f, err
	}
	if x.derived != nil {
		if _, err := x.derived.next(); err != io.EOF {
			return nil, f, errors.New("the derived file has more packets than were kept")
		}
	}
	root, hashes := x.tree.Proof()
	return x.encode(hashes), bundle.Commitment{FileID: id, Packets: x.tree.n, Root: bundle.Digest(root)}, nil
}

// prover makes a proof.
type prover struct {
	key     Key
	derived *packets
	split   *splitter
	walk    walker
	tree    Prover
	runs    []run
	rules   map[string]uint64
	names   []string
	changes bytes.Buffer // of changed packets
}

func (x *prover) packet(p *pcapng.Packet, keep bool, rule func(int64) string) error {
	index := uint64(p.Index)
	k := x.walk.at(&x.key, index)
	head := x.split.head(p)
	if !keep {
		x.tree.Add(leaf(k, p, head), false)
		x.state(removed)
		return nil
	}
	if x.derived == nil {
		return errors.New("a packet was kept, but there is no derived file")
	}
	q, err := x.derived.next()
	if err != nil {
		return fmt.Errorf("reading the derived packet %d: %w", index, err)
	}
	x.tree.Add(leaf(k, p, head), true)
	if same(p, q) {
		x.state(unchanged)
		return nil
	}
	if len(p.Data) != len(q.Data) {
		return fmt.Errorf("packet %d has another length", index)
	}
	x.state(changed)
	name := rule(p.Index)
	no, ok := x.rules[name]
	if !ok {
		no = uint64(len(x.names))
		x.rules[name] = no
		x.names = append(x.names, name)
	}
	x.uvarint(no, uint64(head))
	var now [][]byte
	groups(q, head, func(_ int, content ...[]byte) { now = append(now, bytes.Join(content, nil)) })
	x.uvarint(uint64(len(now)))
	groups(p, head, func(g int, content ...[]byte) {
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

// same reports whether two packets are equal in all that is committed to.
func same(p, q *pcapng.Packet) bool {
	return p.Time == q.Time && p.TimeOK == q.TimeOK && p.Interface == q.Interface && p.LinkType == q.LinkType && p.OrigLen == q.OrigLen &&
		bytes.Equal(p.Data, q.Data) && bytes.Equal(p.Options, q.Options)
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

// encode writes the proof: rules, runs, the hashes of what was removed, keys of what is unchanged,
// and what is known of changed packets.
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
