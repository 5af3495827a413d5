package tds

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Options of PRELOGIN, section 2.2.6.5.
const (
	optVersion    = 0
	optEncryption = 1
	optEnd        = 0xff
	versionSize   = 6
	maxOption     = 16 // 7 is the greatest that is known
)

// options reads the list of options of PRELOGIN.
func options(b []byte) (version, encryption []byte, ok bool) {
	if !areOptions(b, len(b)) {
		return nil, nil, false
	}
	for at := 0; b[at] != optEnd; at += 5 {
		offset, size := int(binary.BigEndian.Uint16(b[at+1:])), int(binary.BigEndian.Uint16(b[at+3:]))
		switch value := b[offset : offset+size]; b[at] {
		case optVersion:
			version = value
		case optEncryption:
			encryption = value
		}
	}
	return version, encryption, true
}

// prelogin reads PRELOGIN, and its response.
func (k *conn) prelogin(c *call, dir dissect.Dir, b []byte) error {
	version, encryption, ok := options(b)
	if !ok {
		return fmt.Errorf("reading PRELOGIN: %.60q is no list of options", b)
	}
	if dir == dissect.ToClient {
		c.row.Product = table.Some(fmt.Sprintf("Microsoft SQL Server %d.%d.%d", version[0], version[1], binary.BigEndian.Uint16(version[2:])))
	}
	if len(encryption) == 0 {
		return nil
	}
	e := encryption[0]
	k.offered[dir] = tables()["encryption"].Name(int64(e), "encryption_")
	c.row.Encryption = table.Some(k.offered[dissect.ToServer])
	if dir == dissect.ToClient {
		c.row.Encryption = table.Some(k.offered[dissect.ToServer] + " → " + k.offered[dir])
		k.mustSeal = e == 1 || e == 3 // on, required: all of the connection
	}
	return nil
}

// loginSize is the length of LOGIN7 up to its variable part, section 2.2.6.4.
const loginSize = 94

// unshift is a password without the shift that hides it, section 2.2.6.4.
func unshift(b []byte) string {
	plain := make([]byte, len(b))
	for i, c := range b {
		c ^= 0xa5
		plain[i] = c<<4 | c>>4
	}
	return wide(plain, maxText)
}

// login reads LOGIN7. No row has the password.
func (k *conn) login(c *call, b []byte) error {
	if len(b) < loginSize-8 {
		return fmt.Errorf("reading LOGIN7: %d bytes", len(b))
	}
	field := func(at int) string {
		offset, n := int(binary.LittleEndian.Uint16(b[at:])), int(binary.LittleEndian.Uint16(b[at+2:]))
		if offset+2*n > len(b) {
			c.row.Partial = true
			return ""
		}
		return wide(b[offset:offset+2*n], maxText)
	}
	k.setVersion(binary.LittleEndian.Uint32(b[4:]))
	k.client, k.user, k.application, k.server = field(36), field(40), field(48), field(52)
	k.driver, k.database = field(60), field(68)
	row := c.row
	row.Client, row.User, row.Application, row.Server = table.NonEmpty(k.client), table.NonEmpty(k.user), table.NonEmpty(k.application), table.NonEmpty(k.server)
	row.Driver, row.Database, row.Version = table.NonEmpty(k.driver), table.NonEmpty(k.database), table.NonEmpty(k.version)
	const integratedSecurity = 0x80
	_, bearer := federated(b)
	if from, n := int(binary.LittleEndian.Uint16(b[44:])), 2*int(binary.LittleEndian.Uint16(b[46:])); b[25]&integratedSecurity == 0 && bearer == 0 && from+n <= len(b) {
		k.c.Password(k.user, unshift(b[from:from+n]))
	}
	switch sspi := int(binary.LittleEndian.Uint16(b[78:])); {
	case b[25]&integratedSecurity != 0:
		row.AuthKind = table.Some(integrated(b[min(sspi, len(b)):]))
	case binary.LittleEndian.Uint16(b[46:]) > 0:
		row.AuthKind = table.Some("password")
	case bearer > 0:
		row.AuthKind = table.Some("bearer")
	}
	return nil
}

// federated returns the place of the data of feature FEDAUTH of LOGIN7, section 2.2.6.4. Without the
// feature, to is 0.
func federated(b []byte) (from, to int) {
	const hasExtension, fedAuth = 0x10, 0x02
	at := int(binary.LittleEndian.Uint16(b[56:]))
	if b[27]&hasExtension == 0 || at+4 > len(b) {
		return 0, 0
	}
	list := int64(binary.LittleEndian.Uint32(b[at:]))
	for list+5 <= int64(len(b)) && b[list] != 0xff {
		size := int64(binary.LittleEndian.Uint32(b[list+1:]))
		if b[list] == fedAuth {
			return int(list + 5), int(list + 5 + size)
		}
		list += 5 + size
	}
	return 0, 0
}

// credentials lists the places of credentials in a message of the client, of which b is the beginning.
func credentials(kind byte, b []byte) (list [][2]int) {
	add := func(from, to int) { list = append(list, [2]int{from, max(from, to)}) }
	token := func(from, to int) { // that of NTLM keeps its signature and type, MS-NLMP section 2.2.1
		if from < len(b) && integrated(b[from:]) == "ntlm" {
			from += 12
		}
		add(from, to)
	}
	const all = 1 << 30
	switch {
	case kind == typeSSPI:
		token(0, all)
	case kind == typeFedAuth: // two lengths come first, section 2.2.6.3
		add(8, all)
	case kind == typeLogin && len(b) >= loginSize-8:
		more := isModern(binary.LittleEndian.Uint32(b[4:])) && len(b) >= loginSize // fields after the first 86 bytes
		u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
		add(u16(44), u16(44)+2*u16(46)) // password
		size := u16(80)
		if size == 0xffff && more { // the length is in a field of its own
			size = int(binary.LittleEndian.Uint32(b[90:]))
		}
		token(u16(78), u16(78)+size)
		if more {
			add(u16(86), u16(86)+2*u16(88)) // new password
		}
		if from, to := federated(b); to-from > 5 { // options and a length come before the token
			add(from+5, to)
		}
	}
	return list
}

// hide marks the credentials in the last n bytes of message, which are at in.Data[at:at+n].
func (c *call) hide(in *dissect.Input, at int, message []byte, n int, last bool) {
	begin, total := len(message)-n, 0
	for _, s := range credentials(c.kind, message) {
		from, to := max(s[0], begin), min(s[1], len(message))
		c.x.Hide(in, at+from-begin, at+to-begin)
		c.hidden += max(0, to-from)
		total += max(0, to-s[0])
	}
	if c.row.Partial || last && c.hidden != total { // it was not known when its bytes arrived
		c.x.HideUnplaced(in)
	}
}

// integrated names the kind of a token of integrated security.
func integrated(b []byte) string {
	if bytes.HasPrefix(b, []byte("NTLMSSP\x00")) {
		return "ntlm"
	}
	return "negotiate"
}

// isModern reports whether a version is 7.2 or later.
func isModern(v uint32) bool { return v>>24 >= 0x72 || v>>24 == 0x08 }

// setVersion records the version of TDS that a login requests or that the server chose.
func (k *conn) setVersion(v uint32) {
	if k.version = tables()["version"][int64(v)]; k.version == "" {
		k.version = fmt.Sprintf("%#x", v)
	}
	k.modern = no
	if isModern(v) {
		k.modern = yes
	}
	k.old = v == 0x70000000 || v == 0x07000000
}
