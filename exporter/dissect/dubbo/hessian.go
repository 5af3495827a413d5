package dubbo

import (
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/secretname"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const hessian2 = 2 // identifier of the serialization

// Statuses of a response.
const (
	statusOK       = 20
	serverTimeout  = 31
	badRequest     = 40
	badResponse    = 50
	notFound       = 60
	serviceError   = 70
	serverError    = 80
	threadPoolFull = 100
)

// texts reads the values of Hessian 2 that the head of a body has.
type texts struct{ b []byte }

// next reads a string, Hessian 2 section 4.14. Its length counts characters of UTF-16.
func (t *texts) next() table.Opt[string] {
	var s strings.Builder
	for final := false; !final; {
		b := t.b
		n, head := 0, 1
		switch {
		case len(b) == 0:
			return table.Opt[string]{}
		case b[0] < 0x20:
			n, final = int(b[0]), true
		case b[0] >= 0x30 && b[0] <= 0x33 && len(b) > 1:
			n, head, final = int(b[0]-0x30)<<8|int(b[1]), 2, true
		case (b[0] == 'S' || b[0] == 'R') && len(b) > 2:
			n, head, final = int(b[1])<<8|int(b[2]), 3, b[0] == 'S'
		case b[0] == 'N':
			t.b = b[1:]
			return table.Opt[string]{}
		default:
			t.b = nil
			return table.Opt[string]{}
		}
		b = b[head:]
		for ; n > 0; n-- {
			r, size := utf8.DecodeRune(b)
			if size == 0 {
				t.b = nil
				return table.Opt[string]{}
			}
			if r > 0xffff { // a pair of surrogates
				n--
			}
			if s.Len() < maxText {
				s.Write(b[:size])
			}
			b = b[size:]
		}
		t.b = b
	}
	return table.NonEmpty(clip.Line([]byte(s.String()), maxText))
}

// hide hides the texts after names of secrets, as attachments have them. b is at a place of the input.
func (c *call) hide(in *dissect.Input, at int, b []byte) {
	for i := 0; i < len(b); i++ {
		from := i + 1 + int(b[i])
		if b[i] == 0 || b[i] >= 0x20 || from >= len(b) || !secretname.Is(b[i+1:from]) {
			continue
		}
		t := texts{b: b[from:]}
		if t.next(); t.b == nil {
			continue
		}
		head := 1
		switch {
		case b[from] >= 'R':
			head = 3
		case b[from] >= 0x30:
			head = 2
		}
		end := len(b) - len(t.b)
		if from += head; from < end {
			c.row.AuthKind = table.Some("password")
			c.x.Hide(in, at+from, at+end)
			i = end - 1
		}
	}
}

// small reads an integer of one byte, section 4.5. It is -1 if there is none.
func (t *texts) small() int {
	if len(t.b) == 0 || t.b[0] < 0x80 || t.b[0] > 0xbf {
		return -1
	}
	v := int(t.b[0]) - 0x90
	t.b = t.b[1:]
	return v
}

// class reads the name of the class of an object, section 4.7.
func (t *texts) class() table.Opt[string] {
	if len(t.b) == 0 || t.b[0] != 'C' {
		return table.Opt[string]{}
	}
	t.b = t.b[1:]
	return t.next()
}

// answered reads a response: its status, and whether the method threw an exception.
func (row *Row) answered(h *head, r *texts) {
	row.StatusCode, row.StatusText = table.Some(int32(h.status)), table.Some(tables()["status"].Name(int64(h.status), "status_"))
	switch h.status {
	case statusOK:
	case serverTimeout, badResponse, serviceError, serverError:
		row.Outcome = table.ServerError
	case threadPoolFull:
		row.Outcome = table.Refused
	default:
		row.Outcome = table.ClientError
	}
	if h.flags&0x1f != hessian2 {
		return
	}
	if h.status != statusOK {
		row.Message = r.next()
		return
	}
	if kind := r.small(); h.flags&isEvent == 0 && (kind == 0 || kind == 3) { // with an exception
		row.Exception = r.class()
		row.Outcome = table.ServerError
	}
}
