package bundle

import (
	"fmt"
)

// maxProblems limits the problems listed in a Report; further ones are counted.
const maxProblems = 10_000

// The kinds of problems.
const (
	Missing   = "missing"   // listed, but absent
	Changed   = "changed"   // present with another hash, size or count
	Added     = "added"     // present, but not listed
	Refused   = "refused"   // a link, device or similar, which a bundle must not contain
	Malformed = "malformed" // cannot be read as its format
	Chain     = "chain"     // the custody log is inconsistent
)

// Problem is one difference between a bundle and its manifests.
type Problem struct {
	File string `json:"file"` // path inside the bundle
	Kind string `json:"kind"`
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
}

// String is the problem in one line.
func (p Problem) String() string {
	s := p.File + ": " + p.Kind
	if p.Want != "" {
		s += ", expected " + p.Want
	}
	if p.Got != "" {
		s += ", got " + p.Got
	}
	return s
}

// Report is the result of Verify.
type Report struct {
	Path        string    `json:"path"`
	Files       int64     `json:"files"` // hashed
	Bytes       int64     `json:"bytes"` // hashed
	TagManifest Digest    `json:"tagmanifest_sha256"`
	Custody     []Entry   `json:"custody"`      // up to the first error
	CustodyHead Digest    `json:"custody_head"` // of the last of these lines
	Problems    []Problem `json:"problems"`
	More        int64     `json:"problems_more,omitempty"` // not listed

	// What signatures are checked against: SHA-256 of manifest-sha256.txt and of each line of
	// the custody log, and the other files in custody/ by their path.
	Manifest     Digest            `json:"-"`
	CustodyLines []Digest          `json:"-"`
	CustodyFiles map[string][]byte `json:"-"`
	Content      *Manifest         `json:"-"` // bundle.json, or nil if it cannot be read
}

// OK reports whether there are no problems.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// Err is nil if there are no problems, else an error that wraps ErrVerification and contains the
// first problem.
func (r *Report) Err() error {
	if r.OK() {
		return nil
	}
	n := int64(len(r.Problems)) + r.More
	if n == 1 {
		return fmt.Errorf("%s: %w: %s", r.Path, ErrVerification, r.Problems[0])
	}
	return fmt.Errorf("%s: %w: %s (further problems: %d)", r.Path, ErrVerification, r.Problems[0], n-1)
}

func (r *Report) add(file, kind, want, got string) {
	if len(r.Problems) >= maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, Problem{file, kind, want, got})
}

// merge adds the problems of the unpacked folder to the ZIP's report.
func (r *Report) merge(folder *Report) {
	r.More += folder.More
	for _, p := range folder.Problems {
		r.add(folder.Path+": "+p.File, p.Kind, p.Want, p.Got)
	}
	if folder.TagManifest != r.TagManifest {
		r.add(folder.Path+": "+tagManifestName, Changed, r.TagManifest.String(), folder.TagManifest.String())
	}
}
