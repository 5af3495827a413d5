package dhcp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Messages for IPv6, RFC 8415 section 7.3.
const (
	relayForward = 12
	relayReply   = 13
	headSize6    = 4
	relaySize6   = 34
	maxRelays    = 8 // RFC 8415 section 7.6, HOP_COUNT_LIMIT
)

// types6 are the types of messages for IPv6; RFC 5007 and 7341 have those after the relay's.
var types6 = [...]string{"", "SOLICIT", "ADVERTISE", "REQUEST", "CONFIRM", "RENEW", "REBIND", "REPLY", "RELEASE", "DECLINE", "RECONFIGURE", "INFORMATION-REQUEST", "RELAY-FORW", "RELAY-REPL",
	"LEASEQUERY", "LEASEQUERY-REPLY"}

// Options of IPv6 that are read.
const (
	opt6ClientID     = 1
	opt6ServerID     = 2
	opt6IANA         = 3
	opt6IATA         = 4
	opt6Address      = 5
	opt6Requested    = 6
	opt6Relayed      = 9
	opt6Status       = 13
	opt6Vendor       = 16
	opt6DNS          = 23
	opt6Domain       = 24
	opt6IAPD         = 25
	opt6Prefix       = 26
	opt6FQDN         = 39
	opt6BootFile     = 59
	maxOption6       = 255 // most that RFCs assign
	maxDUID          = 130 // RFC 8415 section 11.1
	maxNested        = 3   // an address in an association, with a status
	optionHead6      = 4
	addressTimesSize = 24
	prefixTimesSize  = 25
)

var statusNames = [...]string{"Success", "UnspecFail", "NoAddrsAvail", "NoBinding", "NotOnLink", "UseMulticast", "NoPrefixAvail"}

func statusName(code int32) string {
	if code >= 0 && int(code) < len(statusNames) {
		return statusNames[code]
	}
	return "status " + strconv.Itoa(int(code))
}

// parse6 reads a message for IPv6. Relays put it into one of theirs.
func parse6(b []byte) (m message, ok bool) {
	row := &Row{}
	m = message{version: 6, row: row, end: len(b)}
	for range maxRelays + 1 {
		if len(b) < headSize6 || b[0] == 0 || int(b[0]) >= len(types6) {
			return m, false
		}
		if b[0] != relayForward && b[0] != relayReply {
			break
		}
		if len(b) < relaySize6 || b[1] > maxRelays*4 {
			return m, false
		}
		if link := address(b[2:18]); link.OK {
			row.Relay = link // the last one is nearest to the client
		} else {
			row.Relay = address(b[18:34])
		}
		var inner []byte
		if !each6(b[relaySize6:], func(code int, v []byte) bool {
			if code == opt6Relayed {
				inner = v
			}
			return true
		}) || inner == nil {
			return m, false
		}
		b = inner
	}
	if b[0] == relayForward || b[0] == relayReply {
		return m, false // nested too deeply
	}
	m.kind, m.id = types6[b[0]], int64(binary.BigEndian.Uint32(b)&0xffffff)
	switch m.kind {
	case "ADVERTISE", "REPLY", "LEASEQUERY-REPLY":
	case "RECONFIGURE":
		m.request = true
	default:
		m.request, m.expects = true, true
	}
	o := options6{row: row, request: m.request}
	ok = each6(b[headSize6:], func(code int, v []byte) bool {
		if len(row.Options) < maxOptions {
			row.Options = append(row.Options, strconv.Itoa(code))
		}
		o.option(code, v, 0)
		return code > 0 && code <= maxOption6
	})
	return m, ok && (row.Client.OK || row.Server.OK || m.kind == "INFORMATION-REQUEST")
}

// each6 calls f with each option. It returns false if f did, or if they do not fit.
func each6(b []byte, f func(code int, v []byte) bool) bool {
	for len(b) > 0 {
		if len(b) < optionHead6 {
			return false
		}
		code, n := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[optionHead6:]; n > len(b) || !f(code, b[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// options6 reads options of IPv6.
type options6 struct {
	row     *Row
	request bool
}

func (o *options6) option(code int, v []byte, depth int) {
	row := o.row
	switch {
	case code == opt6ClientID && isDUID(v):
		row.Client = table.Some(hex.EncodeToString(v))
	case code == opt6ServerID && isDUID(v):
		row.Server = table.Some(hex.EncodeToString(v))
	case code == opt6IANA || code == opt6IAPD:
		o.nested(v, 12, depth)
	case code == opt6IATA:
		o.nested(v, 4, depth)
	case code == opt6Address && len(v) >= addressTimesSize:
		a, _ := netip.AddrFromSlice(v[:16])
		o.assigned(a.String(), v[20:24])
		o.nested(v, addressTimesSize, depth)
	case code == opt6Prefix && len(v) >= prefixTimesSize:
		a, _ := netip.AddrFromSlice(v[9:25])
		o.assigned(fmt.Sprintf("%s/%d", a, v[8]), v[4:8])
		o.nested(v, prefixTimesSize, depth)
	case code == opt6Requested:
		for ; len(v) >= 2 && len(row.Parameters) < maxOptions; v = v[2:] {
			row.Parameters = append(row.Parameters, strconv.Itoa(int(binary.BigEndian.Uint16(v))))
		}
	case code == opt6Status && len(v) >= 2:
		if status := int32(binary.BigEndian.Uint16(v)); row.Status.V == 0 {
			row.Status, row.StatusMessage = table.Some(status), text(v[2:])
		}
	case code == opt6Vendor && len(v) > 6:
		row.Vendor = text(v[6:])
	case code == opt6DNS:
		row.DNS = addresses(row.DNS, v, 16)
	case code == opt6Domain:
		row.Domain = name(v)
	case code == opt6FQDN && len(v) > 1:
		row.Hostname = name(v[1:])
	case code == opt6BootFile:
		row.BootFile = text(v)
	}
}

// nested reads the options after the first n bytes of an option.
func (o *options6) nested(v []byte, n, depth int) {
	if len(v) >= n && depth < maxNested {
		each6(v[n:], func(code int, v []byte) bool {
			o.option(code, v, depth+1)
			return true
		})
	}
}

// assigned records an address, or a prefix, and its valid lifetime.
func (o *options6) assigned(a string, valid []byte) {
	row := o.row
	seconds := int64(binary.BigEndian.Uint32(valid))
	if o.request {
		if !row.Requested.OK {
			row.Requested = table.Some(a)
		}
		return
	}
	if len(row.Addresses) < maxList {
		row.Addresses = append(row.Addresses, a)
	}
	if !row.Lease.OK || seconds < row.Lease.V {
		row.Lease = table.Some(seconds)
	}
}

// isDUID checks the type and size of a DUID, RFC 8415 section 11 and RFC 6355.
func isDUID(v []byte) bool {
	if len(v) < 3 || len(v) > maxDUID {
		return false
	}
	t := binary.BigEndian.Uint16(v)
	return t >= 1 && t <= 4 && (t != 4 || len(v) == 18) && (t != 1 || len(v) >= 8) && (t != 3 || len(v) >= 4)
}

// detect recognizes IPv4 by its cookie and direction, and IPv6 by options that fill the datagram and
// have a DUID.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	m, ok := parse(b)
	if !ok || m.odd != "" || m.request != (dir == dissect.ToServer) || m.end < len(b) {
		return dissect.No
	}
	if m.version == 4 && b[1] > 0 && b[1] < 64 {
		return dissect.Yes
	}
	return dissect.Likely.If(m.version == 6 && (m.row.Client.OK || m.row.Server.OK || len(m.row.Parameters) > 0))
}
