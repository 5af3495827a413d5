// Package live keeps the parts that a live run writes, and makes bundles of them.
//
// Each cut of the run leaves a small set of parts. Every half minute the rows of the small sets also
// stand in one large set, so that a long view reads few files. Sets that are too old, or too many bytes,
// are removed. A view is a folder with hard links to the parts of a time range, so it stays readable
// when sets are removed.
package live

import (
	"cmp"
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
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of a store.
const (
	smallFor  = time.Minute // small sets are kept so long, for views with an exact begin
	viewsKept = 3           // newest views that are kept in any case
	viewFor   = time.Minute // that a view is kept at least
)

// Set is the parts that one folder holds.
type Set struct {
	Dir         string // name below the store's folder
	Parts       []write.Part
	Cut         int64 // the last cut whose rows it has
	First, Last int64 // times of its packets, ns; 0 if it has none
	To          int64 // newest capture time when it was finished, ns
	Packets     int64
	Calls       map[string]int64 // by protocol
}

// Bytes is the size of the parts.
func (s *Set) Bytes() (n int64) {
	for _, p := range s.Parts {
		n += p.Bytes
	}
	return n
}

// Cut is what is known at a cut.
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

// Store has the sets of a run. It is safe for several goroutines.
type Store struct {
	dir  string
	keep time.Duration
	most int64

	mu       sync.Mutex
	empty    Set // every table without rows
	small    []Set
	large    []Set
	known    Set   // endpoints and clocks
	open     Set   // of the last cut
	merged   int64 // the last cut whose rows are in a large set
	gone     int64 // small sets up to this capture time are removed, ns
	removed  int64 // rows up to this capture time are removed, ns; 0: none
	shortage bool  // because of the limit of bytes
	cut      Cut
	changed  chan struct{} // closed at the next cut
	made     int64
	views    []*View
	closed   bool
}

// NewStore makes a store in a private folder, which must exist. It keeps rows for a time, and at most
// about so many bytes.
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

// Begin forgets all sets, and takes those of a new run. empty has every table without rows.
func (s *Store) Begin(empty Set) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, old := range slices.Concat(s.small, s.large, []Set{s.known, s.open, s.empty}) {
		err = errors.Join(err, s.remove(&old))
	}
	s.small, s.large, s.known, s.open, s.empty, s.merged, s.gone = nil, nil, Set{}, Set{}, empty, s.cut.No, 0
	return err
}

func (s *Store) remove(x *Set) error {
	if x.Dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(s.dir, "sets", x.Dir))
}

// Finished is what a cut leaves.
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
	old = append(old, s.retire()...)
	var err error
	for i := range old {
		err = errors.Join(err, s.remove(&old[i]))
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return errors.Join(err, s.dropViews(false))
}

// retire takes out the sets that are no longer kept.
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
		s.shortage = total > s.most
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

// View is a bundle of a part of the run.
type View struct {
	Path   string
	Bundle *bundle.Bundle
	Cut    int64

	key  string
	made time.Time
}

// Request says what a view has.
type Request struct {
	Last  time.Duration // before now; 0: everything that is kept
	After int64         // only rows finished after this cut, and nothing that is open; 0: no such limit
}

// View makes a bundle. A view of the same cut and the same request is made once.
func (s *Store) View(r Request, packets bundle.Packets, extra func(rows []table.Coverage, f write.Folder) ([]write.Part, error)) (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fs.ErrClosed
	}
	key := fmt.Sprint(s.cut.No, r)
	for _, v := range s.views {
		if v.key == key {
			return v, nil
		}
	}
	sets, from := s.choose(r)
	m := s.manifest(sets)
	if r.After == 0 && r.Last > 0 && (m.Window.LastNs == nil && len(s.open.Parts) == 0 || s.cut.Now < from) {
		return nil, bundle.ErrNothingLive
	}
	s.made++
	dir := filepath.Join(s.dir, "views", fmt.Sprintf("%06d.pcapsule", s.made))
	files, err := s.link(dir, sets, m)
	if err == nil {
		files, err = s.cover(dir, files, m, r, from, extra)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b, err := bundle.Assemble(dir, m, files, packets)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	v := &View{Path: dir, Bundle: b, Cut: s.cut.No, key: key, made: time.Now()}
	s.views = append(s.views, v)
	return v, nil
}

// Opened returns the view at a path, nil if there is none.
func (s *Store) Opened(path string) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		if v.Path == path {
			return v
		}
	}
	return nil
}

// chosen is a set of a view, with the tables that it gives to it.
type chosen struct {
	*Set
	tables func(name string) bool // nil: all
}

// remembered are the tables that Known has completely.
func remembered(name string) bool { return name == "endpoints" || name == "clocks" }

// choose lists the sets of a view, and the capture time from which it has rows.
func (s *Store) choose(r Request) (list []chosen, from int64) {
	list = append(list, chosen{&s.empty, nil}, chosen{&s.known, nil})
	if r.Last > 0 {
		from = s.cut.At.UnixNano() - int64(r.Last)
	}
	others := func(name string) bool { return !remembered(name) }
	short := r.After > 0 || r.Last > 0 && r.Last <= smallFor && from > s.gone
	for i := range s.large {
		if x := &s.large[i]; !short && x.To >= from {
			list = append(list, chosen{x, others})
		}
	}
	for i := range s.small {
		x := &s.small[i]
		rows := x.To >= from && x.Cut > r.After && (short || x.Cut > s.merged)
		switch ends := x.Cut > s.merged; {
		case rows && ends:
			list = append(list, chosen{x, nil})
		case rows:
			list = append(list, chosen{x, others})
		case ends:
			list = append(list, chosen{x, remembered})
		}
	}
	if r.After == 0 {
		list = append(list, chosen{&s.open, nil})
	}
	return list, from
}

