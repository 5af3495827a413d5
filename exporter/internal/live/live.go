// Package live keeps the parts that a live run writes, and makes bundles of them.
//
// Each cut of the run writes a small set of parts. Every half minute one large set with the rows of
// the small sets is added, so that a long view reads few files. Sets are removed if they are too
// old, or if all sets have too many bytes. A view is a folder with hard links to the parts of a
// time range, so it stays readable when sets are removed.
package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
)

// Limits of a store.
const (
	smallFor  = time.Minute // small sets are kept so long, for views with an exact begin
	viewsKept = 3           // newest views that are kept in any case
	viewFor   = time.Minute // least time that a view is kept

	// finishFor is how long after a cut has read packets their rows are finished at the latest. If a run ended early,
	// the next one shows the calls of that time, some of them again.
	finishFor = 2 * time.Second
)

// Set is the parts of one folder.
type Set struct {
	Dir     string           `json:"-"` // name below the store's folder
	Parts   []write.Part     `json:"parts"`
	Cut     int64            `json:"cut"`   // the last cut whose rows it has
	First   int64            `json:"first"` // times of its packets, ns; 0 if it has none
	Last    int64            `json:"last"`
	To      int64            `json:"to"` // newest capture time when it was finished, ns
	Packets int64            `json:"packets"`
	Calls   map[string]int64 `json:"calls"` // by protocol
}

// Bytes is the size of the parts.
func (s *Set) Bytes() (n int64) {
	for _, p := range s.Parts {
		n += p.Bytes
	}
	return n
}

// Cut is the state at a cut.
type Cut struct {
	No       int64
	At       time.Time // when it was published
	Now      int64     // newest capture time, ns
	Idle     bool      // everything in the ring was read
	Inputs   []bundle.Input
	Warnings []string
	Counters map[string]map[string]int64
	Keys     int64 // keys that were read
}

// Store has the sets of a run. It is safe for concurrent use.
type Store struct {
	dir  string
	keep time.Duration
	most int64

	mu      sync.Mutex
	empty   Set // every table without rows
	small   []Set
	large   []Set
	known   Set   // endpoints and clocks
	open    Set   // of the last cut
	merged  int64 // the last cut whose rows are in a large set
	gone    int64 // small sets up to this capture time are removed, ns
	removed int64 // rows up to this capture time are removed, ns; 0: none
	why     string
	shown   int64 // the runs before have shown all calls up to this capture time, ns
	recent  []Cut // of the run, from the newest one that is older than finishFor
	cut     Cut
	changed chan struct{} // closed at the next cut
	made    int64
	views   []*View
	closed  bool

	// One view is cut, and one is narrowed at a time. Both are held before mu.
	cutting, narrowing sync.Mutex
}

// NewStore makes a store in a private folder, which must exist. It keeps rows for a time, and at
// most about that many bytes.
func NewStore(dir string, keep time.Duration, most int64) (*Store, error) {
	for _, name := range []string{"sets", "views"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	return &Store{dir: dir, keep: keep, most: most, changed: make(chan struct{})}, nil
}

// Folder is a folder for the parts of a set.
func (s *Store) Folder(name string) Folder { return Folder{filepath.Join(s.dir, "sets", name)} }

// Folder implements write.Folder.
type Folder struct{ dir string }

// Path implements write.Folder.
func (f Folder) Path(rel string) string {
	p := filepath.Join(f.dir, filepath.FromSlash(rel))
	if os.MkdirAll(filepath.Dir(p), 0o700) != nil {
		return ""
	}
	return p
}

// Mode implements write.Folder.
func (Folder) Mode() fs.FileMode { return 0o600 }

// Begin removes all sets, and accepts those of a new run. empty has every table without rows. Calls
// that the previous run has shown will not be finished again.
func (s *Store) Begin(empty Set) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, old := range slices.Concat(s.small, s.large, []Set{s.known, s.open, s.empty}) {
		err = errors.Join(err, s.remove(&old))
	}
	s.shown = s.settled()
	s.small, s.large, s.known, s.open, s.empty, s.merged, s.gone, s.recent = nil, nil, Set{}, Set{}, empty, s.cut.No, 0, nil
	return err
}

// Forget records that rows before a capture time are missing, with the reason.
func (s *Store) Forget(before int64, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed, s.why = max(s.removed, before), why
}

func (s *Store) remove(x *Set) error {
	if x.Dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(s.dir, "sets", x.Dir))
}

// settled is the newest capture time whose calls were all shown.
func (s *Store) settled() int64 {
	if len(s.recent) > 0 && time.Since(s.recent[0].At) > finishFor {
		return max(s.shown, s.recent[0].Now)
	}
	return s.shown
}

// Shown is the newest capture time whose calls the runs before have shown, ns.
func (s *Store) Shown() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown
}

// Finished is the result of a cut.
type Finished struct {
	Small Set  // rows since the last cut
	Open  Set  // what would follow if the capture ended here
	Large *Set // rows of several cuts up to this one; nil: there is none yet
	Known *Set // with Large: endpoints and clocks
}

// Publish makes a cut visible.
func (s *Store) Publish(c Cut, f Finished) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := []Set{s.open}
	s.small, s.open = append(s.small, f.Small), f.Open
	if f.Large != nil {
		old = append(old, s.known)
		s.large, s.known, s.merged = append(s.large, *f.Large), *f.Known, f.Large.Cut
	}
	s.cut = c
	s.recent = append(s.recent, Cut{At: c.At, Now: c.Now})
	for len(s.recent) > 1 && c.At.Sub(s.recent[1].At) > finishFor {
		s.recent = s.recent[1:]
	}
	old = append(old, s.retire()...)
	var err error
	for i := range old {
		err = errors.Join(err, s.remove(&old[i]))
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return errors.Join(err, s.dropViews())
}

// retire removes the sets that are no longer kept.
func (s *Store) retire() (old []Set) {
	total := int64(0)
	for _, x := range slices.Concat(s.small, s.large) {
		total += x.Bytes()
	}
	for len(s.small) > 0 && s.small[0].Cut <= s.merged && (total > s.most || s.small[0].To < s.cut.Now-int64(smallFor)) {
		total -= s.small[0].Bytes()
		s.gone = max(s.gone, s.small[0].To)
		old, s.small = append(old, s.small[0]), s.small[1:]
	}
	for len(s.large) > 0 && (total > s.most || s.large[0].To < s.cut.Now-int64(s.keep)) {
		s.why = fmt.Sprintf("the live bundle keeps %s", s.keep)
		if total > s.most {
			s.why = fmt.Sprintf("the live bundle keeps at most %d MiB", s.most>>20)
		}
		total -= s.large[0].Bytes()
		s.removed = max(s.removed, s.large[0].To)
		old, s.large = append(old, s.large[0]), s.large[1:]
	}
	return old
}

// Last is the newest cut, and a channel that is closed at the next one.
func (s *Store) Last() (Cut, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut, s.changed
}

// Close removes everything.
func (s *Store) Close() error {
	s.cutting.Lock() // so that no view is written
	defer s.cutting.Unlock()
	s.narrowing.Lock()
	defer s.narrowing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.views = nil
	return os.RemoveAll(s.dir)
}
