package cases

import (
	"os"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// pins are the views of the live traffic to which cursors belong. Live data differs at each question, so
// without them no page could follow the first one.
type pins struct {
	mu    sync.Mutex
	paths map[string]string // of views, by cursor
	order []string          // the cursors, the newest last
}

const (
	maxPins = 1024
	pinned  = "live@" // begins the db that Pinned returns; the cursor follows
)

// Pin remembers the case of a page about db, which returned a cursor.
func (k *Cases) Pin(db, cursor string, c *forensics.Case) {
	if cursor == "" || c == nil || !isLive(db) && (db != "" || k.ring != nil || k.live == nil) {
		return
	}
	path := c.Bundles()[0].Path
	p := &k.pins
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paths == nil {
		p.paths = map[string]string{}
	}
	if _, known := p.paths[cursor]; !known {
		p.order = append(p.order, cursor)
	}
	p.paths[cursor] = path
	if len(p.order) > maxPins {
		delete(p.paths, p.order[0])
		p.order = p.order[1:]
	}
}

// Pinned returns the db of a question with a cursor: what db names or, of live traffic, the view of the page
// that returned the cursor.
func (k *Cases) Pinned(db, cursor string) string {
	k.pins.mu.Lock()
	defer k.pins.mu.Unlock()
	if _, ok := k.pins.paths[cursor]; ok && (db == "" || isLive(db)) {
		return pinned + cursor
	}
	return db
}

// pathOf returns the path of the view to which a cursor belongs. Views exist for a minute at least.
func (k *Cases) pathOf(cursor string) (string, error) {
	k.pins.mu.Lock()
	defer k.pins.mu.Unlock()
	path, ok := k.pins.paths[cursor]
	if ok {
		_, err := os.Stat(path)
		ok = err == nil
	}
	if !ok {
		return "", store.BadRequest("cursor: the live data of its page was removed after a minute; begin again without a cursor, or make a snapshot")
	}
	return path, nil
}

// cutPinned returns the cursor in a db of Pinned.
func cutPinned(db string) (cursor string, ok bool) { return strings.CutPrefix(db, pinned) }
