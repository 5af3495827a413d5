package ldap

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
)

const maxFrame = 1 << 20 // bytes of a protected message that are read

// protected reads messages that a SASL mechanism signed or encrypted: a length of 4 bytes and a token
// (RFC 4422 section 3.7).
func (k *conn) protected(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if len(b) < 4 {
		return 0, nil
	}
	size := int64(binary.BigEndian.Uint32(b))
	if size < 8 || size > maxMessage {
		return 0, fmt.Errorf("reading a protected message: length %d is outside 8 to %d", size, maxMessage)
	}
	want := 4 + int(min(size, maxFrame))
	if len(b) < want {
		k.Conn.Need(in.Dir, want)
		return 0, nil
	}
	plain := unwrap(b[4:want])
	if size > maxFrame || !isMessages(in.Dir, plain) {
		c := k.seal()
		c.Add(in, at, at+want)
		k.parts[in.Dir] = framed.Side[*call]{Left: 4 + size - int64(want), Call: c}
		return want, nil
	}
	from, to := at, at+want
	for len(plain) > 0 { // the first message has the bytes of all
		_, n, head := ber.Header(plain)
		c, final, err := k.message(in, plain[head:head+int(n)], from, to, false)
		if err != nil {
			return 0, err
		}
		if from == to {
			c.x.Cite(in, at, to)
		}
		if from, plain = to, plain[head+int(n):]; final {
			k.parts[in.Dir] = framed.Side[*call]{Call: c, Final: true}
			k.Ended(in.Dir, "")
		}
	}
	return want, nil
}

// seal is the call of everything that was encrypted.
func (k *conn) seal() *call {
	if k.sealed == nil {
		k.sealed = &call{row: &Row{Type: "sealed"}, single: true, losses: k.losses}
	}
	return k.sealed
}

// isMessages reports whether b is nothing but whole messages of a side.
func isMessages(dir dissect.Dir, b []byte) bool {
	r := ber.New(b)
	for r.More() {
		m := r.Enter(ber.Sequence)
		m.Int(ber.Integer)
		if op := m.Peek(); m.Bad() || !sends(dir, op) {
			return false
		}
	}
	return len(b) > 0 && !r.Bad()
}

// resume also accepts a protected message.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) >= 20 && head[0] == 0 && binary.BigEndian.Uint32(head) >= 16 && string(head[4:6]) == "\x05\x04" {
		return dissect.Likely
	}
	return detect(dir, head)
}

// unwrap is the content of a token that is signed and not encrypted: of Kerberos (RFC 4121 section
// 4.2.6.2) or NTLM (MS-NLMP section 2.2.2.9).
func unwrap(b []byte) []byte {
	const head, sealed = 16, 2 // bytes of a header, and a flag
	switch {
	case len(b) < head:
		return nil
	case b[0] == 5 && b[1] == 4 && b[2]&sealed == 0:
		sum, turned := int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
		b = b[head:]
		if sum > len(b) {
			return nil
		}
		if turned == 0 {
			return b[:len(b)-sum]
		}
		if turned == sum {
			return b[sum:]
		}
		return nil
	case bytes.HasPrefix(b, []byte("\x01\x00\x00\x00")):
		return b[head:]
	}
	return nil
}
