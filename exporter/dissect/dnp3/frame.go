package dnp3

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Sizes and bits of a frame, IEEE 1815 clause 9.2.
const (
	headSize   = 10
	block      = 16 // bytes of data before a checksum
	sumSize    = 2
	fromMaster = 0x80
	primary    = 0x40
)

// Bits of the transport layer (clause 8.2) and of the application layer (clause 4.2.2).
const (
	last        = 0x80
	first       = 0x40
	fragmentEnd = 0x40
)

// Function codes of the application layer, clause 4.2.2.5.
const (
	confirm     = 0
	read        = 1
	response    = 129
	unsolicited = 130
)

// frame is the head of a frame.
type frame struct {
	control             uint8
	destination, source uint16
	size                int // with checksums; 0 if the head is not complete
	damaged             bool
}

func (f *frame) primary() bool { return f.control&primary != 0 }

// carries reports whether the frame carries data of the transport layer.
func (f *frame) carries() bool { return f.primary() && (f.control&15 == 3 || f.control&15 == 4) }

// sums are the checksums of bytes: the polynomial 0x3d65, reflected.
var sums = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa6bc
			} else {
				c >>= 1
			}
		}
		t[i] = c
	}
	return t
}()

// sum is the checksum of b, clause 9.2.4.
func sum(b []byte) (c uint16) {
	for _, x := range b {
		c = c>>8 ^ sums[uint8(c)^x]
	}
	return ^c
}

// readFrame reads the frame at the front of b, and returns its data without checksums if it is complete.
func readFrame(b []byte) (f frame, data []byte, err error) {
	if len(b) < headSize {
		return f, nil, nil
	}
	if b[0] != 0x05 || b[1] != 0x64 || b[2] < 5 || sum(b[:8]) != binary.LittleEndian.Uint16(b[8:]) {
		return f, nil, fmt.Errorf("reading a frame: bytes %#x %#x, length %d and the checksum are not those of DNP3", b[0], b[1], b[2])
	}
	n := int(b[2]) - 5
	f = frame{control: b[3], destination: binary.LittleEndian.Uint16(b[4:]), source: binary.LittleEndian.Uint16(b[6:])}
	f.size = headSize + n + (n+block-1)/block*sumSize
	if len(b) < f.size {
		return f, nil, nil
	}
	for b = b[headSize:f.size]; len(b) > sumSize; {
		m := min(len(b)-sumSize, block)
		f.damaged = f.damaged || sum(b[:m]) != binary.LittleEndian.Uint16(b[m:])
		data = append(data, b[:m]...)
		b = b[m+sumSize:]
	}
	return f, data, nil
}

// detect accepts a head with its checksum. The client is usually the master.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < headSize {
		for i, want := range []byte{0x05, 0x64} {
			if i < len(b) && b[i] != want {
				return dissect.No
			}
		}
		return dissect.More
	}
	_, _, err := readFrame(b)
	if err == nil && (b[3]&fromMaster != 0) != (dir == dissect.ToServer) {
		return dissect.Likely
	}
	return dissect.Yes.If(err == nil)
}

// waits reports whether a request has a response: not a confirmation, nor one without acknowledgement.
func waits(function uint8) bool {
	switch function {
	case confirm, 6, 8, 10, 12, 33:
		return false
	}
	return true
}

// objects lists the headers of objects. Values follow a header unless the message only asks for them.
func objects(b []byte, all bool) (list []string) {
	r := cursor.New(b)
	for r.Left() > 0 && len(list) < maxObjects {
		_, text, ok := header(&r)
		if !ok {
			break
		}
		if list = append(list, text); !all {
			break
		}
	}
	return list
}

// object is a header of objects.
type object struct {
	group, variation uint8
	prefix           int // bytes of an index before each object
	count            int // -1: not stated
}

// header reads a header of objects, clause 4.2.2.7.
func header(r *cursor.Cursor) (o object, text string, ok bool) {
	o = object{r.Uint8(), r.Uint8(), 0, -1}
	qualifier := r.Uint8()
	little := func(n int) (v int) {
		for i := range n {
			v |= int(r.Uint8()) << (8 * i)
		}
		return v
	}
	text = fmt.Sprintf("g%dv%d", o.group, o.variation)
	if p := qualifier >> 4 & 7; p >= 1 && p <= 3 {
		o.prefix = 1 << (p - 1)
	}
	switch form := qualifier & 15; form {
	case 0, 1: // from and to
		n := 1 << form
		from, to := little(n), little(n)
		o.count = to - from + 1
		if text += fmt.Sprintf(" %d", from); to != from {
			text += fmt.Sprintf("-%d", to)
		}
	case 6: // all
	case 7, 8: // a count
		o.count = little(1 << (form - 7))
		text += fmt.Sprintf(" x%d", o.count)
	case 0xb: // free format
		o.count = little(1)
	default:
		return o, "", false
	}
	return o, text, !r.Short()
}

// answered reads internal indications, and what follows them.
func (row *Row) answered(b []byte) {
	r := cursor.New(b)
	iin := r.Uint16()
	if r.Short() {
		return
	}
	row.IIN = row.IIN[:0]
	for bit := int64(15); bit >= 0; bit-- {
		if name := tables()["iin"][bit]; name != "" && iin>>bit&1 != 0 {
			row.IIN = append(row.IIN, name)
		}
	}
	row.judge(iin)
	o, text, ok := header(&r)
	if !ok {
		return
	}
	if len(row.Answers) == 0 {
		row.Answers = []string{text}
	}
	if status := result(o, &r); status != 0 { // it says more than an indication
		row.StatusCode, row.StatusText, row.Outcome = table.Some(int32(status)), table.Some(tables()["control"].Name(int64(status), "control_")), table.Refused
	}
}

// judge sets the outcome that indications state.
func (row *Row) judge(iin uint16) {
	for bit := int64(0); bit <= 4; bit++ { // NO_FUNC_CODE_SUPPORT to ALREADY_EXECUTING
		if bit == 3 || iin>>bit&1 == 0 {
			continue
		}
		row.StatusCode, row.StatusText = table.Some(int32(iin)), table.Some(tables()["iin"][bit])
		if row.Outcome = table.ClientError; bit == 4 {
			row.Outcome = table.Refused
		}
		return
	}
}

// result is the first status but 0 of controls (g12v1) and analog outputs (g41) in a response.
func result(o object, r *cursor.Cursor) uint8 {
	size := 0
	switch {
	case o.group == 12 && o.variation == 1:
		size = 10
	case o.group == 41 && o.variation >= 1 && o.variation <= 4:
		size = [...]int{4, 2, 4, 8}[o.variation-1]
	default:
		return 0
	}
	for range o.count {
		r.Skip(o.prefix + size)
		if status := r.Uint8(); r.Short() || status != 0 {
			return status
		}
	}
	return 0
}
