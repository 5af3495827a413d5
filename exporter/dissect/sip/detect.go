package sip

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// maxFirst is how long a first line may be, in bytes.
const maxFirst = 8 << 10

// detect looks at the first line. Usually the client sends requests, but both sides may.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	b = bytes.TrimLeft(b, "\r\n")
	line, _, whole := bytes.Cut(b[:min(len(b), maxFirst)], []byte("\r\n"))
	if !whole {
		method, _, ok := bytes.Cut(line, []byte(" "))
		head := []byte("SIP/2.0")
		status := bytes.HasPrefix(head, method) || string(method) == string(head)
		if len(line) < maxFirst && (status || len(method) <= maxMethod && upper(method)) && (!ok || status || uri(line[len(method)+1:])) {
			return dissect.More
		}
		return dissect.No
	}
	var m message
	if m.first(line) != nil || m.status == 0 && (!upper([]byte(m.method)) || !uri([]byte(m.uri))) {
		return dissect.No
	}
	if (m.status > 0) == (dir == dissect.ToClient) {
		return dissect.Yes
	}
	return dissect.Likely
}

// upper reports whether a method looks like one: capital letters, or the beginning of such a word.
func upper(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// uri reports whether b begins with a scheme and a colon, or can.
func uri(b []byte) bool {
	for i, c := range b {
		if c == ':' {
			return i > 1
		}
		if (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') || i > maxMethod {
			return false
		}
	}
	return true
}
