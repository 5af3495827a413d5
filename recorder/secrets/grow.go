package secrets

import (
	"sync"
	"sync/atomic"
)

// maxGrown is how many secrets a store keeps that were added while it is in use.
const maxGrown = 1 << 17

// grown are the secrets that were added to a store in use. The oldest are forgotten.
type grown struct {
	any  atomic.Bool // set once, so that a store that does not grow takes no lock
	mu   sync.RWMutex
	byID map[grownID][]Secret
	ids  []grownID // oldest first from at once the list is full
	at   int
	n    SourceStats
}

type grownID struct {
	kind byte
	id   string
}

// Grow adds lines of a key log to a store in use, for a key log that is written while its captures
// are read. It may be called from any goroutine. Lines without a key are counted. From the first call
// on the store is not empty, because a key may follow the packets that it decrypts.
func (s *Store) Grow(lines [][]byte) {
	g := &s.grown
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byID == nil {
		g.byID = map[grownID][]Secret{}
	}
	for _, line := range lines {
		g.n.Lines++
		x, ok, err := parseLine(line, make([]byte, len(line)/2+1))
		switch {
		case ok:
			g.n.Keys++
			g.add(x)
		case err != nil:
			g.n.Wrong++
		}
	}
	g.any.Store(true)
}

// Grown counts the lines that were added with Grow.
func (s *Store) Grown() SourceStats {
	s.grown.mu.RLock()
	defer s.grown.mu.RUnlock()
	return s.grown.n
}

func (g *grown) add(x Secret) {
	id := grownID{kindOf(x.Label), string(x.ID)}
	list, known := g.byID[id]
	for i := range list {
		if list[i].Line() == x.Line() {
			return
		}
	}
	if len(list) >= maxFound {
		return
	}
	g.byID[id] = append(list[:len(list):len(list)], x) // others may read the list
	if known {
		return
	}
	if len(g.ids) < maxGrown {
		g.ids = append(g.ids, id)
		return
	}
	delete(g.byID, g.ids[g.at])
	g.ids[g.at] = id
	g.at = (g.at + 1) % maxGrown
}

// find returns the secrets of an identifier.
func (g *grown) find(kind byte, id []byte) []Secret {
	if !g.any.Load() {
		return nil
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.byID[grownID{kind, string(id)}]
}
