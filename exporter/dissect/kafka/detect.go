package kafka

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	maxDetect   = 16 << 10  // bytes of a request that detection waits for
	maxExpected = 128 << 20 // bytes of a message that detection believes
	minNumbered = 12        // bytes of the body of a request of a broker
)

// detect accepts a request whose head and body are exactly of a version of its API. A response
// shows nothing but its correlation id, so it identifies nothing.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToClient {
		return dissect.No
	}
	if len(head) < 4 {
		return dissect.More
	}
	size := int64(int32(binary.BigEndian.Uint32(head)))
	if size < 8 || size > maxExpected {
		return dissect.No
	}
	b := head[4:min(int64(len(head)), 4+size)]
	h, msg, err := readHeader(b)
	switch {
	case err == errShort && int64(len(b)) < size:
		return dissect.More
	case err != nil || h.version > msg.MaxVersion() && h.key != apiVersions:
		return dissect.No
	}
	body := b[h.size:]
	switch whole := int64(len(b)) == size; {
	case !named(h.client) && !(whole && introduces(msg, body)):
		return dissect.Likely.If(whole && numbered(h.client) && len(body) >= minNumbered && exact(msg, body))
	case h.version > msg.MaxVersion():
		return dissect.Likely.If(whole)
	case whole && empty(msg, body):
		return dissect.No
	case whole && exact(msg, body):
		return dissect.Yes
	case whole:
		return dissect.No
	case size <= maxDetect:
		return dissect.More
	}
	return dissect.Likely.If(h.key == apiProduce && begins(body, h.version))
}

// detectOnPort also accepts requests without a client id.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToClient || len(head) < 4 || int64(binary.BigEndian.Uint32(head)) != int64(len(head)-4) {
		return dissect.No
	}
	h, msg, err := readHeader(head[4:])
	if err != nil || h.version > msg.MaxVersion() || !exact(msg, head[4+h.size:]) {
		return dissect.No
	}
	return dissect.Yes
}

// named reports whether a client id has a letter: without one, binary data of many kinds looks like
// a request.
func named(id []byte) bool {
	return bytes.ContainsFunc(id, func(c rune) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' })
}

// numbered reports whether a client id is a number in decimal digits: that of a broker.
func numbered(id []byte) bool {
	_, err := strconv.ParseUint(string(id), 10, 31)
	return err == nil
}

// introduces reports whether a body is ApiVersions with the name of a client's software, as brokers send it to one
// another: their client id is a number.
func introduces(msg kmsg.Request, body []byte) bool {
	v, ok := msg.(*kmsg.ApiVersionsRequest)
	return ok && exact(msg, body) && named([]byte(v.ClientSoftwareName))
}

// empty reports whether a body names nothing although its API needs a name. A frame of another protocol may end with
// zeros: Create of RabbitMQ's streams looks like LeaveGroup of a group without a name.
func empty(msg kmsg.Request, body []byte) bool {
	switch msg.Key() {
	case apiVersions, apiMetadata:
		return false
	}
	return len(body) > 3 && len(bytes.Trim(body, "\x00")) == 0 // the longest that names nothing is that of DescribeCluster
}

// exact reports whether a body is one message and nothing else. ApiVersions before version 3 is
// empty, but librdkafka sends an empty list of APIs in it. A response looks like Produce, which is API 0, if its
// correlation id is small; only a Produce of no topic is that short.
func exact(msg kmsg.Request, body []byte) bool {
	if msg.Key() == apiVersions && msg.GetVersion() < 3 && string(body) == "\x00\x00\x00\x00" {
		return true
	}
	if msg.ReadFrom(body) != nil || len(msg.AppendTo(nil)) != len(body) {
		return false
	}
	p, ok := msg.(*kmsg.ProduceRequest)
	return !ok || len(p.Topics) > 0
}

// begins reports whether a body begins as that of Produce.
func begins(body []byte, v int16) bool {
	r := newReader(body, v >= produceFlexible)
	if v >= 3 && !clip.Printable(r.str()) {
		return false
	}
	acks, timeout, topics := r.int16(), r.int32(), r.count()
	if acks < -1 || acks > 1 || timeout < 0 || topics < 1 || topics > maxDetect {
		return false
	}
	if v >= produceIDs {
		r.uuid()
	} else if name := r.str(); len(name) == 0 || !clip.Printable(name) {
		return false
	}
	partitions, partition, size := r.count(), r.int32(), r.count()
	batch := r.Bytes(magicAt + 1)
	return partitions > 0 && partition >= 0 && size > magicAt && !r.Short() && batch[magicAt] <= 2
}

// resume also accepts responses, by their length and correlation id.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToServer {
		return detect(dir, head)
	}
	for {
		if len(head) < 8 {
			return dissect.No
		}
		size, id := int64(int32(binary.BigEndian.Uint32(head))), int32(binary.BigEndian.Uint32(head[4:]))
		if size < 4 || size > maxExpected || id < 0 {
			return dissect.No
		}
		if int64(len(head)) < 4+size+8 {
			return dissect.Likely
		}
		head = head[4+size:]
	}
}
