package smb

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ntlm"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// kerberos is the OID that begins a token in SPNEGO (RFC 4178), RFC 4121 section 4.1.
var kerberos = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02}

// authenticate reads the token of a login, m.b[at:at+n], which begins with SPNEGO or is bare.
func (k *conn) authenticate(in *dissect.Input, c *call, m *message, at, n int) {
	token := m.bytes(at, n)
	if i := ntlm.Find(token); i >= 0 {
		k.ntlm(in, c, token[i:], m.at+at+i)
		return
	}
	if in.Dir == dissect.ToServer && bytes.Contains(token, kerberos) {
		c.x.Hide(in, m.at+at, m.at+at+n)
		c.login.auth = "kerberos"
		c.row.Auth, c.row.AuthKind = table.Some("kerberos"), table.Some("kerberos")
	}
}

// ntlm reads a message of NTLM, which begins at a position of the input.
func (k *conn) ntlm(in *dissect.Input, c *call, b []byte, at int) {
	m := ntlm.Parse(b)
	if (m.Kind == ntlm.Challenge) != (in.Dir == dissect.ToClient) {
		return
	}
	row := c.row
	for _, part := range m.Secrets {
		c.x.Hide(in, at+part[0], at+part[1])
	}
	switch m.Kind {
	case ntlm.Negotiate:
		row.Auth, row.AuthKind = table.Some("ntlm"), table.Some("ntlm")
		c.x.Hide(in, at, at) // it has no credential
	case ntlm.Challenge:
		row.Target = table.NonEmpty(m.Target)
	case ntlm.Authenticate:
		l := login{domain: m.Login.Domain, user: m.Login.User, workstation: m.Login.Workstation, auth: m.Login.Auth}
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
