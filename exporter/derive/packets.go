package derive

import (
	"bytes"
	"context"
	"hash/fnv"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// target lists what the tables require to be removed from one packet.
type target struct {
	blank  int32    // rule by which the whole payload goes, -1 if it does not
	values []local  // short values, which are replaced in this packet only
	places []placed // bytes of a body
	forms  []needle // of this packet only, in addition
	unread bool     // no dissector reads it, so it may hold addresses in bytes
}

type local struct {
	text, whole string // and the header or line that holds it
	rule        int32
}

// placed is the text at a sequence number, or at an offset in a datagram.
type placed struct {
	seq      uint32
	datagram bool
	with     string
	rule     int32
}

// change is an edit of one packet: at offset at of its data stands with.
type change struct {
	index int64
	at    int32
	rule  int32
	with  string
}

// item is a packet on its way to a worker.
type item struct {
	bit
	way      way
	stream   bool   // a part of a stream
	datagram bool   // of UDP
	icmp     bool   // for IPv4
	pdu      bool   // of one without sequence numbers
	sum      uint64 // see hash; 0 before

	around [2][]byte // what is before and behind the payload
	behind int32     // where the second is
	parts  []held    // the fragments that a payload was in, whose packets have another item
}

// hash is a hash of the payload that is the same in every run.
func (x *item) hash() uint64 {
	if x.sum == 0 {
		h := fnv.New64a()
		h.Write(x.payload)
		x.sum = h.Sum64()
	}
	return x.sum
}

// worker searches the packets of some conversations.
type worker struct {
	search  *searcher
	targets map[int64]*target
	raw     func(text string) // searches a payload by the policy; may be nil
	streams map[way]*stream
	waiting int // bytes of all streams
	copies  map[way]*copied
	changes []change
	joint   []byte
	deep    encoded.Finder
	seen    encoded.Seen   // payloads that raw has searched
	touched map[int64]bool // packets that are searched for encodings; nil is all
	texts   int            // bytes of the streams that are searched for encodings
	forms   formsMemo
}

// copied lists the bytes that were replaced by their place in one direction of a conversation,
// because other copies of these packets, sent again or captured elsewhere, must not have them
// either.
type copied struct {
	spans []span
	reach uint32 // no span ends after it

	datagrams map[uint64][]span // by the hash of their payload; seq is the offset in it
}

func (w *worker) edit(index int64, at int32, with string, rule int32) {
	w.changes = append(w.changes, change{index, at, rule, with})
}

// packet searches one packet.
func (w *worker) packet(x *item) {
	if x.parts != nil {
		w.fragments(x)
		return
	}
	if len(w.copies) > 0 {
		w.copy(x)
	}
	w.outside(x)
	t := w.targets[x.index]
	if t != nil {
		w.target(t, x)
	}
	if len(x.payload) == 0 || t != nil && t.blank >= 0 {
		return
	}
	if w.raw != nil {
		w.payload(x)
	}
	if !x.stream {
		w.whole(x.payload, x.index, x.at)
		return
	}
	s := w.streams[x.way]
	if s == nil {
		if len(w.streams) >= maxStreams {
			w.finish()
		}
		s = &stream{}
		w.streams[x.way] = s
	}
	if x.pdu {
		x.seq = s.next
	}
	w.take(s, x.bit)
}

// payload searches a payload by the policy. Many are sent again and again.
func (w *worker) payload(x *item) {
	sum := w.seen.Sum(x.payload)
	if !w.seen.Has(sum) {
		w.raw(unsafe.String(unsafe.SliceData(x.payload), len(x.payload)))
		w.seen.Add(sum)
	}
	if q := quoteOf(x); len(q) > 0 {
		w.raw(unsafe.String(unsafe.SliceData(q), len(q)))
	}
}

// quoteOf is the payload of the packet that an ICMP error quotes: behind its header of 8 bytes, RFC 792, that of
// IPv4, and 8 bytes of ports.
func quoteOf(x *item) []byte {
	const head, ports = 8, 8
	if !x.icmp || len(x.payload) < head+20 {
		return nil
	}
	at := head + int(x.payload[head]&15)*4 + ports
	return x.payload[min(at, len(x.payload)):]
}

// outside replaces values in headers with their options, and in what is behind a packet in its frame.
func (w *worker) outside(x *item) {
	for i, b := range x.around {
		at := int32(0)
		if i == 1 {
			at = x.behind
		}
		if i == 0 && !written(b) || i == 1 && len(bytes.Trim(b, "\x00")) == 0 {
			continue
		}
		if w.raw != nil {
			w.raw(unsafe.String(unsafe.SliceData(b), len(b)))
		}
		w.whole(b, x.index, at)
	}
}

// written reports whether bytes, which are mostly numbers, may hold text.
func written(b []byte) bool {
	const least = 6
	run, wide := 0, 0
	for i, c := range b {
		if c < ' ' || c >= 0x7f {
			run = 0
			continue
		}
		if run++; run >= least {
			return true
		}
		if i >= 2 && b[i-1] == 0 && (b[i-2] != 0 || i >= 4 && b[i-3] == 0 && b[i-4] != 0) {
			if wide++; wide >= encoded.LeastWide-1 {
				return true
			}
		}
	}
	return false
}

// fragments removes the content of all fragments of a datagram that holds a value.
func (w *worker) fragments(x *item) {
	if w.raw != nil {
		w.raw(unsafe.String(unsafe.SliceData(x.payload), len(x.payload)))
	}
	rule, hit := int32(0), false
	w.search.find(x.payload, func(_ int, n *needle) { rule, hit = n.rule, true })
	if w.touched == nil || slices.ContainsFunc(x.parts, func(p held) bool { return w.touched[p.index] }) {
		w.deep.Find(x.payload, func(e encoded.Found) { rule, hit = e.Rule, true })
	}
	if hit {
		for _, p := range x.parts {
			w.edit(p.index, p.at, strings.Repeat(string(fill), int(p.size)), rule)
		}
	}
}

// pieces remembers where the bytes of fragments are, until their datagram is complete.
type pieces map[int64]held

const (
	maxPieces    = 1 << 16
	fragmentHead = 8 // bytes of a datagram that stay: ports and lengths
)

// datagram is the item of the datagram that a packet completes, in addition to that of the packet itself.
func (k pieces) datagram(f *decode.Frame, p *pcapng.Packet) (x item, ok bool) {
	if f.Own == nil {
		return x, false
	}
	at := cap(p.Data) - cap(f.Own)
	if at < 0 || at+len(f.Own) > len(p.Data) {
		return x, false
	}
	if len(k) >= maxPieces {
		clear(k)
	}
	stay := min(max(0, fragmentHead-f.OwnAt), len(f.Own))
	k[p.Index] = held{p.Index, int32(at + stay), 0, uint32(len(f.Own) - stay)}
	if f.Kind != decode.KindIP || f.FragNos == nil {
		return x, false
	}
	x = item{bit: bit{index: p.Index, payload: f.Payload}, parts: []held{}}
	for _, no := range f.FragNos {
		if h, known := k[no]; known {
			x.parts = append(x.parts, h)
			delete(k, no)
		}
	}
	return x, true
}

// whole replaces the values in bytes that are not a part of a stream, plain and in encodings.
func (w *worker) whole(b []byte, index int64, at int32) {
	w.search.find(b, func(i int, n *needle) {
		from, to := max(0, i-n.pre), min(len(b), i+len(n.text)+n.post)
		with := strings.Repeat(string(fill), i-from) + n.with + strings.Repeat(string(fill), to-i-len(n.text))
		w.edit(index, at+int32(from), with, n.rule)
	})
	if w.touched != nil && !w.touched[index] {
		return
	}
	w.deep.Find(b, func(e encoded.Found) {
		w.apply(span{seq: uint32(e.From), with: strings.Repeat(string(fill), e.To-e.From), rule: e.Rule, coded: true}, index, at, 0, uint32(len(b)))
	})
}

// target replaces the values that the tables have from a packet.
func (w *worker) target(t *target, x *item) {
	if t.blank >= 0 {
		w.place(x, 0, strings.Repeat(string(fill), len(x.payload)), t.blank)
		return
	}
	for _, v := range t.values {
		for _, f := range w.forms.of(v.text, v.whole) {
			w.short(f, v, x)
		}
	}
	for _, n := range t.forms {
		w.short(n.form, local{n.text, "", n.rule}, x)
	}
	if t.unread {
		w.inBytes(x)
	}
	for _, p := range t.places {
		at := int(int32(p.seq - x.seq))
		if p.datagram {
			at = int(p.seq)
		}
		if at < 0 || at+len(p.with) > len(x.payload) { // it is not where the tables say
			at, p.with = 0, strings.Repeat(string(fill), len(x.payload))
		}
		w.place(x, at, p.with, p.rule)
	}
}

// place replaces bytes of a packet, and of its copies.
func (w *worker) place(x *item, at int, with string, rule int32) {
	w.edit(x.index, x.at+int32(at), with, rule)
	if !x.stream && !x.datagram || x.pdu {
		return
	}
	way := x.way.anywhere()
	c := w.copies[way]
	if c == nil {
		if len(w.copies) >= maxStreams {
			clear(w.copies)
		}
		c = &copied{reach: x.seq}
		w.copies[way] = c
	}
	if x.datagram {
		h := x.hash()
		if c.datagrams == nil || len(c.datagrams) >= maxDone {
			c.datagrams = map[uint64][]span{}
		}
		if list, s := c.datagrams[h], (span{seq: uint32(at), with: with, rule: rule}); len(list) < maxDone && !slices.Contains(list, s) {
			c.datagrams[h] = append(list, s)
		}
		return
	}
	if len(c.spans) == maxDone {
		c.spans = append(c.spans[:0], c.spans[maxDone/2:]...)
	}
	s := span{seq: x.seq + uint32(at), with: with, rule: rule}
	c.spans = append(c.spans, s)
	if end := s.seq + uint32(len(with)); int32(end-c.reach) > 0 {
		c.reach = end
	}
}

// copy replaces in a packet the bytes that were replaced in others with the same sequence numbers, and in a
// datagram those that were replaced in an equal one.
func (w *worker) copy(x *item) {
	if !x.stream && !x.datagram {
		return
	}
	c := w.copies[x.way.anywhere()]
	if c != nil && len(c.datagrams) > 0 {
		for _, s := range c.datagrams[x.hash()] {
			w.apply(s, x.index, x.at, 0, uint32(len(x.payload)))
		}
	}
	if c == nil || int32(c.reach-x.seq) <= 0 {
		return
	}
	for _, s := range c.spans {
		w.apply(s, x.index, x.at, x.seq, uint32(len(x.payload)))
	}
}

// short replaces a short value if it is not part of a longer word.
func (w *worker) short(f form, v local, x *item) {
	if f.text == f.with || f.text == "" || len(f.text) < 3 && f.text != v.text {
		return
	}
	for from := 0; ; {
		i := bytes.Index(x.payload[from:], []byte(f.text))
		if i < 0 {
			return
		}
		i += from
		from = i + 1
		end := i + len(f.text)
		if f.pre+f.post == 0 && !f.packed && (i > 0 && joins(x.payload[i-1], f.text[0]) || end < len(x.payload) && joins(f.text[len(f.text)-1], x.payload[end])) {
			continue
		}
		w.place(x, i, f.with, v.rule)
	}
}

// joins reports whether two bytes are of one word.
func joins(a, b byte) bool { return wordByte(a) && wordByte(b) }

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
}

