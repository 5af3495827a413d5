package ntp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Modes of messages.
const (
	modeActive = iota + 1
	modePassive
	modeClient
	modeServer
	modeBroadcast
	modeControl
	modePrivate
)

var modes = [...]string{"", "symmetric_active", "symmetric_passive", "client", "server", "broadcast", "control", "private"}

var leaps = [...]string{"none", "add", "delete", "unsynchronized"}

// Sizes.
const (
	headerSize     = 48
	maxExtensions  = 32
	minExtension   = 16 // bytes of an extension field, RFC 7822
	unsynchronized = 16 // stratum
)

// message is a message with time stamps.
type message struct {
	leap, version, mode                 uint8
	stratum                             uint8
	poll, precision                     int8
	delay, dispersion                   uint32
	reference                           [4]byte
	stamped, origin, received, transmit uint64
	extensions                          []uint16
	keyID                               table.Opt[int64]
	end                                 int
}

// digests are the sizes of MD5 and SHA-1, and of SHA-224 to SHA-512, which ntpd and chrony use too.
var digests = []int{16, 20, 28, 32, 48, 64}

// parse reads a message: its header, extension fields (RFC 7822) and a MAC.
func parse(b []byte) (m message, ok bool) {
	if len(b) < headerSize {
		return m, false
	}
	m.leap, m.version, m.mode, m.stratum = b[0]>>6, b[0]>>3&7, b[0]&7, b[1]
	m.poll, m.precision = int8(b[2]), int8(b[3])
	be := binary.BigEndian
	m.delay, m.dispersion = be.Uint32(b[4:]), be.Uint32(b[8:])
	copy(m.reference[:], b[12:])
	m.stamped, m.origin, m.received, m.transmit = be.Uint64(b[16:]), be.Uint64(b[24:]), be.Uint64(b[32:]), be.Uint64(b[40:])
	if m.version < 1 || m.version > 4 || m.mode < modeActive || m.mode > modeBroadcast || m.stratum > unsynchronized {
		return m, false
	}
	m.end = headerSize
	rest := b[headerSize:]
	for len(rest) > 24 && m.version == 4 { // longer than the MAC of RFC 7822 section 3
		n := int(be.Uint16(rest[2:]))
		if n < minExtension || n%4 != 0 || n > len(rest) || len(m.extensions) == maxExtensions {
			break
		}
		m.extensions = append(m.extensions, be.Uint16(rest))
		rest = rest[n:]
		m.end += n
	}
	switch n := len(rest); { // what is left is an anomaly
	case n == 4 || n == 12 && m.version < 4 || slices.Contains(digests, n-4):
		m.keyID = table.Some(int64(be.Uint32(rest)))
		m.end += n
	case n >= minExtension && m.version == 4 && int(be.Uint16(rest[2:])) == n:
		m.extensions = append(m.extensions, be.Uint16(rest))
		m.end += n
	}
	return m, true
}

// read sets the columns of a message; those of a response replace the request's.
func (row *Row) read(m *message) {
	row.Leap, row.Stratum = table.Some(leaps[m.leap]), table.Some(int32(m.stratum))
	row.Poll, row.Precision = table.Some(int32(m.poll)), table.Some(int32(m.precision))
	row.RootDelay, row.RootDispersion = table.Some(short(m.delay)), table.Some(short(m.dispersion))
	row.Reference, row.Kiss = table.Opt[string]{}, table.Opt[string]{}
	text := strings.TrimSpace(clip.Line(bytes.Trim(m.reference[:], "\x00"), 4))
	switch {
	case m.reference == [4]byte{}:
	case m.stratum == 0 && m.mode == modeServer:
		row.Kiss = table.NonEmpty(text)
	case m.stratum <= 1:
		row.Reference = table.NonEmpty(text)
	default:
		row.Reference = table.Some(netip.AddrFrom4(m.reference).String())
	}
	if !row.KeyID.OK {
		row.KeyID = m.keyID
	}
	for _, e := range m.extensions {
		row.Extensions = append(row.Extensions, fmt.Sprintf("%#04x", e))
	}
}

// short is a time in the short format (RFC 5905 section 6), in microseconds.
func short(v uint32) int64 { return int64(v) * 1e6 >> 16 }

// epoch is 1900-01-01 in seconds since 1970.
const epoch = -2208988800

// unix is a time stamp in ns since 1970, in the era that is nearest to now.
func unix(stamp uint64, now int64) int64 {
	seconds := int64(stamp>>32) + epoch
	for seconds < now/1e9-1<<31 {
		seconds += 1 << 32
	}
	return seconds*1e9 + int64(stamp&0xffffffff)*1e9>>32
}

// measure compares the clocks, with a response captured at now.
func measure(k *dissect.Conn, c *call, at dissect.Instant, m *message) {
	now := at.Ns
	if m.received == 0 || m.transmit == 0 {
		return
	}
	received, sent := unix(m.received, now), unix(m.transmit, now)
	if sent >= received {
		c.Row.Server = table.Some((sent - received) / 1000)
	}
	if c.X.HasRequest() {
		asked, _ := c.X.RequestTime()
		if took, ok := k.Between(asked, at); ok {
			c.Row.Offset = table.Some(((received-now+took)/2 + (sent-now)/2) / 1000)
		}
	}
}
