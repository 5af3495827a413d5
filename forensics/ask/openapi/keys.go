package openapi

import "regexp"

// Thresholds for keysAreData.
const (
	fewCodes    = 2
	fewNames    = 3 // similar objects, if some bodies lack some of the names
	manyNames   = 4 // similar objects
	sparseNames = 5 // plain values, if no name is in most bodies
)

var (
	// mapName matches field names of maps, such as by_user.
	mapName = regexp.MustCompile(`^(by|per)_|_(by|per)_|[a-z](By|Per)[A-Z]|^(labels|annotations|tags|attributes|metadata|rates|prices|balances|quotas|env|environment)$|([_a-z]M|_m)ap$`)
	// code matches standard codes: currencies, countries, languages, regions.
	code = regexp.MustCompile(`^([A-Z]{2,5}|[a-z]{2}[-_][A-Z]{2}|[a-z]{2,3}-[a-z]+-[0-9])$`)
)

// keysAreData reports whether the field names of an object are data although they are plain words,
// such as user names. All values must be of one type, and one of these must hold: the object has
// the name of a map, its field names are codes, its values are objects with mostly the same fields,
// or few names occur twice.
//
// LIMIT: an object of 4 or more similar objects counts as a map, even if each has its own meaning;
// a map of plain values with the same few names in every body is not recognized.
func (s *shape) keysAreData(name string) bool {
	kind, codes, least, most := "", true, s.objs, int64(0)
	for name, f := range s.fields {
		k := f.kind()
		if k == "" || kind != "" && k != kind {
			return false
		}
		kind, codes = k, codes && code.MatchString(name)
		least, most = min(least, f.seen), max(most, f.seen)
	}
	n, records := len(s.fields), kind == "object" && s.sameFields()
	switch {
	case n == 0:
		return false
	case mapName.MatchString(name):
		return true
	case kind == "object" && !records:
		return false
	case s.values != nil && (most < s.objs || s.objs == 1): // some of its field names are data
		return true
	case codes:
		return n >= fewCodes
	case records:
		return n >= manyNames || n >= fewNames && least < s.objs
	}
	return n >= sparseNames && 2*most <= s.objs
}

// sameFields reports whether the values, all objects, have at least two fields in common that make
// up half of all fields.
func (s *shape) sameFields() bool {
	in := map[string]int{}
	for _, f := range s.fields {
		for name := range f.fields {
			in[name]++
		}
	}
	common := 0
	for _, n := range in {
		if n == len(s.fields) {
			common++
		}
	}
	return common >= 2 && 2*common >= len(in)
}

// kind is the type of the values; empty if there are several types or none.
func (s *shape) kind() string {
	switch s.seen - s.null {
	case 0:
		return ""
	case s.boolean:
		return "boolean"
	case s.integer + s.number:
		return "number"
	case s.text:
		return "text"
	case s.list:
		return "list"
	case s.objs:
		return "object"
	}
	return ""
}

// anyField is the merged shape of all fields.
func (s *shape) anyField() *shape {
	out := &shape{}
	for _, f := range s.fields {
		out.merge(f)
	}
	if s.values != nil {
		out.merge(s.values)
	}
	return out
}

// merge adds the values of another shape.
func (s *shape) merge(o *shape) {
	for _, n := range []struct {
		to   *int64
		more int64
	}{{&s.seen, o.seen}, {&s.null, o.null}, {&s.boolean, o.boolean}, {&s.integer, o.integer}, {&s.number, o.number}, {&s.text, o.text}, {&s.list, o.list}, {&s.objs, o.objs},
		{&s.uuid, o.uuid}, {&s.dateTime, o.dateTime}, {&s.date, o.date}} {
		*n.to += n.more
	}
	s.partial = s.partial || o.partial
	join := func(to **shape, more *shape) {
		if more == nil {
			return
		}
		if *to == nil {
			*to = &shape{}
		}
		(*to).merge(more)
	}
	join(&s.items, o.items)
	join(&s.values, o.values)
	for name, f := range o.fields {
		if s.fields == nil {
			s.fields = map[string]*shape{}
		}
		to := s.fields[name]
		join(&to, f)
		s.fields[name] = to
	}
}
