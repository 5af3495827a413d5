package commit

import (
	"io"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// source yields the leaves of a tree one after another: the packets of a file, or the rows of a
// table.
type source interface {
	// next goes to the next one, or returns io.EOF.
	next() error
	// head is the length of a packet's headers, which are in its first group; 0 for a row.
	head() int
	// groups calls do for each group, whose content is valid during the call. It returns false
	// if the headers cannot be that long.
	groups(head int, do func(group int, content ...[]byte)) bool
	// same reports whether another source of the same kind is at the same content.
	same(o source) bool
	close()
}

// leafOf is the leaf of a source's current element.
func leafOf(k Key, s source) Hash {
	var t Tree
	s.groups(s.head(), func(g int, content ...[]byte) { t.Add(groupLeaf(k.salt(g), content...)) })
	return ofGroups(&t)
}

// commitTo gives the number of leaves of a source, and the root of their tree.
func commitTo(s source, key Key) (n uint64, root bundle.Digest, err error) {
	var t Tree
	var w walker
	for {
		err := s.next()
		if err == io.EOF {
			return t.Size(), bundle.Digest(t.Root()), nil
		}
		if err != nil {
			return 0, root, err
		}
		t.Add(leafOf(w.at(&key, t.Size()), s))
	}
}
