package derive

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
)

// Limits of one direction of a conversation.
const (
	maxAhead   = 256     // segments that wait for an earlier one
	maxWaiting = 1 << 20 // their bytes
	maxHeld    = 1 << 26 // their bytes in all streams of one worker
	maxDone    = 4096    // replaced ranges that are remembered for segments that are sent again
	maxBegun   = 1024    // places at which needles have begun that wait for more bytes
	maxStreams = 1 << 17 // directions of one worker
	shortTail  = 7       // too few bytes to tell which needle may begin
	maxText    = 1 << 16 // bytes of a stream that are searched for encodings at a time
	maxOpen    = 1 << 20 // of one in which something compressed continues
	overlap    = 1 << 12 // of them that are searched again with the next ones
)

// way identifies one direction of a conversation as one interface saw it.
type way struct {
	src, dst         decode.Addr
	srcPort, dstPort uint16
	proto            uint8
	iface            int32
	around           uint64 // tunnels and tags
}

// anywhere is the direction as all interfaces saw it.
func (w way) anywhere() way {
	w.iface, w.around = 0, 0
	return w
}

// bit is a piece of a stream: the payload of a packet.
type bit struct {
	index   int64 // of the packet in its file
	at      int32 // of the payload in the packet
	seq     uint32
	payload []byte
}

func (b *bit) end() uint32 { return b.seq + uint32(len(b.payload)) }

// held is where a piece of a stream was, without its bytes.
type held struct {
	index     int64
	at        int32
	seq, size uint32
}

// span is a range of sequence numbers and the text there.
type span struct {
	seq  uint32
	with string
	rule int32

	coded bool // it replaces an encoding: a body that is compressed again needs nothing of it
}

// stream follows one direction and finds values that cross the borders of its segments.
type stream struct {
	started bool
	next    uint32
	recent  []held
	tail    []byte
	begun   []open
	done    []span
	reach   uint32 // no span of done ends after it
	ahead   []bit
	waiting int
	text    []byte // the last bytes before next, which are searched for encodings
	known   int    // of these, how many were searched
	enough  int    // bytes of text that are searched at a time
}

// take takes one TCP segment, or one piece of a stream that is in order already.
func (w *worker) take(s *stream, b bit) {
	if !s.started {
		s.started, s.next, s.reach = true, b.seq, b.seq
	}
	w.search.find(b.payload, func(i int, n *needle) { w.put(s, &b, b.seq+uint32(i), n) })
	switch ahead := int32(b.seq - s.next); {
	case ahead > 0 && len(s.ahead) < maxAhead && s.waiting+len(b.payload) <= maxWaiting:
		b.payload = append([]byte(nil), b.payload...)
		s.ahead = append(s.ahead, b)
		w.hold(s, len(b.payload))
		if w.waiting > maxHeld {
			w.finish()
		}
		return
	case ahead > 0:
		w.skip(s)
		if int32(b.seq-s.next) > 0 { // it is the first of what is left
			w.restart(s, b.seq)
		}
	}
	w.grow(s, b)
	w.drain(s)
}

// drain takes the segments that fit now.
func (w *worker) drain(s *stream) {
	for i := 0; i < len(s.ahead); {
		b := s.ahead[i]
		if int32(b.seq-s.next) > 0 {
			i++
			continue
		}
		s.ahead = append(s.ahead[:i], s.ahead[i+1:]...)
		w.hold(s, -len(b.payload))
		w.grow(s, b)
		i = 0
	}
}

// hold counts bytes that wait.
func (w *worker) hold(s *stream, n int) {
	s.waiting += n
	w.waiting += n
}

// finish ends all streams: what waits for missing bytes waits no longer.
func (w *worker) finish() {
	for _, s := range w.streams {
		for len(s.ahead) > 0 {
			w.skip(s)
		}
	}
	for _, s := range w.streams {
		w.look(s, true)
	}
	clear(w.streams)
}

// skip stops waiting for the bytes before the first segment that waits.
func (w *worker) skip(s *stream) {
	if len(s.ahead) == 0 {
		return
	}
	first := s.ahead[0].seq
	for i := range s.ahead {
		if int32(s.ahead[i].seq-first) < 0 {
			first = s.ahead[i].seq
		}
	}
	w.restart(s, first)
	w.drain(s)
}

// restart continues at another place.
func (w *worker) restart(s *stream, seq uint32) {
	w.look(s, true)
	s.next, s.tail, s.begun, s.recent = seq, s.tail[:0], s.begun[:0], s.recent[:0]
}