// manifest describes a view.
func (s *Store) manifest(sets []chosen) *bundle.Manifest {
	m := &bundle.Manifest{SchemaVersion: bundle.SchemaVersion, Tool: bundle.Tool{Name: "pcapsule"}, Options: map[string]string{"live": fmt.Sprint(s.cut.No)}, Calls: map[string]int64{},
		Inputs: s.cut.Inputs, SideInputs: []bundle.SideInput{}, Warnings: s.cut.Warnings}
	m.Accounts.Counters = s.cut.Counters
	first, last := int64(0), int64(0)
	for _, x := range sets {
		if x.Set == &s.empty || x.Set == &s.known || x.tables != nil && !x.tables("calls") {
			continue
		}
		m.Accounts.Packets += x.Packets
		for p, n := range x.Calls {
			m.Calls[p] += n
		}
		if x.First != 0 && (first == 0 || x.First < first) {
			first = x.First
		}
		last = max(last, x.Last)
	}
	if first != 0 {
		m.Window = bundle.Window{FirstNs: bundle.At(first), LastNs: bundle.At(last)}
	}
	return m
}

// link fills the folder of a view.
func (s *Store) link(dir string, sets []chosen, m *bundle.Manifest) (files []string, err error) {
	tables := map[[2]string]*bundle.Table{}
	for _, x := range sets {
		for _, p := range x.Parts {
			if x.tables != nil && !x.tables(p.Table) {
				continue
			}
			rel := filepath.ToSlash(filepath.Dir(p.Rel)) + "/" + x.Dir + "-" + filepath.Base(p.Rel)
			to := filepath.Join(dir, filepath.FromSlash(rel))
			from := filepath.Join(s.dir, "sets", x.Dir, filepath.FromSlash(p.Rel))
			err := os.Link(from, to)
			if errors.Is(err, fs.ErrNotExist) {
				if err = os.MkdirAll(filepath.Dir(to), 0o700); err == nil {
					err = os.Link(from, to)
				}
			}
			if err != nil {
				return nil, err
			}
			files = append(files, rel)
			count(tables, p)
		}
	}
	for _, t := range tables {
		m.Tables = append(m.Tables, *t)
	}
	slices.SortFunc(m.Tables, func(a, b bundle.Table) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Protocol, b.Protocol))
	})
	return files, nil
}

func count(tables map[[2]string]*bundle.Table, p write.Part) {
	key := [2]string{p.Table, p.Protocol}
	if tables[key] == nil {
		tables[key] = &bundle.Table{Name: p.Table, Protocol: p.Protocol, Columns: columnsOf(p.Table)}
	}
	tables[key].Rows += p.Rows
	tables[key].Parts++
}

// columnsOf lists the columns that a table has in any case.
func columnsOf(name string) (list []bundle.Column) {
	list = []bundle.Column{}
	for _, t := range table.All() {
		if t.Name != name {
			continue
		}
		for i := range t.Columns {
			list = append(list, bundle.Column{Name: t.Columns[i].Name, Type: t.Columns[i].Kind.String()})
		}
	}
	return list
}

// lagging is how far the run may be behind the recorder before a view says so.
const lagging = 3 * time.Second

// cover adds what a view lacks to its coverage.
func (s *Store) cover(dir string, files []string, m *bundle.Manifest, r Request, from int64, extra func([]table.Coverage, write.Folder) ([]write.Part, error)) ([]string, error) {
	var rows []table.Coverage
	hole := func(from, to int64, reason, detail string) {
		rows = append(rows, table.Coverage{FileID: -1, Source: "live", FromNs: from, ToNs: max(from, to), Kind: "hole", Reason: reason, Detail: detail})
	}
	if r.After > 0 && len(s.small) > 0 && s.small[0].Cut > r.After+1 {
		hole(s.small[0].First, s.small[0].First, "retention", fmt.Sprintf("calls of %d cuts were removed before they were asked for", s.small[0].Cut-r.After-1))
	}
	if r.After == 0 && s.removed > from && m.Window.FirstNs != nil {
		why := fmt.Sprintf("the live bundle keeps %s", s.keep)
		if s.shortage {
			why = fmt.Sprintf("the live bundle keeps at most %d MiB", s.most>>20)
		}
		hole(max(from, s.removed-int64(s.keep)), s.removed, "retention", why+"; the ring may still have the packets: make a snapshot")
	}
	if now := time.Now().UnixNano(); !s.cut.Idle && now-s.cut.Now > int64(lagging) {
		hole(s.cut.Now, now, "not_read", fmt.Sprintf("the live run is %s behind the recorder", time.Duration(now-s.cut.Now).Round(100*time.Millisecond)))
	}
	if len(rows) == 0 {
		return files, nil
	}
	parts, err := extra(rows, Folder{dir})
	for _, p := range parts {
		files = append(files, p.Rel)
	}
	return files, err
}

// dropViews removes views that are no longer kept, or all.
func (s *Store) dropViews(all bool) (err error) {
	for len(s.views) > 0 && (all || len(s.views) > viewsKept && time.Since(s.views[0].made) > viewFor) {
		err = errors.Join(err, os.RemoveAll(s.views[0].Path))
		s.views = s.views[1:]
	}
	return err
}

// Close removes everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.views = nil
	return os.RemoveAll(s.dir)
}
