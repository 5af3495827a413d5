package collect

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	seenName   = "anchor.json"
	maxAnchors = 50 // kept of a node; the oldest goes
)

// Witness countersigns the rings whose parts arrived, and compares each with what it countersigned before, so that a
// node cannot cut or rewrite what the hub has seen.
type Witness struct {
	Dir  string // of the anchors, a file for each node
	Key  func() (ed25519.PrivateKey, error)
	Name string

	mu sync.Mutex
}

// Seen is the statement of a witness about the ring of a part.
type Seen struct {
	Anchor  *ring.Anchor `json:"anchor,omitempty"`  // nil if there is a problem
	Problem string       `json:"problem,omitempty"` // it is not the ring that the witness saw before
}

// see compares the ring of a part with the anchors and countersigns it. The part's window ended before
// the node copied its records, so each anchor from before that end must be in them; later ones need not.
func (w *Witness) see(p Part) (s Seen, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := filepath.Join(w.Dir, p.Node+".json")
	var list []ring.Anchor
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("reading the anchors of node %s: %w", p.Node, err)
	}
	r, err := ring.Open(p.Held())
	if err != nil {
		return Seen{Problem: err.Error()}, nil
	}
	opt := ring.VerifyOptions{Anchors: slices.DeleteFunc(slices.Clone(list), func(a ring.Anchor) bool { return a.Ring != r.ID || a.At > p.To })}
	a, report, err := ring.MakeAnchor(p.Held(), opt, w.Name)
	if errors.Is(err, ring.ErrBroken) {
		return Seen{Problem: report.Problems[0].String()}, nil
	}
	if err != nil {
		return Seen{Problem: err.Error()}, nil
	}
	key, err := w.Key()
	if err != nil {
		return s, err
	}
	a = a.Sign(key)
	list = append(list, a)
	if text, err = json.Marshal(list[max(0, len(list)-maxAnchors):]); err != nil {
		return s, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return s, err
	}
	return Seen{Anchor: &a}, whole.ReplaceDurably(path, 0o600, whole.Text(text))
}

// witness shows a received part to the witness, once, and stores the statement for the bundle.
func (c *Collector) witness(p Part) (Seen, error) {
	if c.Witness == nil {
		return Seen{}, nil
	}
	s, err := p.seen()
	if err != nil || s != (Seen{}) {
		return s, err
	}
	if s, err = c.Witness.see(p); err != nil {
		return s, err
	}
	if s.Problem != "" {
		c.Log.Warn("the ring of a node is not the one that this hub has seen before", "node", p.Node, "pin", p.Pin, "problem", s.Problem)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	return s, whole.CreateDurably(filepath.Join(p.node(), seenName), 0o600, whole.Text(text))
}

// seen reads the statement of a witness about a part.
func (p Part) seen() (s Seen, err error) {
	text, err := os.ReadFile(filepath.Join(p.node(), seenName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// stamp puts the statement of the witness into the part's bundle.
func (c *Collector) stamp(p Part) error {
	if c.Stamp == nil {
		return nil
	}
	s, err := p.seen()
	if err != nil || s == (Seen{}) {
		return err
	}
	return c.Stamp(p.Bundle(), s)
}
