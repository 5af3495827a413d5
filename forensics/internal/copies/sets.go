package copies

import "slices"

// Sets are sets of rows, each with another row of the same set, down to the first, which has itself.
type Sets map[Row]Row

// First returns the first row of a row's set.
func (s Sets) First(r Row) Row {
	for up, ok := s[r]; ok && up != r; up, ok = s[r] {
		s[r] = s[up]
		r = up
	}
	return r
}

// Join makes the sets of two rows one.
func (s Sets) Join(a, b Row) {
	a, b = s.First(a), s.First(b)
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	s[a], s[b] = a, a
}

// Others lists all rows but the first of each set, sorted.
func (s Sets) Others() (list []Row) {
	for r := range s {
		if s.First(r) != r {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, Row.Compare)
	return list
}
