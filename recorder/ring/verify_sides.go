package ring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sideRecord follows the state of a segment's side files in the chain.
func (v *verifier) sideRecord(n int64, r *Record) {
	id := r.Sides.ID()
	s := v.sides[id]
	if s == nil {
		s = &sideSeals{}
		v.sides[id] = s
	}
	switch {
	case v.sealed[id] == nil:
		v.rep.problem(n, id.Segment(), "it seals the side files of a segment that was not sealed before")
	case r.Sides.Reopened && !s.sealed():
		v.rep.problem(n, id.Segment(), "it reopens side files that were not sealed")
	case !r.Sides.Reopened && s.sealed():
		v.rep.problem(n, id.Segment(), "its side files are sealed a second time")
	}
	s.apply(r)
	for _, f := range r.Sides.Files {
		v.sums[strings.ToLower(f.SHA256)] = id
	}
}

// sidesOf compares the side files of an existing segment with their record.
func (v *verifier) sidesOf(s Segment) {
	name, sides := s.ID.Segment(), v.sides[s.ID]
	switch {
	case s.Seal.SideFiles == "":
		if len(s.Side) > 0 {
			v.rep.SidesUncovered = append(v.rep.SidesUncovered, name)
		}
		return
	case s.Seal.SideFiles == SidesNone:
		sides = &sideSeals{final: s.Record}
	case !sides.sealed():
		v.rep.SidesOpen = append(v.rep.SidesOpen, name)
		if sides == nil || sides.final == nil {
			return
		}
	case sides.final.Sides.Recovered:
		v.rep.SidesRecovered = append(v.rep.SidesRecovered, name)
	}
	var files []SideFile
	if sides.final.Sides != nil {
		files = sides.final.Sides.Files
	}
	for i := range files {
		what := v.sideFile(s.ID, &files[i], sides.open)
		if what == "" {
			v.rep.SideFiles++
		}
		v.sideProblem(s, sides, s.ID.Side(files[i].Kind), what)
	}
	for _, side := range s.Side {
		_, kind, _, _ := ParseName(side)
		if !sides.open && !slices.ContainsFunc(files, func(f SideFile) bool { return f.Kind == kind }) {
			v.sideProblem(s, sides, side, "an unexpected side file: no record lists it")
		}
	}
}

// sideFile describes the problem with a side file, "" if there is none.
func (v *verifier) sideFile(id ID, want *SideFile, open bool) string {
	path := filepath.Join(v.ring.Dir, id.Side(want.Kind))
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.rep.Pin != nil && !v.rep.Pin.Keys && want.Kind == KeysKind:
		return "" // the snapshot was taken without keys
	case errors.Is(err, fs.ErrNotExist):
		return "the side file is missing"
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return "not a regular file"
	}
	if v.opt.SkipHashes && !v.opt.HashSides {
		if info.Size() < want.Size || !open && info.Size() > want.Size {
			return sizes(info.Size(), want.Size)
		}
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	limit := int64(-1)
	if open {
		limit = want.Size
	}
	size, sum, err := sumSide(f, limit)
	switch of, known := v.sums[sum]; {
	case err != nil:
		return err.Error()
	case sum == strings.ToLower(want.SHA256) && size == want.Size:
		return ""
	case known && of != id:
		return "the side file of another segment: it is sealed with " + of.Segment()
	case size != want.Size:
		return sizes(size, want.Size)
	}
	return "its SHA-256 differs from its seal"
}

// sideProblem reports a problem with a side file, unless the recorder has properly changed or
// removed the file since the chain was read.
func (v *verifier) sideProblem(s Segment, sides *sideSeals, file, what string) {
	if what == "" {
		return
	}
	if v.ring.Writing {
		now, err := open(v.ring.Dir)
		i := -1
		if err == nil {
			i = slices.IndexFunc(now.Segments, func(x Segment) bool { return x.ID == s.ID && x.Seal != nil })
		}
		if err == nil && (i < 0 || !now.Segments[i].sides.same(sides)) {
			v.rep.Notes = append(v.rep.Notes, file+" was changed by the recorder during verification")
			return
		}
	}
	v.rep.problem(int64(sides.final.N), file, "%s", what)
}

func sizes(have, sealed int64) string { return fmt.Sprintf("%d bytes, sealed with %d", have, sealed) }

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, sum, err := sumSide(f, -1)
	return sum, err
}
