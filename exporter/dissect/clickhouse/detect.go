package clickhouse

import (
	"errors"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// product is how a server calls itself. Clients have longer names.
const product = "ClickHouse"

// detect accepts a login, the answer to it, and a statement and an error of a connection that began before the
// capture, these also in chunks.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	v := detectPacket(dir, head)
	if v != dissect.No {
		return v
	}
	if isSize(head) && dir == dissect.ToServer {
		return dissect.More
	}
	p, size := firstChunk(head)
	if size < minStatement || dir == dissect.ToServer && p[0] != clientQuery || dir == dissect.ToClient && p[0] != serverException {
		return dissect.No
	}
	if v = detectPacket(dir, p); v == dissect.More && len(p) == size { // of several chunks
		return dissect.No
	}
	return v
}

// detectPacket accepts packets that all have a revision of the protocol, which is a number of three bytes, or an
// error's name.
func detectPacket(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) == 0 {
		return dissect.More
	}
	r := &cursor{b: head, at: 1}
	switch {
	case dir == dissect.ToServer && head[0] == clientHello:
		if h := readHello(r); h.client == product {
			return dissect.No
		}
	case dir == dissect.ToServer && head[0] == clientQuery:
		_, _, r = readAnyQuery(head, anyRevision)
	case dir == dissect.ToClient && head[0] == serverHello:
		if n := min(len(head), 2+len(product)); string(head[1:n]) != ("\x0a" + product)[:n-1] {
			return dissect.No
		}
		readWelcome(r, revTimezone) // only as far as all revisions are the same
	case dir == dissect.ToClient && head[0] == serverException:
		if len(head) > 6 && !strings.HasPrefix("DB::", string(head[6:min(len(head), 10)])) {
			return dissect.No
		}
		readException(r)
	default:
		return dissect.No
	}
	switch {
	case errors.Is(r.err, errShort):
		return dissect.More
	case r.err != nil:
		return dissect.No
	}
	return dissect.Yes
}

// resume accepts also the other packets that can begin a segment.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if v := detect(dir, head); v == dissect.Yes || len(head) == 0 {
		return v
	}
	switch {
	case head[0] == clientPing && len(head) == 1, dir == dissect.ToClient && head[0] == serverEnd && len(head) == 1:
		return dissect.Yes
	case dir == dissect.ToClient && len(head) > 10 && (head[0] == serverData || head[0] == serverTotals) && head[1] == 0:
		if plainBlock(head[2:]) {
			return dissect.Yes
		}
	case inChunks(dir, head):
		return dissect.Yes
	case isSize(head): // senders write it alone
		return dissect.Likely
	}
	return dissect.No
}

// plainBlock reports whether a block that is not compressed begins here. b has at least 8 bytes.
func plainBlock(b []byte) bool {
	d := decoder{}
	if string(b[:2]) != "\x01\x00" || b[2] != 2 {
		return false
	}
	_, err := d.read(b[:8])
	return err == nil && d.stage == 1
}
