package memcached

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
)

// detect accepts binary messages whose lengths are those of their opcode, commands with their value,
// and replies that memcached alone has. A command such as "get key" could be one of other protocols
// of lines, so the reply decides.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	v := detectStream(dir, head)
	if _, ok := frame(head); ok && v <= dissect.More {
		if in := detectStream(dir, head[frameHead:]); in > dissect.More {
			return in
		}
		if v < dissect.More || dir == dissect.ToServer { // after the head of a datagram, a whole line is enough
			return max(v, line(dir, head[frameHead:]))
		}
	}
	return v
}

func detectStream(dir dissect.Dir, head []byte) dissect.Verdict {
	switch {
	case len(head) == 0:
		return dissect.More
	case dir == dissect.ToServer && head[0] == magicRequest:
		return detectBinary(head, magicRequest)
	case dir == dissect.ToClient && head[0] == magicResponse:
		return detectBinary(head, magicResponse)
	}
	for {
		line, n, err := lineOf(head)
		switch {
		case err != nil || n == 1 || n > 1 && head[n-2] != '\r':
			return dissect.No
		case n == 0:
			return begins(dir, head)
		}
		examine := detectReply
		if dir == dissect.ToServer {
			examine = detectCommand
		}
		v, whole := examine(line, head[n:])
		if head = head[n:]; v != dissect.More || !whole || len(head) == 0 {
			return v
		}
	}
}

func detectBinary(head []byte, magic byte) dissect.Verdict {
	p, err := readPacket(head, magic)
	switch {
	case err != nil:
		return dissect.No
	case len(head) < binaryHead:
		return dissect.More
	case magic == magicRequest && bytes.Equal(head[6:8], []byte{0, 0}):
		return dissect.Yes
	case magic == magicResponse && p.status == 0:
		return dissect.Yes
	}
	return dissect.Likely
}

// begins decides about a line that is not complete.
func begins(dir dissect.Dir, head []byte) dissect.Verdict {
	word, _, whole := bytes.Cut(head, []byte{' '})
	word = bytes.TrimSuffix(word, []byte{'\r'})
	if len(head) > 2<<10 || !lines.Plain(bytes.TrimSuffix(head, []byte{'\r'})) {
		return dissect.No
	}
	known := func(name string) bool {
		return name == string(word) || !whole && len(name) > len(word) && name[:len(word)] == string(word)
	}
	if dir == dissect.ToServer {
		for name := range verbs {
			if known(name) {
				return dissect.More
			}
		}
		return dissect.No
	}
	if isNumber(word) && !whole {
		return dissect.More
	}
	for _, list := range [...]map[string]bool{results, metaResults, {"VALUE": true, "STAT": true, "ITEM": true}} {
		for name := range list {
			if known(name) {
				return dissect.More
			}
		}
	}
	return dissect.No
}

// ownVerbs are commands without a value that no other protocol has.
var ownVerbs = map[string]bool{"flush_all": true, "cache_memlimit": true, "lru_crawler": true}

// detectCommand examines a command and the bytes after it. whole says that nothing of it is missing: if it does not
// decide, the next one may.
func detectCommand(line, rest []byte) (verdict dissect.Verdict, whole bool) {
	name, v, _, size, err := parse(line)
	switch {
	case err != nil:
		return dissect.No, true
	case ownVerbs[name]:
		return dissect.Likely, true
	case !v.hasValue:
		return dissect.More, true
	case int64(len(rest)) >= size+2 && string(rest[size:size+2]) == "\r\n":
		return dissect.Yes, true
	case int64(len(rest)) >= size+2 || int64(len(rest)) == size+1 && rest[size] != '\r':
		return dissect.No, true
	case v.flags > 0: // key, flags, time and size: no other protocol has such a line
		return dissect.Likely, false
	}
	return dissect.More, false
}

// detectReply examines a line of a reply and the bytes after it, like detectCommand.
func detectReply(line, rest []byte) (verdict dissect.Verdict, whole bool) {
	r, err := parseReply(line)
	if err != nil {
		return dissect.No, true
	}
	if len(r.words) == 0 && (r.word == "OK" || r.word == "ERROR" || isNumber(line)) { // others have such lines too
		return dissect.More, true
	}
	return detectResult(&r, rest), false
}

func detectResult(r *replyLine, rest []byte) dissect.Verdict {
	switch r.word {
	case "CLIENT_ERROR", "SERVER_ERROR":
		return dissect.Likely
	case "VALUE", "VA":
		switch {
		case int64(len(rest)) >= r.size+2 && string(rest[r.size:r.size+2]) == "\r\n":
			return dissect.Likely
		case int64(len(rest)) >= r.size+2:
			return dissect.No
		case r.word == "VALUE" && r.size > 512:
			return dissect.Likely
		}
		return dissect.More
	case "STAT":
		return dissect.Likely.If(len(r.words) >= 2)
	case "END", "STORED", "NOT_STORED", "DELETED", "TOUCHED", "NOT_FOUND", "EXISTS", "HD", "EN", "MN", "NF", "NS", "EX":
		return dissect.Likely.If(len(r.words) == 0 || len(r.word) == 2 && metaFlags(r.words))
	case "VERSION":
		return dissect.Likely.If(len(r.words) == 1 && bytes.Count(r.words[0], []byte{'.'}) >= 2 && r.words[0][0] >= '0' && r.words[0][0] <= '9')
	}
	return dissect.No
}

// metaFlags reports whether all words begin with the letter of a flag that replies return.
func metaFlags(words [][]byte) bool {
	for _, w := range words {
		if !bytes.ContainsRune([]byte("bcfhklOstWXZ"), rune(w[0])) {
			return false
		}
	}
	return true
}

// detectOnPort also accepts commands without a value.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	if _, ok := frame(head); ok {
		head = head[frameHead:]
	}
	if v := detectStream(dir, head); v >= dissect.Likely {
		return v
	}
	return line(dir, head)
}

// line accepts any line of the text protocols.
func line(dir dissect.Dir, head []byte) dissect.Verdict {
	l, n, err := lineOf(head)
	if err != nil || n < 2 || head[n-2] != '\r' {
		return dissect.No
	}
	if dir == dissect.ToServer {
		_, _, _, _, err = parse(l)
	} else {
		_, err = parseReply(l)
	}
	if err != nil {
		return dissect.No
	}
	return dissect.Likely
}

// resume accepts any message where the protocol is known, and waits for the end of its line.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if v := detect(dir, head); v >= dissect.Likely {
		return v
	}
	if _, n, err := lineOf(head); n == 0 && err == nil && len(head) > 0 && head[0] != magicRequest && head[0] != magicResponse {
		return begins(dir, head)
	}
	return line(dir, head)
}
