package amqp1

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// The head of a frame, AMQP 1.0 section 2.3.
const (
	frameHead = 8
	frameAMQP = 0
	frameSASL = 1
)

// Performatives and frames of SASL by their descriptors.
const (
	open, begin, attach, flow        = 0x10, 0x11, 0x12, 0x13
	transfer, disposition            = 0x14, 0x15
	detach, end, closing             = 0x16, 0x17, 0x18
	mechanisms, initial, challenge   = 0x40, 0x41, 0x42
	response, outcome, preface       = 0x43, 0x44, 0xff
	stateReceived, stateAccepted     = 0x23, 0x24
	stateRejected, stateModified     = 0x25, 0x27
	coordinator, statusSettled       = 0x30, "settled"
	sectionProperties, sectionValues = 0x73, 0x74
	sectionData, sectionValue        = 0x75, 0x77
)

var names = map[byte]string{open: "open", begin: "begin", attach: "attach", flow: "flow", transfer: "transfer", disposition: "disposition", detach: "detach", end: "end",
	closing: "close", mechanisms: "sasl-mechanisms", initial: "sasl-init", challenge: "sasl-challenge", response: "sasl-response", outcome: "sasl-outcome", preface: "protocol header"}

// sends reports whether a side sends a performative in frames of a type.
func sends(dir dissect.Dir, kind, code byte) bool {
	switch {
	case kind == frameAMQP:
		return code >= open && code <= closing
	case code == initial || code == response:
		return dir == dissect.ToServer
	}
	return dir == dissect.ToClient && (code == mechanisms || code == challenge || code == outcome)
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	at := 0
	for at < len(in.Data) {
		var n int
		var err error
		if s := &k.sides[in.Dir]; s.left > 0 {
			n, err = k.payload(s, in, at)
		} else {
			n, err = k.frame(in, at)
		}
		at += n
		if n == 0 || err != nil {
			return at, err
		}
	}
	return at, nil
}

// frame reads a frame, of a transfer only its performative.
func (k *conn) frame(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	switch {
	case k.secures[in.Dir]: // TLS, once the other side agrees
		return 0, nil
	case b[0] == 'A':
		return k.preface(in, at)
	}
	if len(b) < frameHead {
		return 0, nil
	}
	size, head, kind := int64(binary.BigEndian.Uint32(b)), 4*int(b[4]), b[5]
	if size < int64(head) || head < frameHead || kind > frameSASL {
		return 0, fmt.Errorf("reading a frame: it cannot have %d bytes, a head of %d and type %d", size, head, kind)
	}
	most := int(min(size, maxFrame))
	r := newReader(b[:min(len(b), most)])
	r.Skip(head)
	if size == int64(head) { // only says that its sender is alive
		if r.Short() {
			return 0, nil
		}
		return head, nil
	}
	v := r.value()
	if r.Short() {
		if len(b) >= most {
			return 0, fmt.Errorf("reading a frame of %d bytes: its performative does not end in its first %d", size, most)
		}
		return 0, nil
	}
	code := byte(min(v.desc, preface-1))
	if high := v.code >> 4; high != 0xc && high != 0xd && v.code != 0x45 || !sends(in.Dir, kind, code) {
		return 0, fmt.Errorf("reading a frame of type %d: unexpected performative %#x", kind, v.desc)
	}
	used := r.Used()
	if code != transfer && int64(used) != size {
		return 0, fmt.Errorf("reading %s: %d bytes follow it in its frame", names[code], size-int64(used))
	}
	number := binary.BigEndian.Uint16(b[6:])
	f := v.items(16)
	if kind == frameSASL {
		k.sasl(in, at, at+used, code, f)
		return used, nil
	}
	k.performative(in, at, at+used, number, code, f)
	if s := &k.sides[in.Dir]; code == transfer {
		if s.left = size - int64(used); s.left == 0 {
			k.framed(s)
		}
	}
	return used, nil
}

