package mysql

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// First bytes of packets of the server.
const (
	packetOK     = 0x00
	packetMore   = 0x01 // of an authentication
	packetFactor = 0x02 // of an authentication with several factors: the plugin of the next one
	packetFile   = 0xfb
	packetEOF    = 0xfe // also the request for another plugin, and OK after the rows of a result
	packetErr    = 0xff
)

const maxPlugin = 64 // bytes of a plugin's name

// reader reads the numbers and strings of the protocol, which are little-endian.
type reader struct{ cursor.Cursor }

func newReader(b []byte) reader { return reader{cursor.New(b)} }

func (r *reader) number(n int) (v uint64) {
	for i, c := range r.Bytes(n) {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// lenenc reads a length-encoded integer. null is true for 0xfb, which means NULL in a row.
func (r *reader) lenenc() (v uint64, null bool) {
	switch c := r.Uint8(); c {
	case 0xfb:
		return 0, true
	case 0xfc:
		return r.number(2), false
	case 0xfd:
		return r.number(3), false
	case 0xfe:
		return r.number(8), false
	case 0xff:
		r.Skip(r.Left() + 1)
		return 0, false
	default:
		return uint64(c), false
	}
}

// text reads a length-encoded string.
func (r *reader) text() []byte {
	n, _ := r.lenenc()
	if n > uint64(r.Left()) {
		r.Skip(r.Left() + 1)
		return nil
	}
	return r.Bytes(int(n))
}

// greeting reads the server's first packet, Protocol::HandshakeV10.
func (k *conn) greeting(c *call, b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("reading the greeting: an empty packet")
	}
	if b[0] == packetErr {
		k.failed(c, b)
		k.phase = phaseCommand
		k.emit(c, "")
		return nil
	}
	r := newReader(b)
	r.Skip(1)
	c.version = strings.TrimPrefix(clip.Text(r.CString(), maxPlugin), "5.5.5-") // MariaDB's prefix for old replicas
	c.thread = table.Some(int64(r.number(4)))
	k.hide(c, r.Used(), r.Used()+8)
	r.Skip(9)
	caps := r.number(2)
	if r.Left() > 0 {
		r.Skip(1)
		c.status = uint16(r.number(2))
		caps |= r.number(2) << 16
		size := int(r.Uint8())
		r.Skip(6)
		if more := r.number(4); caps&capLongPassword == 0 {
			caps |= more << 32
		}
		if caps&capSecure != 0 {
			n := max(13, size-8)
			k.hide(c, r.Used(), r.Used()+n)
			r.Skip(n)
		}
		if caps&capPluginAuth != 0 && !r.Short() {
			c.plugin = pluginName(r.Rest())
		}
	}
	if r.Short() {
		return fmt.Errorf("reading the greeting: it is too short for its fields: %.60q", b)
	}
	k.serverCaps = caps
	c.stage = stageAuth
	return nil
}

// pluginName is the name of an authentication plugin, up to a zero byte.
func pluginName(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 || len(b) > maxPlugin || !clip.Printable(b) {
		return ""
	}
	return sqltext.Text(b)
}

// logsIn reports whether the messages of a call may have credentials.
func (c *call) logsIn() bool { return c.kind == kindConnect || c.stage == stageAuth }

// hide records that bytes from to to of the current message are a challenge or a credential, except zeros
// at their end.
func (k *conn) hide(c *call, from, to int) {
	m := &k.current
	if m.at < 0 {
		c.x.HideUnplaced(m.in)
		return
	}
	for to = min(to, len(m.data)); to > from && m.data[to-1] == 0; {
		to--
	}
	c.x.Hide(m.in, m.at+from, m.at+to)
}

// credentials records that bytes from to to of the current message are the client's credentials for the
// current plugin.
func (k *conn) credentials(c *call, from, to int) {
	k.hide(c, from, to)
	if from >= to {
		return
	}
	switch c.plugin {
	case "mysql_clear_password", "dialog":
		c.auth = "password"
	case "":
		c.auth = "mysql_native_password"
	default:
		c.auth = c.plugin
	}
}

// response reads the client's first packet: Protocol::HandshakeResponse41, the older form, or a
// request for TLS.
func (k *conn) response(c *call, b []byte) error {
	c.stage = stageAuth // also if the greeting was unreadable
	r := newReader(b)
	caps := r.number(2)
	if caps&cap41 == 0 {
		r.Skip(3)
		c.user = sqltext.Text(r.CString())
		k.credentials(c, r.Used(), len(b))
		k.agree(caps)
		return nil
	}
	caps |= r.number(2) << 16
	r.Skip(4 + 1 + 19)
	if more := r.number(4); caps&capLongPassword == 0 {
		caps |= more << 32
	}
	k.agree(caps)
	if caps&capSSL != 0 && r.Left() == 0 && !r.Short() {
		c.kind, c.answered = kindSSL, true
		if k.serverCaps != 0 {
			k.greet = &greet{k.serverCaps, c.version, c.thread, c.plugin}
		}
		k.emit(c, "")
		k.switched = true
		k.c.Upgrade("tls", nil)
		return nil
	}
	c.user = sqltext.Text(r.CString())
	from, to := authData(&r, caps)
	if caps&capConnectDB != 0 {
		c.use = sqltext.Text(r.CString())
	}
	if caps&capPluginAuth != 0 && r.Left() > 0 {
		c.plugin = pluginName(r.CString())
	}
	k.credentials(c, from, to)
	if caps&capAttributes != 0 && r.Left() > 0 {
		k.attributes(&r)
	}
	if r.Short() {
		return fmt.Errorf("reading the answer to the greeting: it is too short for its fields, %d bytes", len(b))
	}
	return nil
}

// authData skips the client's credentials and returns their place.
func authData(r *reader, caps uint64) (from, to int) {
	switch {
	case caps&capAuthLenenc != 0:
		n := len(r.text())
		return r.Used() - n, r.Used()
	case caps&capSecure != 0:
		n := int(r.Uint8())
		from = r.Used()
		r.Skip(n)
		return from, from + n
	}
	from = r.Used()
	return from, from + len(r.CString())
}

// attributes reads the connection attributes.
func (k *conn) attributes(r *reader) {
	all := newReader(r.text())
	name := ""
	for all.Left() > 0 && !all.Short() {
		key, value := all.text(), all.text()
		switch string(key) {
		case "program_name":
			name = clip.Text(value, maxParam)
		case "_client_name":
			if name == "" {
				name = clip.Text(value, maxParam)
			}
		}
	}
	k.app = name
}

// agree records the capabilities of the client, which chooses among those of the server.
func (k *conn) agree(caps uint64) {
	if k.serverCaps != 0 {
		caps &= k.serverCaps
	}
	k.caps, k.capsKnown = caps, true
	k.noEOF, k.queryAttrs = k.agreed(capNoEOF), k.agreed(capQueryAttrs)
}

// agreed reports whether both sides have a capability. If the greeting is missing, what the client
// offers is unknown: some clients offer what the server lacks.
func (k *conn) agreed(bit uint64) ternary {
	if k.serverCaps == 0 && k.caps&bit != 0 {
		return unknown
	}
	return ternaryOf(k.caps&bit != 0)
}

// verdict reads a packet of the server during an authentication.
func (k *conn) verdict(c *call, b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("reading the authentication: an empty packet")
	}
	switch b[0] {
	case packetOK:
		k.ok(c, b)
		k.accepted(c)
	case packetErr:
		k.failed(c, b)
	case packetMore:
		if len(b) > 2 { // a single byte is a state
			k.hide(c, 1, len(b))
		}
		return nil
	case packetFactor, packetEOF:
		if c.plugin, c.auth = pluginName(b[1:]), ""; len(b) == 1 && b[0] == packetEOF {
			c.plugin = "mysql_old_password"
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			k.hide(c, i+1, len(b))
		}
		return nil
	default:
		k.hide(c, 1, len(b))
		if k.serverCaps != 0 && k.serverCaps&capLongPassword == 0 { // plugins of MariaDB, such as parsec, send what they like
			return nil
		}
		return fmt.Errorf("reading the authentication: unknown packet %#x", b[0])
	}
	if c.kind == kindConnect {
		k.phase = phaseCommand
	}
	k.emit(c, "")
	return nil
}

