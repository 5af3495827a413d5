// Package encoded searches texts for values in encodings within each other: escapes, base64, base32, hexadecimal
// digits, wide characters and compressed texts.
//
// It reports the range of the outermost encoding that holds a value, as exactly as the encoding allows; something
// compressed goes as a whole. Time and memory are bounded by the size of a text, whatever is in it.
package encoded

import "unsafe"

// Limits of a search.
const (
	maxDeep      = 4       // encodings within each other
	leastValue   = 8       // bytes of a decoded text that may hold a value
	mostPlain    = 4 << 20 // bytes that one compressed text gives
	mostDecoded  = 8       // bytes that are decoded in all, for each byte of a text
	leastDecoded = 8 << 20 // of any text
	mostKept     = 1 << 20 // bytes of a buffer that the next search uses again
)

// Values are the values that are searched.
type Values interface {
	// None reports whether there are none.
	None() bool

	// Next finds the first value in b that begins at from or behind it: b[f.From:f.To] goes, and the next
	// search begins at next. ok is false if there is none.
	Next(b []byte, from int) (f Found, next int, ok bool)
}

// Found is a range of bytes that hold a value, and the rule of the value.
type Found struct {
	From, To int
	Rule     int32
}

// Finder finds values in encodings. One goroutine uses it.
type Finder struct {
	Values Values
	Raw    func(text string) // also searches what was compressed; it must not keep the text; may be nil
	Seen   *Seen             // runs that hold none of the values, which must not change then; may be nil

	left   int                // bytes that may be decoded of this text
	open   int                // see Find
	count  int                // values found
	hit    func(Found)        // see Find
	levels [maxDeep + 1]level // the texts that are being searched, within each other; the first has no text
	packed []byte             // base64 that may be something compressed

	unpacker
}

// Find calls hit for each value in an encoding in b: the range of its bytes there, and its rule. It does not report
// values that are plain in b. open is where a compressed text begins that continues after b, -1 if none does.
func (f *Finder) Find(b []byte, hit func(Found)) (open int) {
	if f.Values.None() && f.Raw == nil {
		return -1
	}
	f.left, f.open, f.hit = max(leastDecoded, mostDecoded*len(b)), -1, hit
	f.scan(b, 0)
	f.hit = nil
	for i := range f.levels {
		if l := &f.levels[i]; cap(l.text)+cap(l.lines.text) > mostKept {
			*l = level{}
		}
	}
	if cap(f.packed) > mostKept {
		f.packed = nil
	}
	return f.open
}

// scan searches one text, which is at some depth.
func (f *Finder) scan(b []byte, depth int) {
	f.escapes(b, depth, anyEscape)
	f.escapes(b, depth, quotedOnly)
	f.runs(b, depth)
	f.wide(b, depth)
	f.compressed(b, depth)
	f.blocks(b, depth)
}

// level is a decoded text, with its place in the one around it.
type level struct {
	text  []byte
	kind  placing
	from  int     // where it begins there
	end   int     // where it ends there
	at    []int32 // the place of each byte
	chars []int32 // the places of characters of base64

	lines lines // of base64 in this text
}

// placing tells where the bytes of a decoded text are in the one around it.
type placing int

const (
	whole    placing = iota // anywhere from its beginning to its end
	listed                  // at the listed places
	pairs                   // each in 2 characters
	fives                   // 5 bits in each character
	sixes                   // 6 bits in each character
	linesOf6                // 6 bits in each listed character
)

// place is where a byte, or the end, is in the text around.
func (l *level) place(i int) int {
	if i >= len(l.text) {
		return l.end
	}
	switch l.kind {
	case listed:
		return int(l.at[i])
	case pairs:
		return l.from + 2*i
	case fives:
		return l.from + (8*(i+1)+4)/5 - 2
	case sixes:
		return l.from + i + i/3
	case linesOf6:
		return int(l.chars[i+i/3])
	}
	return l.from
}

func (l *level) around(r Found) Found {
	if l.kind == whole {
		return Found{l.from, l.end, r.Rule}
	}
	return Found{l.place(r.From), l.place(r.To), r.Rule}
}

// next empties the level of texts within one at some depth.
func (f *Finder) next(depth int, kind placing, from, end int) *level {
	l := &f.levels[depth+1]
	l.text, l.at, l.kind, l.from, l.end = l.text[:0], l.at[:0], kind, from, end
	return l
}

// within searches the level of texts within one at some depth, and what is encoded in it.
func (f *Finder) within(depth int) {
	b := f.levels[depth+1].text
	if f.left -= len(b); f.left <= 0 || len(b) < leastValue {
		return
	}
	if !f.Values.None() {
		for from := 0; ; {
			r, next, ok := f.Values.Next(b, from)
			if !ok {
				break
			}
			from = next
			for i := depth + 1; i > 0; i-- {
				r = f.levels[i].around(r)
			}
			f.count++
			f.hit(r)
		}
	}
	if depth+1 < maxDeep {
		f.scan(b, depth+1)
	}
}

// raw searches what was compressed by Raw, too.
func (f *Finder) raw(text []byte) {
	if f.Raw != nil {
		f.Raw(unsafe.String(unsafe.SliceData(text), len(text)))
	}
}
