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

// resume also accepts an encrypted message.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if token, _ := token(head); len(token) >= tokenHead && isWrap(dir, token) {
		return dissect.Likely
	}
	return detect(dir, head)
}

// detectOnPort also accepts an encrypted message: only its port says that it is LDAP.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	if token, size := token(head); len(token) >= tokenHead && (isWrap(dir, token) || size == int64(len(token)) && isNTLM(token)) {
		return dissect.Yes
	}
	return dissect.No
}

const tokenHead = 16 // bytes of the header of a token

// token is a token of SASL, or its beginning, and its size, which is 0 if head does not begin with one.
func token(head []byte) (b []byte, size int64) {
	if len(head) < 4 {
		return nil, 0
	}
	if size = int64(binary.BigEndian.Uint32(head)); size <= tokenHead || size > maxMessage {
		return nil, 0
	}
	return head[4:min(int64(len(head)), 4+size)], size
}

// Flags of a token of Kerberos, RFC 4121 section 4.2.2.
const (
	byAcceptor = 1
	isSealed   = 2
	allFlags   = 7
)

// isWrap reports whether b, of at least tokenHead bytes, begins a token of Kerberos that this side sent.
func isWrap(dir dissect.Dir, b []byte) bool {
	return b[0] == 5 && b[1] == 4 && b[2]&^allFlags == 0 && (b[2]&byAcceptor != 0) == (dir == dissect.ToClient) && b[3] == 0xff
}

// isNTLM reports whether b begins a token of NTLM.
func isNTLM(b []byte) bool { return bytes.HasPrefix(b, versionNTLM) }

// versionNTLM begins a token of NTLM.
var versionNTLM = []byte("\x01\x00\x00\x00")

// detectSigned accepts a message that is signed and not encrypted.
func detectSigned(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < 4 {
		return dissect.More
	}
	b, size := token(head)
	switch start := b[:min(len(b), 4)]; {
	case size == 0, !bytes.HasPrefix(versionNTLM, start) && !bytes.HasPrefix([]byte("\x05\x04"), start[:min(len(start), 2)]):
		return dissect.No
	case len(b) < tokenHead:
		return dissect.More
	}
	switch from := content(b); {
	case !isNTLM(b) && !isWrap(dir, b), from == 0 || int64(from) >= size:
		return dissect.No
	case from >= len(b):
		return dissect.More
	case b[from] != ber.Sequence:
		return dissect.No
	default:
		if v := detect(dir, b[from:]); v != dissect.More || int64(len(b)) < size {
			return v
		}
		return dissect.No
	}
}

// content returns the offset of a token's content, 0 if that is encrypted: of Kerberos (RFC 4121 section 4.2.6.2) or
// NTLM (MS-NLMP section 2.2.2.9). b has at least tokenHead bytes.
func content(b []byte) int {
	if isNTLM(b) {
		return tokenHead
	}
	sum, turned := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	switch {
	case b[0] != 5 || b[1] != 4 || b[2]&isSealed != 0:
		return 0
	case turned == 0:
		return tokenHead
	case turned == sum:
		return tokenHead + int(sum)
	}
	return 0
}

// unwrap is the content of a token that is signed and not encrypted.
func unwrap(b []byte) []byte {
	if len(b) < tokenHead {
		return nil
	}
	from, to := content(b), len(b)
	if from == tokenHead && !isNTLM(b) { // the sum is at the end
		to -= int(binary.BigEndian.Uint16(b[4:]))
	}
	if from == 0 || from > to {
		return nil
	}
	return b[from:to]
}
