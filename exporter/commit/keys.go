package commit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
)

// Key is secret: the seed, or a node of the tree of keys below it.
//
// The keys of the packets of one file, or of the rows of one table, are the leaves of a binary
// tree. A node yields the keys of all leaves below it and of no other, so that one node shows a run
// (the construction of Goldreich, Goldwasser and Micali, 1986).
type Key [sha256.Size]byte

// NewSeed makes a random seed.
func NewSeed() (k Key) {
	rand.Read(k[:]) // it never fails
	return k
}

// depth is the number of levels of the tree of keys: files have fewer than 2^depth packets.
const depth = 40

// Prefixes of the data that is hashed with a key. All inputs of one prefix have one length, but those of
// prefixGroup and prefixLeaf, which are those of groups and of packets or rows.
const (
	prefixChild = 2
	prefixSalt  = 3
	prefixFile  = 4
	prefixTable = 5
	prefixGroup = 6
	prefixLeaf  = 7
)

// File is the key of the tree of one file.
func (k Key) File(id int32) Key {
	var b [1 + 4 + len(k)]byte
	b[0] = prefixFile
	binary.BigEndian.PutUint32(b[1:], uint32(id))
	copy(b[5:], k[:])
	return sha256.Sum256(b[:])
}

// Table is the key of the tree of one table.
func (k Key) Table(name string) Key {
	sum := sha256.Sum256([]byte(name))
	return sha256.Sum256(slices.Concat([]byte{prefixTable}, sum[:], k[:]))
}

func (k Key) child(bit byte) Key {
	var b [1 + 1 + len(k)]byte
	b[0], b[1] = prefixChild, bit
	copy(b[2:], k[:])
	return sha256.Sum256(b[:])
}

// Salt hides the content of one group.
type Salt [16]byte

// salts yields the salts of the groups of a packet or row, two from each hash.
type salts struct {
	in   [1 + 4 + len(Key{})]byte
	pair Hash
}

func (x *salts) reset(k *Key) {
	x.in[0] = prefixSalt
	copy(x.in[5:], k[:])
}

// of is the salt of a group; the one before it must be the last that was asked for, or it must be even.
func (x *salts) of(group int) Salt {
	if group&1 == 1 {
		return Salt(x.pair[16:])
	}
	binary.BigEndian.PutUint32(x.in[1:], uint32(group/2))
	x.pair = sha256.Sum256(x.in[:])
	return Salt(x.pair[:16])
}

// node is the node of the tree below k whose path is the high bits of index, down to a level: 0
// is a packet, depth is k itself.
func (k Key) node(index uint64, level int) Key {
	for l := depth - 1; l >= level; l-- {
		k = k.child(byte(index >> l & 1))
	}
	return k
}

// walker yields the keys of packets one after another.
type walker struct {
	path  [depth + 1]Key // path[l] is the node at level l
	next  uint64
	valid bool
}

// at is the key of a packet; it is fast if the packet follows the last one.
func (w *walker) at(file *Key, index uint64) Key {
	top := depth
	if w.valid {
		top = bits.Len64(w.next ^ index)
	} else {
		w.path[depth] = *file
	}
	for l := top - 1; l >= 0; l-- {
		w.path[l] = w.path[l+1].child(byte(index >> l & 1))
	}
	w.next, w.valid = index, true
	return w.path[0]
}

// blocks splits a run of packets into the largest complete subtrees.
func blocks(from, to uint64, do func(index uint64, level int)) {
	for from < to {
		level := min(bits.TrailingZeros64(from|1<<depth), bits.Len64(to-from)-1)
		do(from, level)
		from += 1 << level
	}
}
