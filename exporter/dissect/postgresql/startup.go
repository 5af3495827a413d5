package postgresql

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Codes of packets without a type, in the place of a version.
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
	majorThree = 3
)

// readStartup reads a packet without a type: a start-up, or a request before it.
func (k *conn) readStartup(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if len(b) < 8 {
		return 0, nil
	}
	size, code := int64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
	if size < 8 || size > maxStartup || code != codeCancel && code != codeSSL && code != codeGSS && code>>16 != majorThree {
		return 0, fmt.Errorf("reading a start-up packet: invalid length %d or version %#x", size, code)
	}
	if int64(len(b)) < size {
		k.c.Need(in.Dir, int(size))
		return 0, nil
	}
	end := at + int(size)
	r := cursor.New(b[8:size])
	var c *call
	switch code {
	case codeSSL:
		k.untyped(kindSSL, 'L', in, at, end)
	case codeGSS:
		k.untyped(kindGSS, 'L', in, at, end)
	case codeCancel:
		c = k.newCall(kindCancel)
		k.live++
		k.assign(c, in, at, end)
		c.pid = table.Some(int64(r.Uint32()))
		c.answered = true // it has no reply
		k.emit(c, in, "")
	default:
		c = k.untyped(kindStartup, 'U', in, at, end)
		k.parameters(&r)
		if r.Short() {
			c.bad = true
		}
	}
	return int(size), nil
}

func (k *conn) untyped(kind string, opKind byte, in *dissect.Input, at, end int) *call {
	c := k.newCall(kind)
	c.closed = true
	k.start(c)
	k.assign(c, in, at, end)
	k.wait(opKind, c, in, at)
	return c
}

// parameters reads the names and values of a start-up packet.
func (k *conn) parameters(r *cursor.Cursor) {
	for r.Left() > 1 && !r.Short() {
		name, value := r.CString(), sqltext.Text(r.CString())
		switch string(name) {
		case "user":
			k.user = value
			if k.database == "" {
				k.database = value
			}
		case "database":
			k.database = value
		case "application_name":
			k.application = value
		}
	}
}

// mechanism is the kind of credentials that a SASL mechanism uses.
func mechanism(name []byte) string {
	if len(name) == 0 || len(name) > 40 {
		return "sasl"
	}
	return strings.ToLower(sqltext.Text(name))
}

// authentication reads the kind of an Authentication message. It reports whether the rest of the
// message is a challenge or a proof.
func (c *call) authentication(r *cursor.Cursor) bool {
	switch r.Uint32() {
	case 0:
		if c.auth == "" {
			c.auth = "trust"
		}
	case 2:
		c.auth = "kerberos"
	case 3:
		c.auth = "password"
	case 5:
		c.auth = "md5"
		return true
	case 7:
		c.auth = "gss"
	case 9:
		c.auth = "sspi"
	case 10:
		c.auth = "sasl"
	case 8, 11, 12: // GSSContinue, SASLContinue, SASLFinal
		return true
	}
	return false
}

// readEncryption reads the 1-byte answer to an encryption request.
func (k *conn) readEncryption(c *call, in *dissect.Input, at int) (int, error) {
	b := in.Data[at]
	if b != 'S' && b != 'N' && b != 'G' {
		return 0, fmt.Errorf("reading the answer to an encryption request: %q is not S, N or G", b)
	}
	k.assign(c, in, at, at+1)
	c.text, c.answered = string(rune(b)), true
	k.pop(in)
	if b != 'N' {
		k.switched = true
		name := "tls"
		if b == 'G' {
			name = ""
		}
		k.c.Upgrade(name, nil)
	}
	return 1, nil
}

// refusedEncryption makes the row of the answer N to an encryption request that was not captured. The message after it
// makes it differ from a notice: its length would be over 1 GiB.
func (k *conn) refusedEncryption(in *dissect.Input, at int) {
	c := k.newCall(kindSSL)
	c.text, c.answered, c.closed = "N", true, true
	k.live++
	k.assign(c, in, at, at+1)
	k.emit(c, in, "")
}

// unsolicited makes the row of a message that answers no request.
func (k *conn) unsolicited(kind byte, in *dissect.Input, from, to int) *call {
	c := k.newCall(kindNotice)
	switch kind {
	case 'A':
		c.kind = kindNotify
	case 'S':
		c.kind = kindStatus
	}
	c.answered = true
	k.live++
	k.assign(c, in, from, to)
	return c
}

// terminated emits a row for an error with which the server ends the connection, because it shuts down or the client was
// idle too long. It reports whether e is one.
func (k *conn) terminated(e *serverError, in *dissect.Input, from, to int) bool {
	if e.severity == "ERROR" {
		return false
	}
	c := k.unsolicited('E', in, from, to)
	c.err, c.notices = e, []string{e.code + " " + e.severity + ": " + e.message}
	k.emit(c, in, "")
	return true
}

func (c *call) unsolicited() bool {
	return c.kind == kindNotify || c.kind == kindNotice || c.kind == kindStatus || c.kind == kindReplication
}
