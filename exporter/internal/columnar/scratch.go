package columnar

import "slices"

// Scratch is the memory that tables filled by one goroutine share: a few megabytes for writing row
// groups, and that of staged rows. A nil Scratch is one of a table alone.
//
// Tables that share a limit for staged rows write row groups early if they reach it together. So
// where their groups end depends on the rows of all of them, in the order of the calls of Append.
type Scratch struct {
	StagedBytes int // raw bytes of rows for which all tables may keep memory; no limit if 0

	work   *workspace
	tables []*Table // that keep memory, in the order in which they began to
	held   int      // raw bytes for which they do
}

// workspace is the memory for writing row groups.
func (s *Scratch) workspace(level Level) (w *workspace, err error) {
	if s != nil && s.work != nil {
		return s.work, nil
	}
	if w, err = newWorkspace(level); s != nil {
		s.work = w
	}
	return w, err
}

// grow counts the memory of the staged rows of t. If all tables together exceed the limit, the
// tables that use their memory least, or else the fullest, write their rows and free it.
func (s *Scratch) grow(t *Table) error {
	if s == nil || s.StagedBytes == 0 || t.raw <= t.room {
		return nil
	}
	if t.room == 0 {
		s.tables = append(s.tables, t)
	}
	s.held += t.raw - t.room
	t.room = t.raw
	for s.held > s.StagedBytes {
		fullest := s.fullest()
		if fullest.staged > 0 {
			if err := fullest.flush(); err != nil {
				return fullest.fail(err)
			}
		}
		for _, c := range fullest.columns {
			c.free()
		}
		s.drop(fullest)
	}
	return nil
}

// fullest is the table with most memory of those without rows, or else the one with most rows.
func (s *Scratch) fullest() *Table {
	return slices.MaxFunc(s.tables, func(a, b *Table) int {
		if a.raw == 0 || b.raw == 0 {
			if a.raw == 0 && b.raw == 0 {
				return a.room - b.room
			}
			return b.raw - a.raw
		}
		return a.raw - b.raw
	})
}

// drop forgets a table that has released its memory.
func (s *Scratch) drop(t *Table) {
	if t.room == 0 {
		return
	}
	s.held -= t.room
	t.room = 0
	s.tables = slices.DeleteFunc(s.tables, func(o *Table) bool { return o == t })
}
