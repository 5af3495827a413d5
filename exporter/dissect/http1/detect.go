package http1

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Limits of detection.
const (
	maxMethod     = 32        // characters of an unregistered method
	maxUndetected = 16 << 10  // bytes of an unfinished first line
	sureLine      = 256       // bytes after which GET / alone is accepted
	versionStart  = "HTTP/1." // start of a version, RFC 9112 section 2.3
)

// detect implements Protocol.Detect.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	for i := 0; i < 4 && len(head) > 0 && (head[0] == '\r' || head[0] == '\n'); i++ {
		head = head[1:]
	}
	if len(head) == 0 {
		return dissect.More
	}
	if dir == dissect.ToClient {
		return detectStatus(head)
	}
	return detectRequest(head)
}

func detectStatus(b []byte) dissect.Verdict {
	if rest, found := bytes.CutPrefix(b, []byte(icy)); found {
		b = append([]byte(versionStart+"0 "), rest[:min(len(rest), 3)]...)
	} else if startsAs(b, icy) {
		return dissect.More
	}
	const want = len(versionStart) + 5 // digit, space, three digits
	n := min(len(b), len(versionStart))
	if string(b[:n]) != versionStart[:n] {
		return dissect.No
	}
	for i := n; i < min(len(b), want); i++ {
		switch {
		case i == len(versionStart)+1:
			if b[i] != ' ' {
				return dissect.No
			}
		case !isDigit(b[i]):
			return dissect.No
		}
	}
	if len(b) < want {
		return dissect.More
	}
	return dissect.Yes
}

func detectRequest(b []byte) dissect.Verdict {
	m := 0
	for m < len(b) && isToken(b[m]) {
		m++
	}
	if m == 0 || m > maxMethod {
		return dissect.No
	}
	if m == len(b) {
		return dissect.More
	}
	if !isBlank(b[m]) {
		return dissect.No
	}
	known := knownMethod(b[:m])
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return detectOpenLine(b, m, known)
	}
	line := bytes.TrimRight(b[:end], "\r \t")
	if bytes.IndexByte(line, 0) >= 0 && !known {
		return dissect.No
	}
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	rest := bytes.TrimLeft(line[m:], " \t")
	if v := bytes.TrimPrefix(last, []byte(versionStart)); len(v) == 1 && len(last) > 1 && isDigit(v[0]) && len(line) > m+len(last)+1 &&
		(known || bytes.Count(line, []byte{' '}) == 2) { // an unregistered method is accepted only in the form of RFC 9112
		if !known {
			return dissect.Likely
		}
		return dissect.Yes
	}
	if known && (bytes.HasPrefix(last, []byte("HTTP/")) && !bytes.HasPrefix(last, []byte("HTTP/2")) || bytes.Contains(rest, []byte(versionStart)) && !otherVersion(last)) {
		return dissect.Yes
	}
	if string(b[:m]) == "GET" && len(rest) > 0 && rest[0] == '/' && bytes.IndexByte(rest, ' ') < 0 {
		return dissect.Likely // HTTP/0.9
	}
	return dissect.No
}

// otherVersion reports whether the last word of a line names another protocol's version,
// as in RTSP/1.0.
func otherVersion(last []byte) bool {
	i := bytes.IndexByte(last, '/')
	return i > 0 && i+4 == len(last) && isDigit(last[i+1]) && string(last[:i]) != "HTTP"
}

// detectOpenLine examines an unfinished first line.
func detectOpenLine(b []byte, m int, known bool) dissect.Verdict {
	if len(b) > maxUndetected {
		return dissect.No
	}
	for _, c := range b[m:] {
		if c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
			return dissect.No
		}
	}
	if known && len(b) > sureLine {
		rest := bytes.TrimLeft(b[m:], " ")
		if rest[0] == '/' || bytes.HasPrefix(rest, []byte("http://")) || bytes.HasPrefix(rest, []byte("https://")) {
			return dissect.Likely
		}
	}
	return dissect.More
}

// knownMethod reports whether b is a method in use from IANA's registry, or one of UPnP's.
func knownMethod(b []byte) bool {
	switch string(b) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "MERGE", "CHECKOUT",
		"MKACTIVITY", "MKCALENDAR", "ACL", "BIND", "LINK", "UNLINK", "PURGE", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "QUERY":
		return true
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isToken reports whether c may occur in a token, RFC 9110 section 5.6.2.
func isToken(c byte) bool { return tokenSet[c>>6]&(1<<(c&63)) != 0 }

// tokenSet has a bit for each character of a token: digits, letters and !#$%&'*+-.^_`|~
var tokenSet = [4]uint64{
	1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.' | 0x3ff<<'0',
	0x3ffffff<<('A'-64) | 0x3ffffff<<('a'-64) | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64),
}
