package smb

import (
	"bytes"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Beginnings in the tokens of SPNEGO, RFC 4178.
var (
	ntlm     = []byte("NTLMSSP\x00")
	kerberos = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02} // OID of the token, RFC 4121 section 4.1
)

// authenticate reads the token of a login, m.b[at:at+n], which begins with SPNEGO or is bare.
func (k *conn) authenticate(in *dissect.Input, c *call, m *message, at, n int) {
	token := m.bytes(at, n)
	if i := bytes.Index(token, ntlm); i >= 0 {
		k.ntlm(in, c, token[i:], m.at+at+i)
		return
	}
	if in.Dir == dissect.ToServer && bytes.Contains(token, kerberos) {
		c.x.Hide(in, m.at+at, m.at+at+n)
		c.login.auth = "kerberos"
		c.row.Auth, c.row.AuthKind = table.Some("kerberos"), table.Some("kerberos")
	}
}

// ntlm reads a message of NTLM, MS-NLMP section 2.2.1, which begins at a position of the input.
func (k *conn) ntlm(in *dissect.Input, c *call, b []byte, at int) {
	m := &message{b: b, at: at}
	row := c.row
	field := func(i int) (from, n int) { return int(m.u32(i + 4)), m.u16(i) }
	switch kind := m.u32(8); {
	case kind == 1 && in.Dir == dissect.ToServer:
		row.Auth, row.AuthKind = table.Some("ntlm"), table.Some("ntlm")
		c.x.Hide(in, at, at) // it has no credential
	case kind == 2 && in.Dir == dissect.ToClient:
		if m.bytes(24, 8) != nil { // the challenge
			c.x.Hide(in, at+24, at+32)
		}
		from, n := field(12)
		row.Target = table.NonEmpty(m.wide(from, n))
		if from, n = field(40); n > 0 {
			row.Target = targetName(m.bytes(from, n), row.Target)
		}
	case kind == 3 && in.Dir == dissect.ToServer:
		text := func(i int) string {
			from, n := field(i)
			if m.u32(60)&1 != 0 { // UTF-16
				return m.wide(from, n)
			}
			return clip.Line(m.bytes(from, n), maxText)
		}
		l := login{domain: text(28), user: text(36), workstation: text(44), auth: "ntlmv2"}
		switch _, size := field(20); {
		case size == 24:
			l.auth = "ntlmv1"
		case size == 0 && l.user == "":
			l.auth = "anonymous"
		case size == 0:
			l.auth = "lanman"
		}
		first := len(b)
		for _, i := range [...]int{12, 20, 28, 36, 44, 52} {
			from, n := field(i)
			if n == 0 || m.bytes(from, n) == nil {
				continue
			}
			first = min(first, from)
			if i <= 20 || i == 52 { // the two responses and the session key
				c.x.Hide(in, at+from, at+from+n)
			}
		}
		if first >= 88 { // room for the MIC, which proves the session key
			c.x.Hide(in, at+72, at+88)
		}
		c.setLogin(l)
		if l.auth != "anonymous" {
			row.AuthKind = table.Some("ntlm")
		}
	}
}

// setLogin sets the fields of a login.
func (c *call) setLogin(l login) {
	row := c.row
	c.login = l
	row.User, row.Domain, row.Workstation, row.Auth = table.NonEmpty(l.user), table.NonEmpty(l.domain), table.NonEmpty(l.workstation), table.NonEmpty(l.auth)
}

// loggedIn records the user of a session.
func (k *conn) loggedIn(c *call) {
	row := c.row
	if c.login.auth != "" {
		row.Auth = table.Some(c.login.auth)
	}
	if c.session != 0 && (c.login.user != "" || c.login.auth != "") {
		row.Session = hex64(c.session)
		k.sessions.put(c.session, c.login, len(c.login.user)+len(c.login.domain)+len(c.login.workstation))
	}
}

// targetName is the best name in the target information of a challenge, MS-NLMP section 2.2.2.1.
func targetName(b []byte, name table.Opt[string]) table.Opt[string] {
	for best := 0; len(b) >= 4; {
		kind, n := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
		if kind == 0 || n > len(b)-4 {
			break
		}
		if kind <= 3 && kind > best && n > 0 { // computer, domain, DNS name of the computer
			name, best = table.NonEmpty(wide(b[4:4+n])), kind
		}
		b = b[4+n:]
	}
	return name
}