// pass searches one packet file and returns the changes, in order. The rule is that of values around a payload, which no
// table has: they are removed, unless it is nil.
func pass(ctx context.Context, f io.Reader, search *searcher, targets map[int64]*target, raw func() func(string), rule func() int32, touched map[int64]bool) ([]change, error) {
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		return nil, err
	}
	n := max(1, runtime.GOMAXPROCS(0))
	workers := make([]*worker, n)
	for i := range workers {
		workers[i] = &worker{search: search, targets: targets, streams: map[way]*stream{}, copies: map[way]*copied{}}
		workers[i].deep.Values, workers[i].deep.Seen, workers[i].touched = search, &encoded.Seen{}, touched
		if raw != nil {
			workers[i].raw = raw()
			workers[i].deep.Raw = workers[i].raw
		}
	}
	var batches [2]pcapng.Batch
	var lists [2][][]item
	lists[0], lists[1] = make([][]item, n), make([][]item, n)
	d := decode.New(decode.Options{})
	var around []change
	fragments := pieces{}
	if rule != nil {
		d.OnText = func(at, size int) {
			around = append(around, change{at: int32(at), rule: rule(), with: strings.Repeat(string(fill), size)})
		}
	}
	var frame decode.Frame
	var wg sync.WaitGroup
	for k := 0; ; k = 1 - k {
		err := r.Next(&batches[k])
		if err != nil && err != io.EOF {
			wg.Wait()
			return nil, err
		}
		if err == io.EOF {
			break
		}
		for i := range lists[k] {
			lists[k][i] = lists[k][i][:0]
		}
		for i := range batches[k].Packets {
			known := len(around)
			x, shard := itemOf(d, &frame, &batches[k].Packets[i])
			for j := range around[known:] {
				around[known+j].index = x.index
			}
			list := &lists[k][shard%uint64(n)]
			*list = append(*list, x)
			if whole, ok := fragments.datagram(&frame, &batches[k].Packets[i]); ok {
				*list = append(*list, whole)
			}
		}
		wg.Wait() // the other batch
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for i, w := range workers {
			wg.Go(func() {
				for j := range lists[k][i] {
					w.packet(&lists[k][i][j])
				}
			})
		}
	}
	wg.Wait()
	for _, w := range workers {
		wg.Go(w.finish)
	}
	wg.Wait()
	all := around
	for _, w := range workers {
		all = append(all, w.changes...)
	}
	slices.SortStableFunc(all, byPlace)
	return all, nil
}

