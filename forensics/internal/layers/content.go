package layers

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// application reads the beginning of a message, if the payload begins with one. It is found by content; DNS
// also needs its port.
func (s *splitter) application(from, to uint16, stream bool) {
	b := s.data[s.at:s.end]
	switch {
	case len(b) == 0:
	case dnsPort(from) || dnsPort(to):
		skip := 0
		if stream {
			skip = 2
		}
		s.dns(skip)
	case stream && isHTTP(b):
		s.http()
	case stream && isTLS(b):
		s.tls()
	}
}

func dnsPort(p uint16) bool { return p == 53 || p == 5353 || p == 5355 }

var methods = []string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "HTTP/1.0 ", "HTTP/1.1 "}

func isHTTP(b []byte) bool {
	return slices.ContainsFunc(methods, func(m string) bool { return bytes.HasPrefix(b, []byte(m)) })
}

// http adds the first line and the header lines that this packet has in full.
func (s *splitter) http() {
	start := s.at
	b := s.data[start:s.end]
	if !s.content("http", start, s.end) {
		return
	}
	answer := bytes.HasPrefix(b, []byte("HTTP/"))
	names := [3]string{"http.request.method", "http.request.uri", "http.request.version"}
	line := "http.request.line"
	if answer {
		names, line = [3]string{"http.response.version", "http.response.code", "http.response.phrase"}, "http.response.line"
	}
	for at := 0; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			break
		}
		text := strings.TrimSuffix(string(b[at:at+n]), "\r")
		switch {
		case text == "":
			s.endContent(start + at + n + 1)
			return
		case at == 0:
			i := 0
			for k, word := range strings.SplitN(text, " ", 3) {
				s.field(names[k], word, start+i, start+i+len(word))
				i += len(word) + 1
			}
		default:
			s.field(line, text, start+at, start+at+n+1)
		}
		at += n + 1
	}
	s.at = s.end
}

// endContent ends the last layer at a place; what follows is data.
func (s *splitter) endContent(at int) {
	s.out[len(s.out)-1].End = at
	s.at = at
}

func isTLS(b []byte) bool {
	return len(b) >= 5 && b[0] >= 20 && b[0] <= 24 && b[1] == 3 && b[2] <= 4 && binary.BigEndian.Uint16(b[3:]) <= 1<<14+256
}

// tls adds the headers of records. A record that another packet continues is the last.
func (s *splitter) tls() {
	for s.at < s.end && isTLS(s.data[s.at:s.end]) {
		start := s.at
		b := s.data[start:s.end]
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		if !s.content("tls", start, min(start+n, s.end)) {
			return
		}
		s.field("tls.record.content_type", dec(b[:1]), start, start+1)
		s.field("tls.record.version", hexed(b[1:3]), start+1, start+3)
		s.field("tls.record.length", dec(b[3:5]), start+3, start+5)
		// An encrypted message looks like one with a random type.
		if b[0] == 22 && len(b) >= 9 && n <= len(b) && int(number(b[6:9]))+9 == n {
			s.field("tls.handshake.type", dec(b[5:6]), start+5, start+6)
			s.field("tls.handshake.length", dec(b[6:9]), start+6, start+9)
			s.serverName(b[:n], start)
		}
		s.at = min(start+n, s.end)
	}
}

// serverName adds the name in a ClientHello.
func (s *splitter) serverName(b []byte, start int) {
	if b[5] != 1 {
		return
	}
	at := 9 + 2 + 32
	skip := func(size int) bool { // a vector with a length of so many bytes
		if at+size > len(b) {
			return false
		}
		at += size + int(number(b[at:at+size]))
		return at <= len(b)
	}
	if !skip(1) || !skip(2) || !skip(1) || at+2 > len(b) {
		return
	}
	for at += 2; at+4 <= len(b); {
		kind, n := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		at += 4
		if at+n > len(b) {
			return
		}
		if x := b[at : at+n]; kind == 0 && n > 5 && 5+int(binary.BigEndian.Uint16(x[3:])) == n {
			s.field("tls.handshake.extensions_server_name", string(x[5:]), start+at+5, start+at+n)
		}
		at += n
	}
}

