package mqtt

import (
	"bytes"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	maxDetect    = 16 << 10 // bytes of a packet that detection waits for
	maxUndecided = 12 << 10 // bytes for which it waits for a packet that shows who sent it
)

// detect accepts CONNECT by its protocol name, and in a connection whose start was not captured whole
// packets of topics: PUBLISH, SUBSCRIBE and UNSUBSCRIBE up to the end of the segment.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	f, err := header(dir, head)
	switch {
	case err != nil:
		return dissect.No
	case f.kind == connect:
		return detectConnect(&f, head)
	}
	return walk(dir, head)
}

// detectConnect checks the fields of CONNECT that are the same in all connections.
func detectConnect(f *fixed, head []byte) dissect.Verdict {
	if f.size == 0 {
		return dissect.More
	}
	body := head[f.size:]
	for _, begin := range []string{"\x00\x04MQTT\x04", "\x00\x04MQTT\x05", "\x00\x04MQTT\x84", "\x00\x06MQIsdp\x03", "\x00\x06MQIsdp\x83"} {
		n := min(len(begin), len(body))
		if !bytes.Equal(body[:n], []byte(begin)[:n]) {
			continue
		}
		if len(body) <= len(begin) {
			return dissect.More
		}
		if body[len(begin)]&1 != 0 { // reserved
			return dissect.No
		}
		return dissect.Yes
	}
	return dissect.No
}

// walk checks the packets of a segment. Both sides send PUBLISH, so it waits for a packet that only this side sends,
// or for several complete packets, of which one has a topic or all are pings.
func walk(dir dissect.Dir, head []byte) dissect.Verdict {
	w := packets{all: true}
	if !w.read(dir, head) || !w.begun && len(head) > maxDetect {
		return dissect.No
	}
	switch {
	case w.sure && w.named, w.whole > 1 && w.all && (w.named || w.whole == w.pings):
		return dissect.Likely
	case len(head) <= maxUndecided:
		return dissect.More
	}
	return dissect.No
}

// packets counts what the packets of a segment prove.
type packets struct {
	whole int
	pings int
	all   bool // the segment ends with the last packet
	begun bool // enough of the first packet was read
	named bool // one has a topic
	sure  bool // one is of a type that only this side sends
}

// read examines all packets of a segment. It returns false if one cannot be of this side.
func (w *packets) read(dir dissect.Dir, head []byte) bool {
	for first := true; len(head) > 0; first = false {
		f, err := header(dir, head)
		switch {
		case err != nil:
			return false
		case f.size == 0:
			w.all = false
			return true
		}
		v, end := topics(&f, head[f.size:]), f.size+int(f.left)
		if v == dissect.No {
			return false
		}
		w.begun = w.begun || first && v == dissect.Yes
		w.named = w.named || v == dissect.Yes && (f.kind == publish || f.kind == subscribe || f.kind == unsubscribe)
		if end > len(head) {
			w.all = false
			return true
		}
		w.sure = w.sure || f.kind >= subscribe && f.kind <= pingresp
		if w.whole++; f.kind == pingreq || f.kind == pingresp {
			w.pings++
		}
		head = head[end:]
	}
	return true
}

// topics checks the topics of a packet. More means that the packet is not complete.
func topics(f *fixed, b []byte) dissect.Verdict {
	whole := int64(len(b)) >= f.left
	b = b[:min(int64(len(b)), f.left)]
	switch {
	case f.kind == publish:
		return topic(b, f.left)
	case !whole:
		return dissect.More
	case f.kind != subscribe && f.kind != unsubscribe:
		return dissect.Yes
	}
	for _, version := range []byte{4, 5} {
		if filterList(f.kind, b, version) {
			return dissect.Yes
		}
	}
	return dissect.No
}

// topic checks the beginning of PUBLISH.
func topic(b []byte, left int64) dissect.Verdict {
	if len(b) < 2 {
		return dissect.More
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < 3 || int64(n)+2 > left {
		return dissect.No
	}
	name := b[2:min(len(b), 2+n)]
	switch {
	case !printable(name):
		return dissect.No
	case len(b) < 2+n:
		return dissect.More
	case !isText(name) || bytes.ContainsAny(name, "+#") || !bytes.ContainsFunc(name, isLetter):
		return dissect.No
	}
	return dissect.Yes
}

func isLetter(c rune) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// filterList reports whether b is the content of SUBSCRIBE or UNSUBSCRIBE and nothing else.
func filterList(kind byte, b []byte, version byte) bool {
	r := reader{Cursor: cursor.New(b), version: version}
	if r.Uint16() == 0 {
		return false
	}
	r.properties(&call{row: &Row{}})
	for r.Left() > 0 && !r.Short() {
		name := r.text()
		if len(name) == 0 || !isText(name) || kind == subscribe && (r.Left() == 0 || r.Rest()[0]&3 == 3 || version < 5 && r.Rest()[0] > 2) {
			return false
		}
		if kind == subscribe {
			r.Uint8()
		}
	}
	return !r.Short()
}

// detectOnPort also accepts the beginning of a connection without CONNECT, PUBLISH alone, and whole packets of any
// type.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	w := packets{all: true}
	return dissect.Yes.If(w.read(dir, head) && (w.all && w.whole > 0 || w.begun && w.named))
}

// resume accepts any packet of that side whose length is that of the segment, or whose topic is text.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	f, err := header(dir, head)
	if err != nil || f.size == 0 {
		return dissect.No
	}
	for first := true; len(head) > 0; first = false {
		f, err := header(dir, head)
		if err != nil || f.kind == connect && detectConnect(&f, head) != dissect.Yes {
			return dissect.No
		}
		if f.size == 0 {
			break
		}
		switch v := topics(&f, head[f.size:]); {
		case v == dissect.No, v == dissect.More && first && f.kind != publish:
			return dissect.No
		case v == dissect.Yes && f.kind == publish:
			return dissect.Likely
		}
		head = head[min(f.size+int(f.left), len(head)):]
	}
	return dissect.Likely
}
