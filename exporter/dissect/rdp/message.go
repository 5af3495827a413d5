package rdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Structures of the negotiation, [MS-RDPBCGR] sections 2.2.1.1 and 2.2.1.2.
const (
	negRequest     = 1
	negResponse    = 2
	negFailure     = 3
	negCorrelation = 6
	negSize        = 8
	correlation    = 36 // bytes
	restricted     = 0x01
	redirected     = 0x02
	protocolBits   = 5
	x224Size       = 7 // of a header: length, type, two references, class
)

// asked has the fields of a connection request.
type asked struct {
	cookie    []byte // without the end of its line
	flags     byte
	protocols uint32
	negotiate bool
}

var errRequest = errors.New("reading a connection request: it is not of RDP")

// parseRequest reads a whole TPKT with a connection request.
func parseRequest(b []byte) (q asked, err error) {
	if len(b) < tpktSize+x224Size || int(b[4]) != len(b)-tpktSize-1 || b[5] != request || b[6]|b[7] != 0 || b[10] != 0 {
		return q, errRequest
	}
	b = b[tpktSize+x224Size:]
	if line, rest, ok := bytes.Cut(b, []byte("\r\n")); ok && clip.Printable(line) {
		if !bytes.HasPrefix(line, []byte(mstshash)) && !bytes.HasPrefix(line, []byte(msts)) {
			return q, errRequest
		}
		q.cookie, b = line, rest
	}
	if len(b) >= negSize && b[0] == negRequest && binary.LittleEndian.Uint16(b[2:]) == negSize {
		q.negotiate, q.flags, q.protocols = true, b[1], binary.LittleEndian.Uint32(b[4:])
		b = b[negSize:]
	}
	if q.negotiate && len(b) == correlation && b[0] == negCorrelation && binary.LittleEndian.Uint16(b[2:]) == correlation {
		b = nil
	}
	if len(b) > 0 || q.protocols >= 1<<protocolBits {
		return q, errRequest
	}
	return q, nil
}

const (
	mstshash = "Cookie: mstshash="
	msts     = "Cookie: msts="
)

// row is the row of a request.
func (q *asked) row() *Row {
	row := &Row{Restricted: q.flags&(restricted|redirected) != 0}
	row.Method = table.Some("CONNECT")
	if v, ok := bytes.CutPrefix(q.cookie, []byte(mstshash)); ok {
		row.User = table.NonEmpty(clip.Line(v, maxCookie))
	} else if v, ok := bytes.CutPrefix(q.cookie, []byte(msts)); ok {
		row.Token = table.NonEmpty(clip.Line(v, maxCookie))
	}
	if !q.negotiate {
		return row
	}
	t := tables()["protocols"]
	for bit := range protocolBits {
		if v := uint32(1) << bit; q.protocols&v != 0 {
			row.Requested = append(row.Requested, t.Name(int64(v), "protocol_"))
		}
	}
	if row.Requested == nil {
		row.Requested = []string{t.Name(0, "")}
	}
	return row
}

// parseConfirm reads a whole TPKT with a connection confirm: the kind of the negotiation, 0 if there is
// none, and its code.
func parseConfirm(b []byte) (kind byte, code uint32, err error) {
	if len(b) < tpktSize+x224Size || int(b[4]) != len(b)-tpktSize-1 || b[5] != confirm || b[10] != 0 {
		return 0, 0, errors.New("reading a connection confirm: it is not of RDP")
	}
	b = b[tpktSize+x224Size:]
	if len(b) == 0 {
		return 0, 0, nil
	}
	if len(b) != negSize || b[0] != negResponse && b[0] != negFailure || binary.LittleEndian.Uint16(b[2:]) != negSize {
		return 0, 0, fmt.Errorf("reading a connection confirm: %d bytes after its header are no negotiation", len(b))
	}
	kind, code = b[0], binary.LittleEndian.Uint32(b[4:])
	if kind == negResponse && (code >= 1<<protocolBits || code&(code-1) != 0) || kind == negFailure && (code == 0 || code > maxFailure) {
		return 0, 0, fmt.Errorf("reading a connection confirm: type %d with code %d", kind, code)
	}
	return kind, code, nil
}

const maxFailure = 32 // the specification defines 6

// Structures of MCS and GCC, ITU-T T.125 section 7 and T.124 section 8.7.
const (
	csCore  = 0xc001
	coreMin = 4 + 4 + 2 + 2 // header, version, width, height
)

// client reads what Connect-Initial states about the client, [MS-RDPBCGR] section 2.2.1.3.2. Missing fields
// stay null.
func (row *Row) client(b []byte) {
	user := userData(b)
	for len(user) >= 4 {
		kind, n := binary.LittleEndian.Uint16(user), int(binary.LittleEndian.Uint16(user[2:]))
		if n < 4 || n > len(user) {
			return
		}
		if kind == csCore && n >= coreMin {
			row.core(user[4:n])
			return
		}
		user = user[n:]
	}
}

// core reads the core data of the client.
func (row *Row) core(b []byte) {
	le := binary.LittleEndian
	row.Version = table.Some(tables()["versions"].Name(int64(le.Uint32(b)), "version_"))
	row.Desktop = table.Some(fmt.Sprintf("%dx%d", le.Uint16(b[4:]), le.Uint16(b[6:])))
	if len(b) < 52 {
		return
	}
	row.Keyboard, row.Build = table.Some(int64(le.Uint32(b[12:]))), table.Some(int64(le.Uint32(b[16:])))
	var units []uint16
	for i := 20; i < 52; i += 2 {
		u := le.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	row.ClientName = table.NonEmpty(clip.Line([]byte(string(utf16.Decode(units))), maxCookie))
}

// conference is the beginning of a conference create request in PER with the object identifier of T.124,
// up to the length of its data, which ends with the key of Microsoft, "Duca".
const conference = "\x00\x05\x00\x14\x7c\x00\x01"

// userData is the list of data blocks in Connect-Initial.
func userData(b []byte) []byte {
	body, ok := element(b)
	if !ok {
		return nil
	}
	r := ber.New(body)
	r.Expect(ber.Octets) // calling domain
	r.Expect(ber.Octets) // called domain
	r.Next()             // upward
	for range 3 {        // parameters: target, least, most
		r.Next()
	}
	gcc, ok := bytes.CutPrefix(r.Expect(ber.Octets), []byte(conference))
	if !ok || r.Bad() {
		return nil
	}
	_, rest, ok := bytes.Cut(gcc, []byte("Duca"))
	if !ok {
		return nil
	}
	return perBytes(rest)
}

// element reads an element of BER whose tag has two bytes, [APPLICATION 101] or [APPLICATION 102].
func element(b []byte) (body []byte, ok bool) {
	_, n, size := ber.Header(b[1:]) // of the second byte of the tag, which alone has the form of one
	if size <= 0 || n > int64(len(b)-1-size) {
		return nil, false
	}
	return b[1+size:][:n], true
}

// perBytes are bytes after their length in PER, ITU-T X.691 section 10.9.
func perBytes(b []byte) []byte {
	c := cursor.New(b)
	n := int(c.Uint8())
	if n&0x80 != 0 {
		n = n&0x7f<<8 | int(c.Uint8())
	}
	data := c.Bytes(min(n, max(c.Left(), 0)))
	if c.Short() {
		return nil
	}
	return data
}

// parseResponse is the result in Connect-Response.
func parseResponse(b []byte) (result int, ok bool) {
	body, ok := element(b)
	r := ber.New(body)
	v := r.Expect(ber.Enumerated)
	if !ok || r.Bad() || len(v) != 1 {
		return 0, false
	}
	return int(v[0]), true
}
