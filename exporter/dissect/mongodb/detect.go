package mongodb

import (
	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxDetect = 16 << 10 // bytes of a message that detection waits for

// detect accepts a message whose documents fill it exactly. Of a long message, and of a compressed
// one, the beginning counts, but only as likely.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < headSize {
		return more(head)
	}
	h := readHead(head)
	if h.check(dir) != nil || dir == dissect.ToServer && !h.asks() {
		return dissect.No
	}
	b := head[headSize:min(int64(len(head)), h.size)]
	whole := int64(len(head)) >= h.size
	var ok, sure bool
	switch h.op {
	case opMsg:
		ok, sure = looksLikeMsg(dir, h, b, whole)
	case opCompressed:
		ok = looksCompressed(h, b)
		if !ok && len(b) < compressedHead+4 && !whole {
			return dissect.More
		}
		return dissect.Likely.If(ok)
	case opReply:
		ok, sure = looksLikeReply(b, whole)
	default:
		ok, sure = looksLegacy(h.op, b, whole)
	}
	switch {
	case !ok:
		return dissect.No
	case sure && whole:
		return dissect.Yes
	case whole:
		return dissect.Likely
	case h.size <= maxDetect || len(head) < 256:
		return dissect.More
	}
	return dissect.Likely.If(sure)
}

// asks reports whether a message is not an answer: some drivers send -1.
func (h head) asks() bool { return h.answer == 0 || h.answer == -1 }

// more decides about less than a head: the lengths and operations of messages have zeros in them.
func more(b []byte) dissect.Verdict {
	if len(b) >= 4 {
		if n := int32(le.Uint32(b)); n < headSize || n > maxMessage {
			return dissect.No
		}
	}
	return dissect.More
}

// looksLikeMsg reports whether b can be OP_MSG, and whether it has what each message of its side has:
// a request its database, a reply its result.
func looksLikeMsg(dir dissect.Dir, h head, b []byte, whole bool) (ok, sure bool) {
	if len(b) < 5 {
		return !whole, false
	}
	if flags := le.Uint32(b); flags&^(msgChecksum|msgMoreToCome|msgExhaust) != 0 || b[4] > 1 {
		return false, false
	}
	if dir == dissect.ToClient && h.answer == 0 {
		return false, false
	}
	bodies := 0
	err := sections(&body{data: b, partial: !whole}, func(name string, doc []byte) error {
		if name != "" {
			return nil
		}
		bodies++
		complete, err := elements(doc, func(e element) bool {
			s, isText := e.text()
			switch _, isNumber := e.number(); string(e.key) {
			case "$db":
				sure = sure || dir == dissect.ToServer && isText && len(s) > 0
			case "ok":
				sure = sure || dir == dissect.ToClient && isNumber
			}
			return clip.Printable(e.key)
		})
		if err == nil && whole && !complete {
			err = errDocument
		}
		return err
	})
	return err == nil && (!whole || bodies == 1), sure
}

// looksCompressed reports whether b begins as OP_COMPRESSED, with a size that its data may have.
func looksCompressed(h head, b []byte) bool {
	if len(b) < compressedHead+4 {
		return false
	}
	op, size, data := int32(le.Uint32(b)), int64(int32(le.Uint32(b[4:]))), b[compressedHead:]
	if op == opCompressed || tables().op[int64(op)] == "" || size < minDocument || size > maxMessage || h.size < headSize+compressedHead {
		return false
	}
	switch b[8] {
	case 1: // snappy begins with the size
		n, shift := int64(0), 0
		for _, c := range data[:min(len(data), 5)] {
			n |= int64(c&0x7f) << shift
			if shift += 7; c < 0x80 {
				return n == size
			}
		}
	case 2: // RFC 1950
		return data[0]&0x0f == 8 && (int(data[0])<<8|int(data[1]))%31 == 0
	case 3: // RFC 8878
		return le.Uint32(data) == 0xfd2fb528
	}
	return false
}

// looksLikeReply reports whether b can be OP_REPLY: flags, cursor, start, count and that many
// documents.
func looksLikeReply(b []byte, whole bool) (ok, sure bool) {
	if len(b) < 20 {
		return !whole && (len(b) < 4 || le.Uint32(b) < 1<<4), false
	}
	n := int32(le.Uint32(b[16:]))
	if le.Uint32(b) >= 1<<4 || n < 0 || n > 1<<20 || int32(le.Uint32(b[12:])) < 0 {
		return false, false
	}
	r := littleCursor{cursor.New(b[20:])}
	return documents(&r, n, whole), n > 0
}

// documents reports whether n documents follow, and nothing else.
func documents(r *littleCursor, n int32, whole bool) bool {
	for range n {
		if !whole && r.Left() < 4 {
			return true
		}
		complete, err := elements(r.document(), func(e element) bool { return clip.Printable(e.key) })
		if err != nil || r.Short() || whole && !complete {
			return false
		}
	}
	return !whole || r.Left() == 0
}

// looksLegacy reports whether b can be an operation before OP_MSG: a namespace, and documents that
// fill the message.
func looksLegacy(op int32, b []byte, whole bool) (ok, sure bool) {
	r := littleCursor{cursor.New(b)}
	if op == opKillCursors {
		zero, n := r.int32(), r.int32()
		return r.Short() && !whole || zero == 0 && n > 0 && n < 1<<16 && int64(r.Left()) == 8*int64(n), false
	}
	if op == opCommand {
		return false, false // was never sent by drivers
	}
	flags := r.int32()
	name := r.CString()
	if r.Short() {
		return !whole && flags>>8 == 0 && namespaceBegins(b[min(4, len(b)):]), false
	}
	if flags>>8 != 0 || !namespaceBegins(name) || !dotted(name) {
		return false, false
	}
	n := int32(1)
	switch op {
	case opQuery:
		r.Skip(8)
		if len(r.Rest()) >= 4 { // a list of fields may follow
			if size := int64(le.Uint32(r.Rest())); size < int64(r.Left()) {
				n = 2
			}
		}
	case opGetMore:
		r.Skip(12)
		return !r.Short() && r.Left() == 0 || r.Short() && !whole, true
	case opDelete:
		r.Skip(4)
	case opUpdate:
		r.Skip(4)
		n = 2
	case opInsert:
		for whole && r.Left() > 0 {
			if complete, err := elements(r.document(), func(e element) bool { return clip.Printable(e.key) }); err != nil || !complete {
				return false, false
			}
		}
		return true, true
	}
	if r.Short() {
		return !whole, false
	}
	return documents(&r, n, whole), true
}

// namespaceBegins reports whether a database's name begins so.
func namespaceBegins(b []byte) bool {
	return clip.Printable(b) && (len(b) == 0 || b[0] >= 0x80 || b[0] == '_' || b[0] == '$' || b[0] >= '0' && b[0] <= '9' || b[0]|0x20 >= 'a' && b[0]|0x20 <= 'z')
}

func dotted(name []byte) bool {
	for i, c := range name {
		if c == '.' {
			return i > 0 && i < len(name)-1
		}
	}
	return false
}