// dns adds a message. skip is the length of what precedes it in a stream.
func (s *splitter) dns(skip int) {
	start := s.at
	m := s.data[start:s.end]
	if len(m) < skip+12 {
		return
	}
	m = m[skip:]
	if skip > 0 && int(binary.BigEndian.Uint16(s.data[start:])) < len(m) {
		m = m[:binary.BigEndian.Uint16(s.data[start:])]
	}
	if len(m) < 12 || !s.content("dns", start, start+skip+len(m)) {
		return
	}
	if skip > 0 {
		s.field("dns.length", dec(s.data[start:start+2]), start, start+2)
	}
	base := start + skip
	for i, f := range []struct {
		name string
		show func([]byte) string
	}{{"dns.id", hexed}, {"dns.flags", hexed}, {"dns.count.queries", dec}, {"dns.count.answers", dec}, {"dns.count.auth_rr", dec}, {"dns.count.add_rr", dec}} {
		s.field(f.name, f.show(m[2*i:2*i+2]), base+2*i, base+2*i+2)
	}
	s.at = base + len(m)
	at := 12
	for range binary.BigEndian.Uint16(m[4:]) {
		name, n := dnsName(m, at)
		if n == 0 || at+n+4 > len(m) {
			return
		}
		s.field("dns.qry.name", name, base+at, base+at+n)
		at += n
		s.field("dns.qry.type", dec(m[at:at+2]), base+at, base+at+2)
		s.field("dns.qry.class", hexed(m[at+2:at+4]), base+at+2, base+at+4)
		at += 4
	}
	records := int(binary.BigEndian.Uint16(m[6:])) + int(binary.BigEndian.Uint16(m[8:])) + int(binary.BigEndian.Uint16(m[10:]))
	for range records {
		name, n := dnsName(m, at)
		if n == 0 || at+n+10 > len(m) {
			return
		}
		kind, size := binary.BigEndian.Uint16(m[at+n:]), int(binary.BigEndian.Uint16(m[at+n+8:]))
		if at+n+10+size > len(m) || s.fields >= maxFields {
			return
		}
		if kind != 41 { // EDNS0 has other fields
			field := "dns.resp.name"
			if kind == 33 {
				field = "dns.srv.name"
			}
			s.field(field, name, base+at, base+at+n)
			x := at + n
			s.field("dns.resp.type", dec(m[x:x+2]), base+x, base+x+2)
			s.field("dns.resp.class", hexed(m[x+2:x+4]), base+x+2, base+x+4)
			s.field("dns.resp.ttl", dec(m[x+4:x+8]), base+x+4, base+x+8)
			s.field("dns.resp.len", dec(m[x+8:x+10]), base+x+8, base+x+10)
			s.record(m, kind, x+10, size, base)
		}
		at += n + 10 + size
	}
}

// record adds the contents of a resource record.
func (s *splitter) record(m []byte, kind uint16, at, size, base int) {
	b := m[at : at+size]
	switch {
	case kind == 1 && size == 4:
		s.field("dns.a", address(b), base+at, base+at+size)
	case kind == 28 && size == 16:
		s.field("dns.aaaa", address(b), base+at, base+at+size)
	case kind == 5:
		if name, n := dnsName(m, at); n == size {
			s.field("dns.cname", name, base+at, base+at+size)
		}
	}
}

// dnsName reads a name, perhaps compressed. It returns how many bytes it has at that place; 0 if it is no name.
func dnsName(m []byte, at int) (name string, size int) {
	var b strings.Builder
	for hops := 0; at < len(m); {
		n := int(m[at])
		switch {
		case n == 0:
			if hops == 0 {
				size++
			}
			if b.Len() == 0 {
				return "<Root>", size
			}
			return b.String(), size
		case n >= 0xc0:
			if at+2 > len(m) || hops > 16 {
				return "", 0
			}
			if hops == 0 {
				size += 2
			}
			hops++
			at = int(binary.BigEndian.Uint16(m[at:]) & 0x3fff)
		case n >= 0x40 || at+1+n > len(m) || b.Len() > 255:
			return "", 0
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			for _, c := range m[at+1 : at+1+n] {
				if c < 0x21 || c > 0x7e {
					b.WriteString(`\` + strconv.Itoa(int(c)))
				} else {
					b.WriteByte(c)
				}
			}
			if hops == 0 {
				size += 1 + n
			}
			at += 1 + n
		}
	}
	return "", 0
}
