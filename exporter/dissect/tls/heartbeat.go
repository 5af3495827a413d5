package tls

import "fmt"

// Sizes of heartbeats, RFC 6520 section 4: type and length, and the padding that a receiver requires.
const (
	beatHeader  = 3
	beatPadding = 16
	leastSealed = beatHeader + beatPadding + 16 // with the shortest check of integrity, or the nonce and the tag of CCM_8
	someExtra   = 64                            // bytes that an encrypted answer may have more, of padding
)

// heartbeat is the size of a heartbeat, 0 if there was none.
type heartbeat struct {
	size    int
	sealed  bool
	invalid bool // its receiver must discard it
}

var sides = [2]string{client: "client", server: "server"}

// heartbeat looks for a length that requests more than was sent, and for answers with more than was sent (Heartbleed,
// CVE-2014-0160). The capture may have only a part of the message of size bytes.
func (k *conn) heartbeat(from role, body []byte, size int) {
	if len(body) < beatHeader {
		return
	}
	claims := int(body[1])<<8 | int(body[2])
	now := heartbeat{size: size, invalid: claims+beatHeader > size || body[0] == 1 && claims+beatHeader+beatPadding > size}
	switch before := k.beats[1-from]; {
	case body[0] == 2 && before.invalid && !before.sealed:
		k.c.Anomaly("heartbeat_answer", fmt.Sprintf("a heartbeat of the %s answers with a payload of %d one that it must discard, because its length is wrong (CVE-2014-0160)", sides[from], claims), 0)
	case claims+beatHeader > size:
		k.c.Anomaly("heartbeat_length", fmt.Sprintf("a heartbeat of %d bytes of the %s claims a payload of %d (CVE-2014-0160)", size, sides[from], claims), 0)
	case now.invalid:
		k.c.Anomaly("heartbeat_length", fmt.Sprintf("a heartbeat of %d bytes of the %s claims a payload of %d, which leaves no place for its padding of %d bytes (CVE-2014-0160)", size, sides[from], claims, beatPadding), 0)
	}
	k.beats[from] = now
}

// sealedHeartbeat does so by the sizes of encrypted records.
func (k *conn) sealedHeartbeat(from role, size int) {
	now := heartbeat{size: size, sealed: true, invalid: size < leastSealed}
	switch before := k.beats[1-from]; {
	case before.sealed && size > before.size+someExtra:
		k.c.Anomaly("heartbeat_answer", fmt.Sprintf("an encrypted heartbeat of %d bytes of the %s follows one of %d bytes, whose payload it cannot be (CVE-2014-0160)", size, sides[from], before.size), 0)
	case now.invalid:
		k.c.Anomaly("heartbeat_length", fmt.Sprintf("an encrypted heartbeat of %d bytes of the %s is too short for a payload and its padding (CVE-2014-0160)", size, sides[from]), 0)
	}
	k.beats[from] = now
}
