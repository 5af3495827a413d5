package secrets

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Limits of additions to a store in use.
const (
	maxGrown      = 1 << 17 // identifiers; each has a few secrets
	maxCandidates = 4096    // of each kind, see Masters and Randoms
)

// grown are the secrets that were added to a store in use. The oldest are forgotten.
type grown struct {
	any  atomic.Bool // set once, so that a store that does not grow takes no lock
	mu   sync.RWMutex
	byID map[grownID][]Secret
	ids  []grownID // oldest first from at once the list is full
	at   int
	n    SourceStats

	randoms, masters [][]byte // candidates, the oldest first
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
	if x.Label == ClientRandom {
		g.masters = newest(g.masters, x.Value)
	}
	if traffic := func(s Secret) bool { return s.Label == ClientTraffic || s.Label == ServerTraffic }; traffic(x) && !slices.ContainsFunc(list, traffic) {
		g.randoms = newest(g.randoms, x.ID)
	}
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

// newest appends to a list that others may read, and drops half of one that is full.
func newest(list [][]byte, x []byte) [][]byte {
	if len(list) == maxCandidates {
		list = slices.Clone(list[maxCandidates/2:])
	}
	return append(list, x)
}

// Growth is the number of lines that Grow has added so far: a result of Randoms or Masters is complete
// as long as it stays.
func (s *Store) Growth() int64 {
	if s == nil || !s.grown.any.Load() {
		return 0
	}
	return s.Grown().Keys
}

// candidates appends up to max candidates that were added.
func (g *grown) candidates(list [][]byte, max int, of func(*grown) [][]byte) [][]byte {
	if !g.any.Load() {
		return list
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	more := of(g)
	return append(list[:len(list):len(list)], more[len(more)-min(len(more), max-len(list)):]...)
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
