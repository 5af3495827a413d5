package forensics

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// Limits of what is remembered of SQL that passed the gate.
const (
	maxGated    = 512      // texts
	maxGatedSQL = 16 << 10 // bytes of one
)

// gated remembers which SQL passed the gate, because most questions have the same few hundred
// texts with other values, and parsing one takes a turn of the worker and a tree in JSON. The
// tables of a case do not change, except those that a case aside keeps.
type gated struct {
	mu    sync.Mutex
	facts map[string]duck.Facts // by the names of kept tables and the text
}

// gate is DB.Gate with the tables of the case. What did not pass is not remembered.
func (c *Case) gate(ctx context.Context, db *duck.DB, sql string) (duck.Facts, error) {
	key := strings.Join(slices.Sorted(maps.Keys(c.kept)), ",") + "\n" + sql
	c.gated.mu.Lock()
	facts, ok := c.gated.facts[key]
	c.gated.mu.Unlock()
	if ok {
		return facts, nil
	}
	facts, err := db.Gate(ctx, sql, c.isTable)
	if err != nil || len(sql) > maxGatedSQL {
		return facts, err
	}
	c.gated.put(key, facts)
	return facts, nil
}

// put remembers one text; when there are too many, all others are forgotten.
func (g *gated) put(key string, facts duck.Facts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.facts == nil || len(g.facts) >= maxGated {
		g.facts = map[string]duck.Facts{}
	}
	g.facts[key] = facts
}
