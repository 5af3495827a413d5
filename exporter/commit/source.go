package commit

import (
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// source yields the leaves of a tree one after another: the packets of a file, or the rows of a
// table.
type source interface {
	// next goes to the next one, or returns io.EOF.
	next() error
	// groups calls do for each group, in order, with its place; its content is valid during the call.
	groups(do func(group int, at uint32, content []byte))
	// same reports whether another source of the same kind is at the same content.
	same(o source) bool
	close()
}

// hasher makes leaves. One goroutine uses it.
type hasher struct {
	salts salts
	group []byte // input of a group's hash
	leaf  []byte // input of the leaf's hash: the hashes of the groups so far
	each  func(group int, at uint32, content []byte)
}

func newHasher() *hasher {
	x := &hasher{}
	x.each = func(g int, at uint32, content []byte) { x.add(x.hash(x.salts.of(g), at, content)) }
	return x
}

// hash is the hash of one group.
func (x *hasher) hash(salt Salt, at uint32, content []byte) Hash {
	x.group = append(append(x.group[:0], prefixGroup), salt[:]...)
	x.group = append(binary.BigEndian.AppendUint32(x.group, at), content...)
	return sha256.Sum256(x.group)
}

func (x *hasher) begin() { x.leaf = append(x.leaf[:0], prefixLeaf) }

func (x *hasher) add(h Hash) { x.leaf = append(x.leaf, h[:]...) }

func (x *hasher) sum() Hash { return sha256.Sum256(x.leaf) }

// of is the leaf of a source's current element.
func (x *hasher) of(k Key, s source) Hash {
	x.salts.reset(&k)
	x.begin()
	s.groups(x.each)
	return x.sum()
}

// commitTo gives the number of leaves of a source, and the root of their tree.
func commitTo(s source, key Key) (n uint64, root bundle.Digest, err error) {
	var t Tree
	var w walker
	h := newHasher()
	for {
		err := s.next()
		if err == io.EOF {
			return t.Size(), bundle.Digest(t.Root()), nil
		}
		if err != nil {
			return 0, root, err
		}
		t.Add(h.of(w.at(&key, t.Size()), s))
	}
}
