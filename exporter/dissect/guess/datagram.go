package guess

import (
	"bytes"
	"encoding/binary"
)

// datagrams are the forms of protocols in datagrams, from the most specific to the least.
var datagrams = []form{
	{"stun", func(c, s *Side) bool { return isSTUN(c.Head) || isSTUN(s.Head) }},
	{"bittorrent", either("d1:ad2:id20:", "d1:rd2:id20:", "d2:ip6:")},
	{"ssdp", either("M-SEARCH * HTTP/1.1", "NOTIFY * HTTP/1.1")},
	{"wireguard", func(c, s *Side) bool { return isWireGuard(c) || isWireGuard(s) }},
	{"ike", func(c, _ *Side) bool { return isIKE(c) }},
	{"dhcp", func(c, _ *Side) bool { return isDHCP(c) }},
	{"radius", func(c, _ *Side) bool { return isRADIUS(c) }},
	{"snmp", func(c, s *Side) bool { return isSNMP(c.Head) || isSNMP(s.Head) }},
	{"ldap", func(c, s *Side) bool { return isLDAP(c.Head) || isLDAP(s.Head) }},
	{"kerberos", func(c, s *Side) bool { return isKerberos(c.Head) || isKerberos(s.Head) }},
	{"nfs", func(c, _ *Side) bool { return isRPC(c.Head, 0, nfsProgram) }},
	{"sunrpc", func(c, _ *Side) bool { return isRPC(c.Head, 0, 0) }},
	{"tftp", func(c, _ *Side) bool { return isTFTP(c.Head) }},
	{"syslog", func(c, _ *Side) bool { return isSyslog(c.Head) }},
	{"statsd", func(c, _ *Side) bool { return isStatsD(c) }},
	{"memcached", isMemcachedDatagram},
	{"rtcp", func(c, s *Side) bool { return isRTCP(c) || isRTCP(s) }},
	{"rtp", func(c, s *Side) bool { return isRTP(c) || isRTP(s) }},
}

// isSTUN reports a header with the magic cookie (RFC 8489 section 5).
func isSTUN(b []byte) bool {
	return len(b) >= 20 && b[0]&0xc0 == 0 && b[3]&3 == 0 && binary.BigEndian.Uint32(b[4:]) == 0x2112a442
}

// isWireGuard reports a handshake, whose messages have fixed sizes.
func isWireGuard(s *Side) bool {
	return prefix(s.Head, "\x01\x00\x00\x00") && s.Size == 148 || prefix(s.Head, "\x02\x00\x00\x00") && s.Size == 92
}

// isIKE reports a header with its version and the length of the datagram (RFC 7296 section 3.1),
// on port 4500 after four bytes of zeros.
func isIKE(s *Side) bool {
	b, n := s.Head, s.Size
	if prefix(b, "\x00\x00\x00\x00") && n > 4 {
		b, n = b[4:], n-4
	}
	return len(b) >= 28 && (b[17] == 0x10 || b[17] == 0x20) && b[18] >= 2 && binary.BigEndian.Uint32(b[24:]) == uint32(n)
}

// isDHCP reports a message for Ethernet with the padding of its hardware address (RFC 2131
// section 2).
func isDHCP(s *Side) bool {
	b := s.Head
	return s.Size >= 240 && len(b) >= 44 && (b[0] == 1 || b[0] == 2) && b[1] == 1 && b[2] == 6 && len(bytes.Trim(b[34:44], "\x00")) == 0
}

// isRADIUS reports a code, the length of the datagram and attributes (RFC 2865 sections 3 and 5).
func isRADIUS(s *Side) bool {
	b := s.Head
	if len(b) < 22 || (b[0] < 1 || b[0] > 5) && b[0] != 11 || int(binary.BigEndian.Uint16(b[2:])) != s.Size {
		return false
	}
	for b = b[20:]; len(b) >= 2; b = b[min(int(b[1]), len(b)):] {
		if b[0] == 0 || b[1] < 2 {
			return false
		}
	}
	return true
}

// isRPC reports a call of SunRPC version 2 (RFC 5531 section 9) of this program, or of any if it is
// 0, after skip bytes of record marking.
func isRPC(b []byte, skip int, program uint32) bool {
	if len(b) < skip+24 || skip > 0 && b[0] != 0x80 {
		return false
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[skip+4*i:]) }
	called := word(3) // the programs that IANA assigns begin at 100000
	return word(1) == 0 && word(2) == 2 && called >= 100000 && called < 0x60000000 && word(4) < 16 && word(5) < 64 && (program == 0 || called == program)
}

const nfsProgram = 100003

// isTFTP reports a request with its mode (RFC 1350 section 5).
func isTFTP(b []byte) bool {
	return len(b) > 8 && b[0] == 0 && (b[1] == 1 || b[1] == 2) && (contains(bytes.ToLower(b), "\x00octet\x00") || contains(bytes.ToLower(b), "\x00netascii\x00"))
}

// isSyslog reports a priority from 0 to 191 before a text (RFC 5424 section 6.2.1).
func isSyslog(b []byte) bool {
	i := bytes.IndexByte(b, '>')
	if at(b, 0) != '<' || i < 2 || i > 4 || len(b) < i+8 {
		return false
	}
	n := 0
	for _, x := range b[1:i] {
		if x < '0' || x > '9' {
			return false
		}
		n = 10*n + int(x-'0')
	}
	return n <= 191 && isText(b[i+1:])
}

// isStatsD reports a metric with its value and type.
func isStatsD(s *Side) bool {
	b := s.Head
	name, value, ok := bytes.Cut(b, []byte(":"))
	number, kind, ok2 := bytes.Cut(value, []byte("|"))
	return ok && ok2 && isText(b) && isWord(bytes.Trim(name, "/")) && len(bytes.Trim(number, "0123456789.+-e")) == 0 && prefix(kind, "c", "g", "ms", "h", "s", "d")
}

// isMemcachedDatagram reports the header of a datagram before a message.
func isMemcachedDatagram(c, s *Side) bool {
	if len(c.Head) < 10 || c.Head[6] != 0 || c.Head[7] != 0 || c.Head[2] != 0 || c.Head[4] != 0 || c.Head[5] == 0 {
		return false
	}
	in, out := Side{Head: c.Head[8:]}, Side{}
	if len(s.Head) > 8 {
		out.Head = s.Head[8:]
	}
	return isMemcached(&in, &out)
}

// isRTCP reports a compound packet that begins with a report of a plausible length (RFC 3550
// section 6.1).
func isRTCP(s *Side) bool {
	b := s.Head
	if len(b) < 8 || b[0]>>6 != 2 || b[1] != 200 && b[1] != 201 {
		return false
	}
	n := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
	return n >= 8 && (n == s.Size || n+8 <= s.Size && n+1 < len(b) && b[n]>>6 == 2 && b[n+1] >= 200 && b[n+1] <= 207)
}

// isRTP reports two packets of one source whose sequence numbers follow each other (RFC 3550
// section 5.1). LIMIT: not those of a mixer, which lists its sources.
func isRTP(s *Side) bool {
	a, b := s.Head, s.Next
	if len(a) < 12 || len(b) < 12 || a[0]&0xcf != 0x80 || b[0]&0xcf != 0x80 || s.Size < 13 {
		return false
	}
	next := binary.BigEndian.Uint16(b[2:]) - binary.BigEndian.Uint16(a[2:])
	return next >= 1 && next < 10 && a[1]&0x7f == b[1]&0x7f && string(a[8:12]) == string(b[8:12])
}
