package ring

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Ring is the contents of a ring's folder at the time when it was opened. Opening reads only
// the records and the file names; Verify checks them.
type Ring struct {
	Dir      string
	ID       string
	Node     string // from the first record
	Began    Time   // when recording began: the first record, or an earlier packet
	Records  int
	Damaged  int       // lines of seals.jsonl that cannot be read
	Segments []Segment // by series and number, including missing ones
	Deleted  map[string][]Range
	Holes    []Hole
	Writing  bool // a recorder has it open
	Head     *Record

	whole int64    // bytes of the records that were read
	stray []string // side files of no segment
}

// Segment is one segment of a ring.
type Segment struct {
	ID      ID
	Path    string
	Size    int64
	Open    bool     // hidden: being written, or left by a crash
	Missing bool     // sealed and not deleted, but not there
	Seal    *Seal    // nil if there is no record
	Record  *Record  // of the seal
	Side    []string // names of side files

	sides *sideSeals // nil if no record seals them
}

// SidesOpen reports whether the side files of a sealed segment are not sealed yet, so that
// they may lack lines. It is false for a ring of an earlier release.
func (s *Segment) SidesOpen() bool {
	return s.Seal != nil && s.Seal.SideFiles == SidesLater && !s.sides.sealed()
}

// Segments lists the segments of a ring.
func Segments(dir string) ([]Segment, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	return r.Segments, nil
}

// Open reads the records and names of a ring. It returns ErrNotRing, ErrNewer, or a disk
// error; damaged lines are counted.
func Open(dir string) (*Ring, error) {
	for try := 1; ; try++ {
		r, err := open(dir)
		if err != nil {
			return nil, fmt.Errorf("opening ring %s: %w", dir, err)
		}
		// Records and folder are not read at the same moment: what a recorder seals or removes
		// in between can look inconsistent once.
		if !r.Writing || try == 3 || !slices.ContainsFunc(r.Segments, func(s Segment) bool { return s.Missing || s.Open == (s.Seal != nil) }) {
			return r, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func open(dir string) (*Ring, error) {
	r := &Ring{Dir: dir}
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, ErrNotRing
	}
	var err error
	if r.Writing, err = writing(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	h := newHistory()
	if err := r.readSeals(h); err != nil {
		return nil, err
	}
	r.Deleted = h.deleted
	return r, r.readFolder(h)
}

func (r *Ring) readSeals(h *history) error {
	f, err := os.Open(filepath.Join(r.Dir, sealsName))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotRing
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r.whole, err = readSeals(f, func(rec *Record, _ int64, err error) error {
		if err != nil {
			r.Damaged++
			return nil
		}
		if o := rec.Origin; o != nil {
			if o.Version > Version {
				return fmt.Errorf("version %d, this program supports %d: %w", o.Version, Version, ErrNewer)
			}
			r.Node = o.Node
		}
		if r.ID == "" {
			r.ID = rec.Ring
		}
		r.Head = rec
		if r.Records++; r.Began == 0 {
			r.Began = rec.At
		}
		if s := rec.Segment; s != nil && s.Packets > 0 {
			r.Began = min(r.Began, s.First)
		}
		h.apply(rec)
		r.Holes = addHoles(r.Holes, rec)
		return nil
	})
	if err == nil && r.Records == 0 {
		err = fmt.Errorf("%s has no record that can be read: %w", sealsName, ErrNotRing)
	}
	return err
}

// addHoles appends the gaps that a record states. Everything that retention removed from a
// series is one gap.
func addHoles(list []Hole, r *Record) []Hole {
	switch {
	case r.Start != nil:
		return append(list, r.Start.Holes...)
	case r.Segment != nil:
		return append(list, r.Segment.Holes...)
	case r.Stop != nil:
		return append(list, r.Stop.Holes...)
	case r.Deletion == nil:
		return list
	}
	d := r.Deletion
	for i := range list {
		if h := &list[i]; h.Reason == Retention && h.Series == d.Series {
			h.From, h.To, h.Bytes = min(h.From, d.First), max(h.To, d.Last), h.Bytes+d.Bytes
			return list
		}
	}
	return append(list, Hole{Reason: Retention, Series: d.Series, From: d.First, To: d.Last, Packets: -1, Bytes: d.Bytes})
}

func (r *Ring) readFolder(h *history) error {
	list, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	index := map[ID]int{}
	side := map[ID][]string{}
	for _, e := range list {
		id, kind, hidden, ok := ParseName(e.Name())
		if !ok {
			continue
		}
		if kind != "pcapng" {
			side[id] = append(side[id], e.Name())
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // sealed or removed meanwhile
		}
		if err != nil {
			return err
		}
		s := Segment{ID: id, Path: filepath.Join(r.Dir, e.Name()), Size: info.Size(), Open: hidden}
		if i, twice := index[id]; twice {
			// It was renamed meanwhile.
			if !hidden {
				r.Segments[i] = s
			}
			continue
		}
		index[id] = len(r.Segments)
		r.Segments = append(r.Segments, s)
	}
	for id, rec := range h.live {
		i, there := index[id]
		if !there {
			i = len(r.Segments)
			r.Segments = append(r.Segments, Segment{ID: id, Path: filepath.Join(r.Dir, id.Segment()), Missing: true})
		}
		r.Segments[i].Seal, r.Segments[i].Record = rec.Segment, rec
	}
	for i := range r.Segments {
		r.Segments[i].Side, r.Segments[i].sides = side[r.Segments[i].ID], h.sides[r.Segments[i].ID]
		delete(side, r.Segments[i].ID)
	}
	r.stray = slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(side))...)))
	slices.SortFunc(r.Segments, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.ID.Series, b.ID.Series), cmp.Compare(a.ID.Sequence, b.ID.Sequence), cmp.Compare(a.ID.Node, b.ID.Node))
	})
	return nil
}