// payload takes more bytes of a transfer.
func (k *conn) payload(s *side, in *dissect.Input, at int) (int, error) {
	n := int(min(s.left, int64(len(in.Data)-at)))
	c := s.call
	if c != nil {
		c.x.Request(in, at, at+n)
		if err := k.sections(c, in.Data[at:at+n]); err != nil {
			return 0, err
		}
	}
	if s.left -= int64(n); s.left == 0 {
		k.framed(s)
	}
	return n, nil
}

// framed handles the end of a transfer's frame.
func (k *conn) framed(s *side) {
	c, more := s.call, s.more
	*s = side{}
	if c != nil && !more {
		k.delivered(c)
	}
}

// preface reads a protocol header. The other side answers it with its own.
func (k *conn) preface(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if verdict := detectPreface(b); verdict == dissect.No {
		return 0, fmt.Errorf("reading a protocol header: unexpected bytes %.8q", b)
	} else if verdict == dissect.More {
		return 0, nil
	}
	k.pair(in, at, at+frameHead, preface, key{code: preface, id: uint32(b[4])}, 0, func(*call) {})
	k.secures[in.Dir] = b[4] == idTLS
	switch other := in.Dir.Other(); {
	case !k.secures[in.Dir]: // it refuses
		k.secures[other] = false
	case k.secures[other]:
		k.c.Upgrade("tls", nil)
	}
	return frameHead, nil
}

// Protocols of a header other than AMQP itself, sections 5.2.1 and 5.3.1.
const idTLS, idSASL = 2, 3

// detectPreface accepts a protocol header of AMQP, of TLS or of SASL in version 1.0.0.
func detectPreface(b []byte) dissect.Verdict {
	for i, c := range []byte("AMQP\x00\x01\x00\x00") {
		switch {
		case i == len(b):
			return dissect.More
		case b[i] != c && (i != 4 || b[i] != idTLS && b[i] != idSASL):
			return dissect.No
		}
	}
	return dissect.Yes
}

// detect accepts a protocol header, and a frame whose performative is a list that fills it, or
// begins it if a payload follows.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) > 0 && b[0] == 'A' {
		v := detectPreface(b)
		if v == dissect.Yes && len(b) > frameHead && b[frameHead] != 'A' {
			if next := detect(dir, b[frameHead:]); next != dissect.More {
				return next
			}
		}
		return min(v, dissect.Likely) // both sides send it
	}
	if len(b) > 5 && (b[4] != 2 || b[5] > frameSASL) || len(b) > 1 && b[0] != 0 {
		return dissect.No
	}
	if len(b) < frameHead {
		return dissect.More
	}
	size := int(binary.BigEndian.Uint32(b))
	if size == frameHead { // says that its sender is alive; the next one decides
		if b[5] != frameAMQP || len(b) > frameHead && b[frameHead] != 0 {
			return dissect.No
		} else if len(b) == frameHead {
			return dissect.More
		}
		return detect(dir, b[frameHead:])
	}
	const least = frameHead + 3
	for i, c := range []byte{0, 0x53} {
		if len(b) > frameHead+i && b[frameHead+i] != c {
			return dissect.No
		}
	}
	if size < least+1 || len(b) > least-1 && !sends(dir, b[5], b[least-1]) {
		return dissect.No
	}
	if len(b) < least+1 {
		return dissect.More
	}
	code, wide := b[least-1], 0
	switch b[least] {
	case 0xc0:
		wide = 1
	case 0xd0:
		wide = 4
	case 0x45:
		if code == end || code == closing {
			return dissect.Yes.If(size == least+1)
		}
		return dissect.No
	default:
		return dissect.No
	}
	if len(b) < least+1+2*wide {
		return dissect.More
	}
	list, count := int(b[least+1]), int(b[least+2])
	if wide == 4 {
		list, count = int(binary.BigEndian.Uint32(b[least+1:])), int(binary.BigEndian.Uint32(b[least+5:]))
	}
	whole := least + 1 + wide + list
	return dissect.Yes.If(list >= wide && count <= 14 && (whole == size || code == transfer && whole < size && count > 1))
}