// grow adds a segment that begins at s.next or before. Values inside it alone were found.
func (w *worker) grow(s *stream, b bit) {
	if seen := int(s.next - b.seq); seen > 0 {
		w.again(s, &b)
		s.remember(held{b.index, b.at, b.seq, uint32(min(seen, len(b.payload)))}) // a needle may end later
		if seen >= len(b.payload) {
			return
		}
		b = bit{b.index, b.at + int32(seen), s.next, b.payload[seen:]}
	} else if int32(s.reach-b.seq) > 0 {
		w.again(s, &b)
	}
	s.remember(held{b.index, b.at, b.seq, uint32(len(b.payload))})
	s.next = b.end()
	still := s.begun[:0]
	for _, o := range s.begun {
		rest, more := w.search.grow(o, b.payload, func(n *needle) { w.put(s, nil, b.seq-uint32(o.have), n) })
		if more {
			still = append(still, rest)
		}
	}
	s.begun = still
	if len(s.tail) > 0 {
		w.joint = append(append(w.joint[:0], s.tail...), b.payload[:min(len(b.payload), w.search.reach)]...)
		w.start(s, w.joint, b.seq-uint32(len(s.tail)), 0, len(s.tail))
	}
	w.start(s, b.payload, b.seq, max(0, len(b.payload)-w.search.reach), len(b.payload))
	s.tail = append(s.tail, b.payload[max(0, len(b.payload)-shortTail):]...)
	s.tail = append(s.tail[:0], s.tail[max(0, len(s.tail)-shortTail):]...)
	s.text = append(s.text, b.payload...)
	w.texts += len(b.payload)
	if len(s.text) >= max(s.enough, maxText) || len(s.recent) >= maxDone-1 {
		w.look(s, false)
	}
	s.trim(max(w.search.reach, len(s.text)))
	if w.texts > maxHeld {
		for _, s := range w.streams {
			w.look(s, true)
		}
	}
}

// look searches the last bytes of a stream for values in encodings. At the end of a stretch all of it is forgotten.
func (w *worker) look(s *stream, end bool) {
	open := -1
	if len(s.text) > s.known && (w.touched == nil || slices.ContainsFunc(s.recent, func(h held) bool { return w.touched[h.index] })) {
		base := s.next - uint32(len(s.text))
		open = w.deep.Find(s.text, func(e encoded.Found) {
			w.put(s, nil, base+uint32(e.From), &needle{form{text: string(s.text[e.From:e.To]), with: strings.Repeat(string(fill), e.To-e.From), masked: true}, e.Rule})
		})
	}
	keep := min(overlap, len(s.text))
	if open >= 0 && len(s.text) < maxOpen {
		keep = max(keep, len(s.text)-open)
	}
	if end {
		keep = 0
	}
	w.texts -= len(s.text) - keep
	s.text = append(s.text[:0], s.text[len(s.text)-keep:]...)
	s.known, s.enough = keep, 2*keep
	if end {
		s.text = nil
	}
}

// start looks for needles that begin in b[from:to] and end after b, or cross from the tail into
// the payload.
func (w *worker) start(s *stream, b []byte, base uint32, from, to int) {
	crossing := to < len(b)
	w.search.begins(b, from, to, func(i int, n *needle) {
		if crossing {
			w.put(s, nil, base+uint32(i), n)
		}
	}, func(o open) {
		if len(s.begun) < maxBegun {
			s.begun = append(s.begun, o)
		}
	})
}

// remember remembers a segment, of which a needle may have begun.
func (s *stream) remember(h held) {
	if len(s.recent) == maxDone {
		s.recent = append(s.recent[:0], s.recent[maxDone/2:]...)
	}
	s.recent = append(s.recent, h)
}

// trim forgets segments that no needle can reach back to.
func (s *stream) trim(longest int) {
	k := 0
	for k < len(s.recent) && int(s.next-(s.recent[k].seq+s.recent[k].size)) > longest+shortTail {
		k++
	}
	if k > 16 || k == len(s.recent) {
		s.recent = append(s.recent[:0], s.recent[k:]...)
	}
}

// put replaces a needle at seq: in b, if it lies there and is not among the recent segments, and
// in these.
func (w *worker) put(s *stream, b *bit, seq uint32, n *needle) {
	with := n.with
	if n.pre+n.post > 0 {
		with = strings.Repeat(string(fill), n.pre) + with + strings.Repeat(string(fill), n.post)
		seq -= uint32(n.pre)
	}
	x := span{seq, with, n.rule, n.masked}
	if b != nil {
		w.apply(x, b.index, b.at, b.seq, uint32(len(b.payload)))
	}
	for i := range s.recent {
		r := &s.recent[i]
		w.apply(x, r.index, r.at, r.seq, r.size)
	}
	if end := seq + uint32(len(with)); int32(end-s.reach) > 0 {
		s.reach = end
	}
	if len(s.done) == maxDone {
		s.done = append(s.done[:0], s.done[maxDone/2:]...)
	}
	s.done = append(s.done, x)
}

// again replaces in a segment the bytes that were replaced in others with the same sequence
// numbers.
func (w *worker) again(s *stream, b *bit) {
	for _, x := range s.done {
		w.apply(x, b.index, b.at, b.seq, uint32(len(b.payload)))
	}
}

// apply replaces the part of a span that a segment holds.
func (w *worker) apply(x span, index int64, at int32, seq, size uint32) {
	from, to := int64(int32(x.seq-seq)), int64(int32(x.seq-seq))+int64(len(x.with))
	cut := max(0, -from)
	from, to = max(from, 0), min(to, int64(size))
	if from >= to {
		return // most of a connection's spans lie elsewhere
	}
	if x.coded {
		if t := w.targets[index]; t != nil && len(t.places) > 0 {
			return
		}
	}
	w.edit(index, at+int32(from), x.with[cut:cut+to-from], x.rule)
}