func byPlace(a, b change) int {
	switch {
	case a.index != b.index:
		return int(max(min(a.index-b.index, 1), -1))
	case a.at != b.at:
		return int(a.at - b.at)
	}
	return strings.Compare(a.with, b.with)
}

// itemOf decodes a packet into f. The number selects the worker, by conversation.
func itemOf(d *decode.Decoder, f *decode.Frame, p *pcapng.Packet) (x item, shard uint64) {
	d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: p.Index}, f)
	x.index = p.Index
	x.payload = p.Data
	if f.Kind == decode.KindIP && f.FragNos == nil && (f.L4 || f.Problems&decode.HeaderCut == 0) && len(f.Payload) <= len(p.Data) {
		x.payload = f.Payload
		x.at = int32(cap(p.Data) - cap(f.Payload))
		x.seq = f.Seq
		x.behind = x.at + int32(len(f.Payload))
		x.around = [2][]byte{p.Data[:x.at], p.Data[x.behind:]}
	}
	if f.Kind != decode.KindIP || f.FragNos != nil {
		return x, uint64(p.Index)
	}
	x.stream = f.Proto == 6 && f.L4
	x.pdu = x.stream && f.PDU
	x.datagram = f.Proto == 17 && f.L4
	x.icmp = f.Proto == 1
	if x.stream && f.Flags&decode.SYN != 0 {
		x.seq++
	}
	x.way = way{f.Src, f.Dst, f.SrcPort, f.DstPort, f.Proto, p.Interface, f.Network(0)}
	return x, f.FlowHash()
}
