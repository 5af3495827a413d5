package tls

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
)

// detect implements Protocol.Detect.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) == 0 {
		return dissect.More
	}
	if len(head) >= 3 && (head[1] == 0xfe || head[1] == 1 && head[2] == 0) && head[0] >= recordCCS && head[0] <= recordCID {
		return detectDTLS(dir, head)
	}
	if head[0]&0x80 != 0 {
		return detectSSL2(dir, head)
	}
	var known recordHeader
	have := min(len(head), headerBytes)
	b := [headerBytes]byte{0, 3, 0, 0, 1}
	copy(b[:], head[:have])
	if known = header(b[:]); !known.plausible() {
		return dissect.No
	}
	if have < headerBytes {
		return dissect.More
	}
	body := head[headerBytes:]
	if known.size == 0 {
		return dissect.No
	}
	switch known.typ {
	case recordCCS:
		if known.size != 1 {
			return dissect.No
		}
		if len(body) == 0 {
			return dissect.More
		}
		if body[0] != 1 {
			return dissect.No
		}
	case recordAlert:
		return detectAlert(known, body)
	case recordHandshake:
		return detectHandshake(dir, known, body)
	case recordHeartbeat:
		return dissect.No
	}
	return followed(known, body)
}

// followed examines the available part of the record after the first one. Neither is a hello, so
// the verdict is Likely at most.
func followed(h recordHeader, body []byte) dissect.Verdict {
	if len(body) < h.size {
		return dissect.Likely
	}
	rest := body[h.size:]
	if len(rest) >= headerBytes {
		if next := header(rest); !next.plausible() || next.version != h.version {
			return dissect.No
		}
	}
	return dissect.Likely
}

func detectAlert(h recordHeader, body []byte) dissect.Verdict {
	if h.size != 2 { // encrypted: at least a MAC or a tag
		if h.size < 18 || h.size > 256 {
			return dissect.No
		}
		return followed(h, body)
	}
	if len(body) < 2 {
		return dissect.More
	}
	if body[0] != 1 && body[0] != 2 {
		return dissect.No
	}
	return followed(h, body)
}

// detectHandshake accepts a ClientHello or a ServerHello, or the encrypted Finished with which a
// capture may begin.
func detectHandshake(dir dissect.Dir, h recordHeader, body []byte) dissect.Verdict {
	if len(body) < messageHeader+2 {
		return dissect.More
	}
	size := messageSize(body) - messageHeader
	version := uint16(body[4])<<8 | uint16(body[5])
	fits := size+messageHeader <= h.size || size <= maxMessage
	switch typ := body[0]; {
	case typ == handshake.TypeClientHello && fits && size >= 38 && helloVersion(version):
		if dir == dissect.ToClient { // rarely: RFC 8071 section 2
			return dissect.Likely
		}
		return dissect.Yes
	case typ == handshake.TypeServerHello && fits && size >= 36 && helloVersion(version):
		if dir == dissect.ToServer {
			return dissect.No
		}
		return dissect.Yes
	case typ == handshake.TypeCertificate && size >= 3 && size <= maxMessage && body[4] == 0:
		return followed(h, body)
	case typ == handshake.TypeHelloRequest && size == 0,
		typ == handshake.TypeClientKeyExchange && size+messageHeader <= h.size:
		return followed(h, body)
	}
	if h.size >= 32 && h.size <= 256 { // possibly an encrypted Finished
		return followed(h, body)
	}
	return dissect.No
}

func helloVersion(v uint16) bool { return v>>8 == 3 && v&0xff <= 4 || v>>8 == 0x7f }

// detectSSL2 recognizes a ClientHello in SSL 2.0 form, with consistent lengths.
func detectSSL2(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) >= 3 && head[2] != 1 || dir == dissect.ToClient {
		return dissect.No
	}
	if len(head) < 11 {
		return dissect.More
	}
	size := int(head[0]&0x7f)<<8 | int(head[1])
	version := uint16(head[3])<<8 | uint16(head[4])
	suites, id, challenge := int(head[5])<<8|int(head[6]), int(head[7])<<8|int(head[8]), int(head[9])<<8|int(head[10])
	if version != 2 && !(version>>8 == 3 && version&0xff <= 3) || suites == 0 || suites%3 != 0 ||
		id != 0 && id != 16 || challenge < 16 || challenge > 32 || 9+suites+id+challenge != size {
		return dissect.No
	}
	return dissect.Yes
}
