package finding

// Change is the difference between the findings of two recordings of the same system.
type Change struct {
	New       []Finding // only in the later one
	Fixed     []Finding // only in the earlier one, as it was there
	Accepted  []Finding // in the later one, and accepted
	Unchanged []Finding // in both, as in the later one
}

// Compare compares findings by their ids; each list keeps its order. Both lists must be complete
// (ask.Scope.All) and come from the same analyzers with the same allow-list. Fixed means that a
// finding was not seen again: the caller states what the later recording could not see.
func Compare(before, after []Finding) Change {
	had, have := map[string]bool{}, map[string]bool{}
	for i := range before {
		had[before[i].ID] = true
	}
	var c Change
	for _, f := range after {
		have[f.ID] = true
		switch {
		case f.Accepted.Valid():
			c.Accepted = append(c.Accepted, f)
		case had[f.ID]:
			c.Unchanged = append(c.Unchanged, f)
		default:
			c.New = append(c.New, f)
		}
	}
	for _, f := range before {
		if !have[f.ID] {
			c.Fixed = append(c.Fixed, f)
		}
	}
	return c
}
