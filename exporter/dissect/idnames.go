package dissect

// ID is an id that has a name on another connection, or a hash of the identifying fields.
type ID [16]byte

// IDNames are the names of ids. It forgets the oldest when it is full.
type IDNames struct {
	names map[ID]string
	ring  []ID // in the order of their first name; the oldest at next once it is full
	next  int
	limit int
}

// MaxIDNames is how many ids have a name at once with the default memory limit.
const MaxIDNames = 1 << 15

// NewIDNames returns the names of at most limit ids.
func NewIDNames(limit int) *IDNames { return &IDNames{names: map[ID]string{}, limit: limit} }

// Name returns the last name of an id, or "".
func (n *IDNames) Name(id ID) string { return n.names[id] }

// Put sets the name of an id.
func (n *IDNames) Put(id ID, name string) {
	switch _, again := n.names[id]; {
	case again:
	case len(n.ring) < n.limit:
		n.ring = append(n.ring, id)
	default:
		delete(n.names, n.ring[n.next])
		n.ring[n.next] = id
		n.next = (n.next + 1) % n.limit
	}
	n.names[id] = name
}
