package tds

import (
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Tokens of a response, section 2.2.7.
const (
	tokOffset       = 0x78
	tokReturnStatus = 0x79
	tokColumns      = 0x81
	tokTableNames   = 0xa4
	tokColumnInfo   = 0xa5
	tokOrder        = 0xa9
	tokError        = 0xaa
	tokInfo         = 0xab
	tokReturnValue  = 0xac
	tokLoginAck     = 0xad
	tokFeatures     = 0xae
	tokRow          = 0xd1
	tokNullRow      = 0xd2
	tokChange       = 0xe3
	tokSessionState = 0xe4
	tokSSPI         = 0xed
	tokFedAuth      = 0xee
	tokDone         = 0xfd
	tokDoneProc     = 0xfe
	tokDoneInProc   = 0xff
)

// Bits of the status of DONE, section 2.2.7.6.
const (
	doneError     = 0x02
	doneCount     = 0x10
	doneAttention = 0x20
	doneServer    = 0x100
)

const commandSelect = 0xc1

const maxEmpty = 64 // columns whose values have no bytes, which would make a row of one byte long work

// tokens reads the tokens of a message while its packets arrive. Rows are read value by value.
type tokens struct {
	k        *conn
	c        *call // nil if it was given up
	bulk     bool  // the message is a bulk load
	buf      []byte
	wait     int // bytes of buf with which it is worth trying again
	cols     []column
	inRow    bool
	col      int
	nulls    []byte // of NBCROW
	value    value
	shown    int // bytes of preview before the row
	rows     int64
	lost     bool // a token is not known: the rest is not read
	tail     []byte
	attn     bool
	lastDone bool // the last token was DONE
	names    int  // bytes
}

const columnCost = int(unsafe.Sizeof(column{}))

func (t *tokens) kept() int {
	return cap(t.buf) + cap(t.cols)*columnCost + t.names + cap(t.value.head) + cap(t.nulls) + cap(t.tail)
}

// feed reads the payload of a packet.
func (t *tokens) feed(b []byte) {
	if t.lost {
		t.end13(b)
		return
	}
	if len(t.buf) > 0 {
		t.buf = append(t.buf, b...)
		if len(t.buf) < t.wait {
			return
		}
		b = t.buf
	}
	for len(b) > 0 && !t.lost {
		n := t.step(b)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	if t.lost {
		t.end13(b)
		t.buf = nil
		return
	}
	if len(b) > maxToken {
		t.lose("a token has more than 1 MiB")
		t.end13(b)
		t.buf = nil
		return
	}
	if len(b) == 0 {
		t.buf = t.buf[:0]
	} else {
		t.buf = append(t.buf[:0], b...)
	}
	t.wait = 0
	if len(b) > 1<<13 {
		t.wait = len(b) * 3 / 2
	}
}

// end13 keeps the last bytes of a message, which are a token DONE.
func (t *tokens) end13(b []byte) {
	t.tail = append(t.tail, b...)
	if n := len(t.tail) - 13; n > 0 {
		t.tail = append(t.tail[:0], t.tail[n:]...)
	}
}

// lose discards the position in the message.
func (t *tokens) lose(why string) {
	t.lost = true
	if t.c != nil {
		t.c.row.Partial = true
		t.k.c.Anomaly("token", "reading a message: "+why, 0)
	}
}

// end ends the message. It reports whether its last token was complete.
func (t *tokens) end() {
	if len(t.buf) > 0 && !t.lost { // it may have waited for more
		t.wait = 0
		for b := t.buf; len(b) > 0; {
			n := t.step(b)
			if b = b[n:]; n == 0 {
				t.lose("the message ends within a token")
				break
			}
		}
	}
	size := t.doneSize()
	if b := t.tail; t.lost && len(b) >= size && b[len(b)-size] >= tokDone {
		r := newLittle(b[len(b)-size+1:])
		t.done(r)
	}
	t.flushRow()
	t.buf, t.tail = nil, nil
}

func (t *tokens) doneSize() int {
	if t.k.modern == no {
		return 9
	}
	return 13
}

// step reads one token, or a part of a row. It returns 0 if b is too short.
func (t *tokens) step(b []byte) int {
	if t.inRow {
		return t.row(b)
	}
	r := newLittle(b)
	token := r.Uint8()
	t.lastDone = token >= tokDone
	switch token {
	case tokRow, tokNullRow:
		if len(t.cols) == 0 {
			t.lose("a row before its columns")
			return 0
		}
		var nulls []byte
		if token == tokNullRow {
			nulls = r.Bytes((len(t.cols) + 7) / 8)
		}
		if r.Short() {
			return 0
		}
		t.nulls = append(t.nulls[:0], nulls...)
		t.inRow, t.col = true, 0
		if t.rows++; t.c != nil && !t.bulk {
			t.shown, t.c.row.Rows = len(t.c.preview), table.Some(t.rows)
		}
		return r.Used()
	case tokColumns:
		return t.columns(r)
	case tokDone, tokDoneProc, tokDoneInProc:
		if len(b) < t.doneSize() {
			return 0
		}
		t.done(r)
		return t.doneSize()
	case tokReturnStatus, tokOffset:
		v := int32(r.u32())
		if !r.Short() && t.c != nil && token == tokReturnStatus {
			t.c.row.Return = table.Some(int64(v))
		}
	case tokReturnValue:
		t.returned(r)
	case tokFeatures:
		for r.Left() > 0 && r.Uint8() != 0xff {
			skip(r, r.u32())
		}
		if r.Short() || len(b) == r.Used() && b[len(b)-1] != 0xff {
			return 0
		}
	case tokSessionState, tokFedAuth:
		skip(r, r.u32())
	case tokTableNames, tokColumnInfo, tokOrder, tokError, tokInfo, tokLoginAck, tokChange, tokSSPI:
		body := r.Bytes(r.u16())
		if !r.Short() && t.c != nil {
			t.fact(token, body)
		}
	default:
		t.lose(fmt.Sprintf("token %#x is not known", token))
		return 0
	}
	if r.Short() || t.lost {
		return 0
	}
	return r.Used()
}

// skip skips n bytes, or those that the message has.
func skip(r *little, n uint32) {
	r.Skip(int(min(int64(n), int64(r.Left())+1)))
}

// row reads values of a row.
func (t *tokens) row(b []byte) int {
	n := 0
	for ; t.col < len(t.cols); t.col++ {
		v := &t.value
		if !v.begun {
			keep := 0
			if t.c != nil && !t.c.full {
				keep = maxText
			}
			*v = value{col: &t.cols[t.col], keep: keep, head: v.head[:0]}
			if i := t.col; len(t.nulls) > 0 && t.nulls[i/8]>>(i%8)&1 != 0 {
				v.null = true
				t.show()
				v.begun = false
				continue
			}
		}
		m, done := v.read(b[n:])
		n += m
		if !done {
			return n
		}
		t.show()
		v.begun = false
	}
	t.inRow = false
	t.flushRow()
	if n == 0 { // a row of nothing but NULL has no bytes; its token was consumed
		return t.step(b)
	}
	return n
}

// show appends the value to the preview.
func (t *tokens) show() {
	c := t.c
	if c == nil || c.full || t.bulk {
		return
	}
	if t.col > 0 {
		c.preview = append(c.preview, '\t')
	}
	if t.value.null {
		c.preview = append(c.preview, `\N`...)
	} else {
		c.preview = sqltext.AppendField(c.preview, []byte(t.value.text(maxText)))
	}
	if len(c.preview) > maxPreview {
		c.preview, c.full = c.preview[:t.shown], true
	}
}

// flushRow ends a row of the preview.
func (t *tokens) flushRow() {
	c := t.c
	switch {
	case c == nil || c.full || t.bulk:
	case t.inRow: // a part of a row is not shown
		c.preview, c.full = c.preview[:min(t.shown, len(c.preview))], true
	case len(c.preview) > t.shown:
		c.preview = append(c.preview, '\n')
		t.shown = len(c.preview)
	}
}

// columns reads COLMETADATA.
func (t *tokens) columns(r *little) int {
	n := r.u16()
	if n == 0xffff { // the client has them already
		return r.Used()
	}
	if n > maxColumns {
		t.lose(fmt.Sprintf("a result of %d columns", n))
		return 0
	}
	cols, names, empty := make([]column, 0, min(n, r.Left()/4+1)), 0, 0
	for range n {
		var c column
		ok := c.readColumn(r, t.k)
		if r.Short() {
			return 0
		}
		if !ok {
			t.lose(fmt.Sprintf("a column of type %#x", c.kind))
			return 0
		}
		if c.kind == tNull {
			empty++
		}
		names += len(c.name)
		cols = append(cols, c)
	}
	if r.Short() {
		return 0
	}
	if empty > maxEmpty {
		t.lose(fmt.Sprintf("%d columns without a type", empty))
		return 0
	}
	t.cols, t.names = cols, names
	if t.c == nil || n == 0 || t.bulk {
		return r.Used()
	}
	row := t.c.row
	row.Rows = table.Some(t.rows)
	if row.Results++; row.Results == 1 {
		for _, c := range cols[:min(n, maxNames)] {
			row.Columns = append(row.Columns, c.name)
		}
	} else {
		t.c.full = true // the preview is of the first result
	}
	return r.Used()
}