// accepted records what holds after a successful authentication.
func (k *conn) accepted(c *call) {
	k.user = c.user
	if c.use != "" || c.kind == kindCommand {
		k.database = c.use
	}
	if c.kind != kindConnect {
		return
	}
	switch {
	case k.caps&capCompress != 0:
		k.compressed, k.compression = true, "zlib"
	case k.caps&capZstd != 0:
		k.compressed, k.compression = true, "zstd"
	}
}

// changeUser reads COM_CHANGE_USER, which begins another authentication.
func (k *conn) changeUser(c *call, r *reader) {
	c.stage = stageAuth
	c.user = sqltext.Text(r.CString())
	from, to := authData(r, capSecure)
	c.use = sqltext.Text(r.CString())
	r.Skip(2)
	if r.Left() > 0 && !r.Short() {
		c.plugin = pluginName(r.CString())
	}
	k.credentials(c, 1+from, 1+to) // r is behind the command's number
	if k.caps&capAttributes != 0 && r.Left() > 0 && !r.Short() {
		k.attributes(r)
	}
}

// isGreeting reports whether a message can only be a server's greeting. more means that it may
// be one.
func isGreeting(b []byte, size int) (is, more bool) {
	if len(b) == 0 {
		return false, true
	}
	if b[0] != 10 || size < 40 || size > 512 {
		return false, false
	}
	i := bytes.IndexByte(b, 0)
	version := b[1:]
	if i > 0 {
		version = b[1:i]
	}
	if !clip.Printable(version) || len(version) > 128 || len(version) > 0 && (version[0] < '0' || version[0] > '9') || i > 0 && (i < 4 || bytes.IndexByte(version, '.') < 0) {
		return false, false
	}
	const after = 31 // bytes after the version, at least
	switch {
	case i >= 0 && size < i+1+after:
		return false, false
	case i < 0 || len(b) < i+1+after:
		return false, true
	}
	rest := b[i+1:]
	return rest[12] == 0 && bytes.Count(rest[21:27], []byte{0}) == 6 && rest[20] <= 64, false
}

// isResponse reports whether a message can only be the client's answer to a greeting.
func isResponse(b []byte, size int) (is, more bool) {
	if size < 32 || size > maxWhole {
		return false, false
	}
	if len(b) >= 4 {
		caps := binary.LittleEndian.Uint32(b)
		if caps&(cap41|capSecure) != cap41|capSecure || size == 32 && caps&capSSL == 0 {
			return false, false
		}
	}
	if len(b) >= 28 && bytes.Count(b[9:28], []byte{0}) != 19 || len(b) > 8 && b[8] == 0 {
		return false, false
	}
	if len(b) < 32 {
		return false, true
	}
	name := b[32:]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	} else if size > 32 && len(b) == size {
		return false, false
	}
	return clip.Printable(name), false
}

// fileEnd records that the client sent the whole file for LOAD DATA LOCAL.
func fileEnd(body *dissect.Body) {
	if body != nil {
		body.Complete = body.Lost() == 0
	}
}
