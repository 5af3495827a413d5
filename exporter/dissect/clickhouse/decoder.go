package clickhouse

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a block.
const (
	maxRows   = 1 << 32
	maxShown  = 16   // rows of a block that are shown
	maxKeys   = 1024 // keys of a dictionary that are kept to show values
	maxStored = 64   // bytes of a value that is shown
)

// decoder follows one block (src/Formats/NativeReader.cpp). It keeps the names of the columns and the
// first rows; memory does not depend on the size of the block.
type decoder struct {
	rev   uint64
	kinds map[string]*kind
	show  bool
	done  bool

	stage         int // 0: information, 1: numbers of columns and rows, 2: columns
	columns, rows uint64
	column        uint64
	steps         []step // the last one is next
	names         []string
	typeNames     []string
	texts         int
	shown         []*cells
	keys          *cells // of the dictionary that is being read
}

func (d *decoder) kept() int {
	n := d.texts + len(d.steps)*int(unsafe.Sizeof(step{}))
	for _, c := range d.shown {
		n += c.size + int(unsafe.Sizeof(cells{}))
	}
	if d.keys != nil {
		n += d.keys.size
	}
	return n
}

// read reads bytes. It returns 0 if it needs more.
func (d *decoder) read(b []byte) (n int, err error) {
	for n < len(b) && !d.done {
		m, err := d.next(b[n:])
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, nil
		}
		n += m
	}
	return n, nil
}

// next reads one field, or values of one step.
func (d *decoder) next(b []byte) (int, error) {
	if len(d.steps) > 0 {
		return d.step(b)
	}
	r := &cursor{b: b}
	switch d.stage {
	case 0:
		d.information(r)
	case 1:
		d.columns, d.rows = r.uvarint(), r.uvarint()
		if d.columns > maxColumns || d.rows > maxRows {
			r.fail(errBytes)
		}
	case 2:
		d.begin(r)
	}
	switch {
	case errors.Is(r.err, errShort):
		return 0, nil
	case r.err != nil:
		return 0, r.err
	}
	switch d.stage {
	case 0, 1:
		d.stage++
	default:
		d.column++
	}
	d.rest()
	return r.at, nil
}

// rest ends the block if nothing follows.
func (d *decoder) rest() {
	for len(d.steps) > 0 && d.steps[len(d.steps)-1].n == 0 {
		d.steps = d.steps[:len(d.steps)-1]
	}
	d.done = d.stage == 2 && d.column == d.columns && len(d.steps) == 0
}

// information reads the numbered fields of a block.
func (d *decoder) information(r *cursor) {
	for r.err == nil {
		switch r.uvarint() {
		case 0:
			return
		case 1:
			r.flag()
		case 2:
			r.u32()
		case 3: // buckets out of order
			r.take(4 * int(min(r.uvarint(), maxColumns)))
		default:
			r.fail(errBytes)
		}
	}
}

// begin reads the head of a column.
func (d *decoder) begin(r *cursor) {
	name, typeName := r.name(), r.bytes(maxType)
	custom := d.rev >= revCustom && r.flag()
	way := byte(0)
	if custom {
		way = r.byte()
	}
	if r.err != nil {
		return
	}
	if !readable(typeName, false) || len(typeName) == 0 {
		r.fail(errBytes)
		return
	}
	k := d.kinds[string(typeName)]
	if k == nil {
		k = parseKind(string(typeName), 0)
		if len(d.kinds) < maxKinds {
			d.kinds[string(typeName)] = k
		}
	}
	var shown *cells
	if d.show {
		d.names, d.typeNames = append(d.names, clip.Text(name, maxValue)), append(d.typeNames, clip.Text(typeName, maxValue))
		d.texts += min(len(name), maxValue) + min(len(typeName), maxValue)
		shown = newCells(d.rows, maxShown)
		d.shown = append(d.shown, shown)
	}
	switch {
	case d.rows == 0:
	case k.shape == unreadable, way > 1, way == 1 && k.shape == tuple:
		r.fail(fmt.Errorf("column %s of type %s: %w", clip.Text(name, maxValue), clip.Text(typeName, maxValue), errUnread))
	case way == 1:
		d.push(step{what: sparse, n: 1, kind: k})
	default:
		d.add(k, d.rows, shown)
		d.push(step{what: skipBytes, n: 8 * uint64(k.dicts)}) // versions of dictionaries
	}
}

// push adds a step before all others.
func (d *decoder) push(s step) { d.steps = append(d.steps, s) }

// add adds the values of a type before all other steps.
func (d *decoder) add(k *kind, n uint64, shown *cells) {
	if n == 0 {
		return
	}
	switch k.shape {
	case fixed:
		d.push(step{what: values, n: n, kind: k, shown: shown})
	case text:
		d.push(step{what: texts, n: n, kind: k, shown: shown})
	case nullable:
		d.add(k.inner[0], n, shown)
		d.push(step{what: nulls, n: n, shown: shown})
	case array:
		d.push(step{what: offsets, n: n, kind: k})
	case tuple:
		for i := len(k.inner) - 1; i >= 0; i-- {
			d.add(k.inner[i], n, nil)
		}
	case lowCard:
		d.push(step{what: dictHead, n: n, kind: k, shown: shown})
	}
	if k.shape == array || k.shape == tuple {
		for !shown.full() {
			shown.add("…")
		}
	}
}
