// Package pins keeps segments of a ring for other machines, and serves them.
//
// A pin is a folder in the ring, .pins/NAME, with the files of ring.Pin and a listing of them with
// their hashes, so it does not change and survives restarts. A pin gets its name when it is
// complete. It ends when it is released, or a day after the last request for it.
package pins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

const (
	folder   = ".pins"         // in the ring
	newMark  = ".new-"         // begins the name of a pin that is being made
	listing  = ".listing.json" // in a pin
	maxPins  = 1000
	sealWait = 20 * time.Second // how long a recorder may take to end its segments
	keptFor  = 24 * time.Hour
)

// Errors that a client can distinguish.
var (
	ErrNone   = errors.New("there is no such pin")
	ErrTaken  = errors.New("a pin of this name has another window")
	ErrWindow = errors.New("invalid window")
	ErrName   = errors.New("invalid name of a pin")
	ErrMany   = errors.New("too many pins are kept")
)

// Pin describes a pin.
type Pin struct {
	Name     string          `json:"name"`
	Node     string          `json:"node"`
	Ring     string          `json:"ring"`
	Head     uint64          `json:"head"` // last record of the chain of seals that came along
	From     ring.Time       `json:"from"`
	To       ring.Time       `json:"to"`
	Segments int             `json:"segments"`
	Packets  uint64          `json:"packets"`
	Missing  []string        `json:"missing"` // segments that were sealed, but are not there
	Warnings []string        `json:"warnings,omitempty"`
	Files    []transfer.File `json:"files"`
}

// Store keeps the pins of a ring.
type Store struct {
	ring, dir, node string
	rows            string // folder with rows of the ring; empty: none

	mu sync.Mutex // held while a pin is made or removed
}

// Open opens the pins of a ring. The ring need not exist yet.
func Open(dir, node string) *Store {
	return &Store{ring: dir, dir: filepath.Join(dir, folder), node: node}
}

var goodName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func named(name string) error {
	if !goodName.MatchString(name) {
		return fmt.Errorf("%w: %.80q: must be 1 to 63 lower-case letters, digits and dashes", ErrName, name)
	}
	return nil
}

// Make pins the window from from to to, inclusive, after the recorder has ended its current
// segments. If the pin exists, it is returned. It fails with ErrName, ErrWindow, ErrTaken, ErrMany,
// or an error of the disk, and then leaves nothing behind.
func (s *Store) Make(ctx context.Context, name string, from, to ring.Time) (*Pin, error) {
	if err := named(name); err != nil {
		return nil, err
	}
	if from <= 0 || to < from {
		return nil, fmt.Errorf("%w: from %s to %s", ErrWindow, from, to)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.get(name)
	switch {
	case err == nil && (p.From != from || p.To != to):
		return nil, fmt.Errorf("pin %s, from %s to %s: %w", name, p.From, p.To, ErrTaken)
	case err == nil || !errors.Is(err, ErrNone):
		return p, err
	}
	if err := s.room(); err != nil {
		return nil, err
	}
	var warnings []string
	wait, cancel := context.WithTimeout(ctx, sealWait)
	err = ring.AskSeal(wait, s.ring)
	cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil { // segments that are already sealed are still evidence
		warnings = append(warnings, fmt.Sprintf("the recorder did not end its current segments, which are not included: %v", err))
	}
	temp := filepath.Join(s.dir, newMark+name)
	if err := os.RemoveAll(temp); err != nil {
		return nil, err
	}
	p, err = s.fill(ctx, temp, name, from, to, warnings)
	if err == nil {
		err = os.Rename(temp, filepath.Join(s.dir, name))
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	return p, nil
}

// room creates the folder of pins, and checks that there are not too many.
func (s *Store) room() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	names, err := s.names()
	if err == nil && len(names) >= maxPins {
		err = fmt.Errorf("%w: %d", ErrMany, len(names))
	}
	return err
}

// fill makes a pin in the folder temp.
func (s *Store) fill(ctx context.Context, temp, name string, from, to ring.Time, warnings []string) (*Pin, error) {
	x, err := ring.Pin(ctx, s.ring, int64(from), int64(to), temp, ring.PinOptions{Keys: true})
	if err != nil {
		return nil, err
	}
	p := &Pin{Name: name, Node: s.node, Ring: x.Ring, Head: x.Head, From: from, To: to, Segments: len(x.Segments), Missing: x.Missing, Warnings: warnings}
	for _, name := range x.Unsealed {
		p.Warnings = append(p.Warnings, name+": its side files were not final; owners of packets may be missing")
	}
	held, err := ring.Segments(temp)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, h := range held {
		if h.Seal == nil || h.Missing {
			continue
		}
		p.Packets += h.Seal.Packets
		// The sealed hash, so that the receiver notices an altered segment.
		sums[h.ID.Segment()] = h.Seal.SHA256
	}
	if p.Files, err = transfer.List(temp, func(name string) (string, bool) { sum, ok := sums[name]; return sum, ok }); err != nil {
		return nil, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return p, whole.CreateDurably(filepath.Join(temp, listing), 0o600, whole.Text(text))
}

// Get returns a pin, or ErrNone. The pin is kept for another day.
func (s *Store) Get(name string) (*Pin, error) {
	if err := named(name); err != nil {
		return nil, err
	}
	return s.get(name)
}

func (s *Store) get(name string) (*Pin, error) {
	path := filepath.Join(s.dir, name, listing)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	var p Pin
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("reading pin %s: %w", name, err)
	}
	now := time.Now()
	return &p, os.Chtimes(path, now, now)
}

// Release ends a pin; without one it does nothing.
func (s *Store) Release(name string) error {
	if err := named(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(name)
}

func (s *Store) remove(name string) error {
	// The listing first, so that a half removed pin is not one.
	if err := os.Remove(filepath.Join(s.dir, name, listing)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(s.dir, name))
}

// names lists the pins.
func (s *Store) names() (names []string, err error) {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range list {
		if e.IsDir() && named(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Sweep removes the pins that were not requested in the day before now, and the unfinished pins of
// a killed recorder. It returns the names.
func (s *Store) Sweep(now time.Time) (swept []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range list {
		info, statErr := os.Stat(filepath.Join(s.dir, e.Name(), listing))
		switch {
		case strings.HasPrefix(e.Name(), newMark), errors.Is(statErr, fs.ErrNotExist): // none is being made now
		case statErr == nil && now.Sub(info.ModTime()) > keptFor:
		default:
			continue
		}
		if removeErr := s.remove(e.Name()); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		swept = append(swept, e.Name())
	}
	return swept, err
}
