package search

import (
	"bytes"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// memoBytes is what a pattern is given that leaves no text out, to remember texts that it
// has looked at.
const memoBytes = 8 << 20

// textJudge finds a needle in texts that are looked through.
type textJudge struct {
	f     *textFinder
	sieve *sieve
	memo  *forensics.TextMemo // nil: not needed
	every bool                // the texts of the block are all looked at
}

func (f *textFinder) newJudge() *textJudge {
	j := &textJudge{f: f, sieve: newSieve(f.n)}
	if j.sieve.all() {
		j.memo = forensics.NewTextMemo(memoBytes)
	}
	return j
}

// holds says that a text has the needle.
func (j *textJudge) holds(text []byte) bool {
	if j.memo == nil {
		return j.f.n.holds(text)
	}
	return j.memo.Of(0, text, func() forensics.TextVerdict {
		if j.f.n.holds(text) {
			return 1
		}
		return 0
	}) != 0
}

// callJudge finds the needle in calls. Its verdicts are bits of spots.
type callJudge struct{ *textJudge }

func (f *textFinder) inCalls() forensics.TextJudge { return callJudge{f.newJudge()} }

// Begin is told where texts stand.
func (j callJudge) Begin(place int, block []byte) {
	if j.every = place >= j.f.sides; !j.every {
		j.sieve.begin(block)
	}
}

// Next is where the next text may begin to be right.
func (j callJudge) Next(at int) int {
	if j.every {
		return at
	}
	return j.sieve.next(at)
}

// Text judges a text.
func (j callJudge) Text(place int, text []byte) forensics.TextVerdict {
	f := j.f
	if place >= f.sides {
		if len(text) == 32 && f.hashes[[32]byte(text)] {
			return f.bits[place]
		}
		return 0
	}
	if !j.holds(text) {
		return 0
	}
	if f.hidden(redact.AsColumn, f.places[place].Columns[0], text) {
		return 0
	}
	return f.bits[place]
}

// hidden says that the needle is only in what is masked of a text. That is not found, since a
// guess would be confirmed.
func (f *textFinder) hidden(as, name string, text []byte) bool {
	if f.masker == nil {
		return false
	}
	raw := string(text)
	seen := f.masker.Text(as, name, raw)
	return seen != raw && !f.n.holds([]byte(seen))
}

// Header judges a header whose value has the needle.
func (j callJudge) Header(_ int, name, value, kind []byte, _ forensics.TextVerdict) forensics.TextVerdict {
	f := j.f
	if f.kinds[string(kind)] != 0 && f.hidden(redact.AsHeader, string(name), value) {
		return 0
	}
	return f.kinds[string(kind)]
}

// bodyJudge finds the needle in bodies: place 0 is text, place 1 bytes.
type bodyJudge struct {
	*textJudge
	form  []byte
	block []byte // of bytes
}

func (f *textFinder) inBodies() forensics.TextJudge {
	j := &bodyJudge{textJudge: f.newJudge()}
	if len(f.n.forms) > 0 {
		j.form = []byte(f.n.forms[0])
	}
	return j
}

// Begin is told where texts stand.
func (j *bodyJudge) Begin(place int, block []byte) {
	if j.block = nil; place == 1 {
		j.block = block
		return
	}
	j.sieve.begin(block)
}

// Next is where the next text may begin to be right.
func (j *bodyJudge) Next(at int) int {
	if j.block == nil {
		return j.sieve.next(at)
	}
	if n := bytes.Index(j.block[at:], j.form); n >= 0 {
		return at + n
	}
	return -1
}

// Text judges a body.
func (j *bodyJudge) Text(place int, text []byte) forensics.TextVerdict {
	switch {
	case place == 1 && bytes.Contains(text, j.form) && !j.f.hidden(redact.AsColumn, "bytes", text):
		return 1
	case place == 0 && j.holds(text) && !j.f.hidden(redact.AsContent, "", text):
		return 1
	}
	return 0
}

// Header is of no use: bodies have none.
func (*bodyJudge) Header(int, []byte, []byte, []byte, forensics.TextVerdict) forensics.TextVerdict {
	return 0
}
