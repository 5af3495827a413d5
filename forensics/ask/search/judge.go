package search

import (
	"bytes"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// memoBytes is the memory for the verdicts on earlier texts. It is used for a pattern that the
// prefilter cannot help.
const memoBytes = 8 << 20

// textJudge finds a needle in texts.
type textJudge struct {
	f         *textFinder
	prefilter *prefilter
	memo      *forensics.TextMemo // nil: not needed
	every     bool                // all texts of the block are checked
}

func (f *textFinder) newJudge() *textJudge {
	j := &textJudge{f: f, prefilter: newPrefilter(f.n)}
	if j.prefilter.all() {
		j.memo = forensics.NewTextMemo(memoBytes)
	}
	return j
}

// contains reports whether a text contains the needle.
func (j *textJudge) contains(text []byte) bool {
	if j.memo == nil {
		return j.f.n.contains(text)
	}
	return j.memo.Of(0, text, func() forensics.TextVerdict {
		if j.f.n.contains(text) {
			return 1
		}
		return 0
	}) != 0
}

// callJudge finds the needle in calls. Its verdicts are the bits of Spots.
type callJudge struct{ *textJudge }

func (f *textFinder) inCalls() forensics.TextJudge { return callJudge{f.newJudge()} }

// Begin starts a block of texts.
func (j callJudge) Begin(place int, block []byte) {
	if j.every = place >= j.f.sides; !j.every {
		j.prefilter.begin(block)
	}
}

// Next returns the next place in the block that may contain the needle, or -1.
func (j callJudge) Next(at int) int {
	if j.every {
		return at
	}
	return j.prefilter.next(at)
}

// Text returns the bit of the place if the text contains the needle.
func (j callJudge) Text(place int, text []byte) forensics.TextVerdict {
	f := j.f
	if place >= f.sides {
		if len(text) == 32 && f.hashes[[32]byte(text)] {
			return f.bits[place]
		}
		return 0
	}
	if !j.contains(text) {
		return 0
	}
	if f.onlyMasked(redact.AsColumn, f.places[place].Columns[0], text) {
		return 0
	}
	return f.bits[place]
}

// onlyMasked reports whether only the masked part of a text contains the needle. Such a text is not
// found, because a match would confirm a guessed secret.
func (f *textFinder) onlyMasked(as, name string, text []byte) bool {
	if f.masker == nil {
		return false
	}
	raw := string(text)
	seen := f.masker.Text(as, name, raw)
	return seen != raw && !f.n.contains([]byte(seen))
}

// Header returns the bit for a header whose value contains the needle.
func (j callJudge) Header(_ int, name, value, kind []byte, _ forensics.TextVerdict) forensics.TextVerdict {
	f := j.f
	if f.kinds[string(kind)] != 0 && f.onlyMasked(redact.AsHeader, string(name), value) {
		return 0
	}
	return f.kinds[string(kind)]
}

// bodyJudge finds the needle in bodies: place 0 is text, place 1 bytes.
type bodyJudge struct {
	*textJudge
	form  []byte
	block []byte // block of binary bodies
}

func (f *textFinder) inBodies() forensics.TextJudge {
	j := &bodyJudge{textJudge: f.newJudge()}
	if len(f.n.forms) > 0 {
		j.form = []byte(f.n.forms[0])
	}
	return j
}

// Begin starts a block of texts.
func (j *bodyJudge) Begin(place int, block []byte) {
	if j.block = nil; place == 1 {
		j.block = block
		return
	}
	j.prefilter.begin(block)
}

// Next returns the next place in the block that may contain the needle, or -1.
func (j *bodyJudge) Next(at int) int {
	if j.block == nil {
		return j.prefilter.next(at)
	}
	if n := bytes.Index(j.block[at:], j.form); n >= 0 {
		return at + n
	}
	return -1
}

// Text returns 1 if the body contains the needle.
func (j *bodyJudge) Text(place int, text []byte) forensics.TextVerdict {
	switch {
	case place == 1 && bytes.Contains(text, j.form) && !j.f.onlyMasked(redact.AsColumn, "bytes", text):
		return 1
	case place == 0 && j.contains(text) && !j.f.onlyMasked(redact.AsContent, "", text):
		return 1
	}
	return 0
}

// Header returns 0: bodies have no headers.
func (*bodyJudge) Header(int, []byte, []byte, []byte, forensics.TextVerdict) forensics.TextVerdict {
	return 0
}
