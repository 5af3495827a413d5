package postgresql

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const maxUndetected = 32 << 10 // bytes of the first message to wait for

// detect implements Protocol.Detect.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) == 0 {
		return dissect.More
	}
	if dir == dissect.ToClient {
		return likely(detectChain(head, backendTypes, backendSign))
	}
	if head[0] == 0 {
		return detectStartup(head)
	}
	return likely(detectChain(head, frontendTypes, frontendSign))
}

// likely is the verdict on messages that are not the connection's first.
func likely(v dissect.Verdict) dissect.Verdict {
	if v == dissect.Yes {
		return dissect.Likely
	}
	return v
}

// detectStartup examines a packet without a type.
func detectStartup(b []byte) dissect.Verdict {
	if len(b) < 8 {
		if len(b) > 1 && b[1] != 0 {
			return dissect.No
		}
		return dissect.More
	}
	size, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	switch {
	case code == codeSSL || code == codeGSS:
		return dissect.Yes.If(size == 8)
	case code == codeCancel:
		return dissect.Yes.If(size >= 16 && size <= 12+256)
	case code>>16 != majorThree || code&0xffff > 2 || size < 9 || size > maxStartup:
		return dissect.No
	case int(size) > len(b):
		for _, c := range b[8:] {
			if c != 0 && c < ' ' {
				return dissect.No
			}
		}
		if len(b) < 13 {
			return dissect.More
		}
		return dissect.Yes.If(string(b[8:13]) == "user\x00" || b[8] == '_' || b[8] >= 'a' && b[8] <= 'z')
	}
	b = b[8:size]
	return dissect.Yes.If(b[len(b)-1] == 0 && (len(b) == 1 || b[0] >= 'A'))
}

// detectChain walks over messages; all must be valid, and one must be distinctive.
func detectChain(b []byte, types string, sign func(kind byte, body []byte) dissect.Verdict) dissect.Verdict {
	for len(b) > 0 {
		if strings.IndexByte(types, b[0]) < 0 {
			return dissect.No
		}
		if len(b) < 5 {
			for _, c := range b[1:min(len(b), 3)] {
				if c != 0 {
					return dissect.No
				}
			}
			return dissect.More
		}
		size := binary.BigEndian.Uint32(b[1:])
		if size < 4 || size > maxUndetected {
			return dissect.No
		}
		end := int(size) + 1
		if end > len(b) {
			return dissect.More
		}
		if v := sign(b[0], b[5:end]); v != dissect.More {
			return v
		}
		b = b[end:]
	}
	return dissect.More
}

// frontendSign reports whether a message can only be a client's. More means that it is too short
// to be sure.
func frontendSign(kind byte, body []byte) dissect.Verdict {
	switch kind {
	case 'Q':
		n := len(body)
		return dissect.Yes.If(n > 1 && body[n-1] == 0 && bytes.IndexByte(body[:n-1], 0) < 0 && printable(body[:n-1]))
	case 'P':
		r := cursor.New(body)
		name, query := r.CString(), r.CString()
		n := int(r.Uint16())
		return dissect.Yes.If(!r.Short() && r.Left() == 4*n && printable(name) && printable(query))
	case 'B':
		var p params
		r := cursor.New(body)
		name, stmt := r.CString(), r.CString()
		p.read(&r)
		n := int(r.Uint16())
		return dissect.Yes.If(!r.Short() && r.Left() == 2*n && printable(name) && printable(stmt))
	case 'D', 'C':
		return maybe(len(body) >= 2 && (body[0] == 'S' || body[0] == 'P') && body[len(body)-1] == 0)
	case 'E':
		i := bytes.IndexByte(body, 0)
		return maybe(i >= 0 && i+5 == len(body))
	case 'S', 'H', 'X', 'c':
		return maybe(len(body) == 0)
	case 'd':
		return replicating(body, "r")
	}
	return dissect.More
}

// replicating is the verdict on data of a COPY: messages of replication also show which side sent
// them.
func replicating(body []byte, kinds string) dissect.Verdict {
	if is, _ := replicates(body); is {
		return dissect.Yes.If(strings.IndexByte(kinds, body[0]) >= 0)
	}
	return dissect.More
}

func maybe(ok bool) dissect.Verdict {
	if ok {
		return dissect.More
	}
	return dissect.No
}

// backendSign reports whether a message can only be a server's.
func backendSign(kind byte, body []byte) dissect.Verdict {
	r := cursor.New(body)
	switch kind {
	case 'R':
		code := r.Uint32()
		return dissect.Yes.If(!r.Short() && code <= 12 && (code != 0 || len(body) == 4))
	case 'Z':
		return dissect.Yes.If(len(body) == 1 && strings.IndexByte("ITE", body[0]) >= 0)
	case 'C':
		n := len(body)
		return dissect.Yes.If(n > 2 && body[n-1] == 0 && body[0] >= 'A' && body[0] <= 'Z' && printable(body[:n-1]))
	case 'E', 'N':
		e := parseError(body)
		return dissect.Yes.If(len(e.code) == 5 && e.severity != "" && e.message != "" && body[len(body)-1] == 0)
	case 'T':
		n := int(r.Uint16())
		for range n {
			if name := r.CString(); !printable(name) {
				return dissect.No
			}
			r.Skip(18)
			if r.Short() {
				return dissect.No
			}
		}
		return dissect.Yes.If(n > 0 && r.Left() == 0)
	case 'D':
		n := int(r.Uint16())
		for range n {
			if size := int32(r.Uint32()); size > 0 {
				r.Skip(int(size))
			}
			if r.Short() {
				return dissect.No
			}
		}
		return maybe(n > 0 && r.Left() == 0)
	case 'S':
		name, value := r.CString(), r.CString()
		return dissect.Yes.If(!r.Short() && r.Left() == 0 && len(name) > 2 && printable(name) && printable(value))
	case '1', '2', '3', 'n', 's', 'I', 'c':
		return maybe(len(body) == 0)
	case 'd':
		return replicating(body, "kw")
	case 'K':
		return maybe(len(body) >= 8 && len(body) <= 260)
	}
	return dissect.More
}

// printable reports whether b is text.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
