package derive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect/sctp"
	"github.com/pcapsule/pcapsule/exporter/dissect/stun"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// keepAll keeps every packet.
func keepAll(int64) bool { return true }

// fileEdit says how one packet file is written again.
type fileEdit struct {
	changes  []change               // in order
	keep     func(index int64) bool // of packets
	text     func(b []byte)         // replaces values in texts of blocks; nil leaves blocks as they are
	comments bool                   // keep every comment
	holds    func(b []byte) bool    // reports whether an option has a value; nil keeps all options
	names    *pseudonyms            // replace addresses in headers; nil leaves them
	spaces   spaces                 // leave out what names others; nil leaves it

	changed int64           // packets that differ now
	rules   map[int32]int64 // of them, by rule
	first   map[int64]int32 // the rule of each, or the first of several
}

// write writes a packet file again. Checksums that were right stay right. It fails with ErrChanged
// if the file is not the one of the hash.
func (e *fileEdit) write(from, to string, sum bundle.Digest) (said pcapng.Rewritten, err error) {
	in, err := os.Open(from)
	if err != nil {
		return said, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return said, err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	e.changed, e.rules, e.first = 0, map[int32]int64{}, map[int64]int32{}
	x := &rewriter{fileEdit: e, left: e.changes}
	x.d = decode.New(decode.Options{})
	x.d.OnSum = func(s decode.Sum) { x.sums = append(x.sums, s) }
	x.d.OnAddress = func(a decode.Address) { x.addrs = append(x.addrs, a) }
	x.quoting = decode.New(decode.Options{})
	x.quoting.OnAddress = func(a decode.Address) { x.quotes = append(x.quotes, a) }
	hash := newHashing()
	defer hash.sum()
	src := io.TeeReader(in, hash)
	said, err = pcapng.Rewrite(out, src, pcapng.Edit{Packet: x.packet, Block: x.block, Comment: x.comment, Option: x.option})
	if err != nil {
		return said, err
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return said, err
	}
	if hash.sum() != sum {
		return said, ErrChanged
	}
	return said, nil
}

// hashing is a SHA-256 that another goroutine computes.
type hashing struct {
	full, free chan []byte
	result     chan bundle.Digest
	once       sync.Once
	digest     bundle.Digest
}

func newHashing() *hashing {
	h := &hashing{full: make(chan []byte, 4), free: make(chan []byte, 4), result: make(chan bundle.Digest, 1)}
	for range cap(h.free) {
		h.free <- nil
	}
	go func() {
		sum := sha256.New()
		for b := range h.full {
			sum.Write(b)
			h.free <- b
		}
		h.result <- bundle.Digest(sum.Sum(nil))
	}()
	return h
}

// Write implements io.Writer.
func (h *hashing) Write(p []byte) (int, error) {
	h.full <- append((<-h.free)[:0], p...)
	return len(p), nil
}

// sum ends the hash.
func (h *hashing) sum() bundle.Digest {
	h.once.Do(func() {
		close(h.full)
		h.digest = <-h.result
	})
	return h.digest
}

type rewriter struct {
	*fileEdit
	left  []change
	d     *decode.Decoder
	frame decode.Frame
	sums  []decode.Sum
	addrs []decode.Address
	old   []byte
	strip bool // the comments of this block go

	differs bool // the current packet

	quoting *decode.Decoder // of packets in ICMP errors
	quote   decode.Frame
	quotes  []decode.Address
}

func (x *rewriter) packet(p *pcapng.Packet) bool {
	n := 0
	for n < len(x.left) && x.left[n].index <= p.Index {
		n++
	}
	mine := x.left[:n]
	x.left = x.left[n:]
	if !x.keep(p.Index) {
		return false
	}
	x.differs = false
	if len(mine) > 0 || x.names != nil {
		x.apply(p, mine)
	}
	return true
}

// apply changes a packet and its checksums.
func (x *rewriter) apply(p *pcapng.Packet, list []change) {
	x.sums, x.addrs = x.sums[:0], x.addrs[:0]
	x.d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: p.Index}, &x.frame)
	x.old = append(x.old[:0], p.Data...)
	isSCTP := x.frame.Proto == 132 && x.crc(p.Data, false)
	for _, c := range list {
		copy(p.Data[min(int(c.at), len(p.Data)):], c.with)
	}
	var heads []header
	if x.names != nil {
		heads = x.readdress(p.Data)
	}
	if bytes.Equal(x.old, p.Data) {
		return
	}
	x.differs = true
	x.count(p.Index, list)
	x.behind(p.LinkType, p.Data)
	x.fingerprints(p.Data)
	if x.frame.FragNos != nil || x.frame.Kind != decode.KindIP {
		x.sums = x.sums[:0]
	} else if isSCTP {
		x.crc(p.Data, true)
	} else if x.frame.Proto == 1 || x.frame.Proto == 58 { // the sum is in the first bytes of the payload
		x.icmp(p.Data)
	}
	x.transport(p.Data, heads)
	commit.FixChecksum(p, x.old)
}

// behind removes what is behind the packet in a frame that was changed, as the checksum of Ethernet, which would confirm
// a guess of what was removed.
func (x *rewriter) behind(linkType uint16, data []byte) {
	const size = 4
	end := commit.End(linkType, data)
	if n := len(data) - size; end < 0 && n > 0 && binary.LittleEndian.Uint32(x.old[n:]) == crc32.ChecksumIEEE(x.old[:n]) {
		end = n
	}
	if end < 0 || end >= len(data) || len(bytes.Trim(data[end:], "\x00")) == 0 {
		return
	}
	copy(data[end:], bytes.Repeat([]byte{fill}, len(data)-end))
}

// fingerprints corrects those of STUN, which are checksums of content.
func (x *rewriter) fingerprints(data []byte) {
	at := cap(data) - cap(x.frame.Payload)
	end := at + len(x.frame.Payload)
	if at >= 0 && end <= len(data) && x.frame.L4 && x.frame.FragNos == nil {
		stun.Fingerprint(x.old[at:end], data[at:end])
	}
}

// transport corrects the checksums of TCP, UDP and ICMPv6.
func (x *rewriter) transport(data []byte, heads []header) {
	// The innermost sum comes last; those around it cover its change too.
	for len(x.sums)+len(heads) > 0 {
		s, h := len(x.sums)-1, len(heads)-1
		switch {
		case s < 0 || h >= 0 && heads[h].place > x.sums[s].Place:
			x.pseudo(data, heads[h])
			heads = heads[:h]
			continue
		case h >= 0 && heads[h].place == x.sums[s].Place:
			x.sum(data, x.sums[s])
			x.pseudo(data, heads[h])
			heads = heads[:h]
		default:
			x.sum(data, x.sums[s])
		}
		x.sums = x.sums[:s]
	}
}

// sum corrects a checksum for all that changed in what it covers, the sums inside too; its own
// field is as before.
func (x *rewriter) sum(data []byte, s decode.Sum) {
	if s.Start < 0 || s.End > len(data) || s.Place+2 > len(data) || s.Unfinished {
		return
	}
	stated := binary.BigEndian.Uint16(x.old[s.Place:])
	binary.BigEndian.PutUint16(data[s.Place:], s.Change(stated, s.Start, x.old[s.Start:s.End], data[s.Start:s.End]))
}

// count counts a packet that differs.
func (x *rewriter) count(index int64, list []change) {
	x.changed++
	rules := []int32{}
	for _, c := range list {
		if !slices.Contains(rules, c.rule) {
			rules = append(rules, c.rule)
			x.rules[c.rule]++
		}
	}
	if len(rules) == 0 {
		rules = append(rules, x.names.rule)
		x.rules[x.names.rule]++
	}
	x.first[index] = rules[0]
}

// icmp corrects the checksum of an ICMP message, RFC 792 and RFC 4443 section 2.3.
func (x *rewriter) icmp(data []byte) {
	at := cap(data) - cap(x.frame.Payload)
	end := at + len(x.frame.Payload)
	if at < 0 || end > len(data) || len(x.frame.Payload) < 4 {
		return
	}
	copy(data[at:at+4], x.old[at:at+4]) // type, code and sum are not content
	s := decode.Sum{Start: at, End: end, Place: at + 2}
	stated := binary.BigEndian.Uint16(x.old[at+2:])
	binary.BigEndian.PutUint16(data[at+2:], s.Change(stated, at, x.old[at:end], data[at:end]))
}

// crc reports whether the checksum of an SCTP packet (RFC 9260 section 6.8) is right, and writes
// the right one if set.
func (x *rewriter) crc(data []byte, set bool) bool {
	const head, place = 12, 8
	at := cap(data) - cap(x.frame.Payload)
	end := at + len(x.frame.Payload)
	if at < 0 || end > len(data) || end < at+head || len(x.frame.Payload) != x.frame.PayloadLen {
		return false
	}
	sum := sctp.Checksum(data[at:end])
	if set {
		binary.LittleEndian.PutUint32(data[at+place:], sum)
	}
	return binary.LittleEndian.Uint32(data[at+place:]) == sum
}

// block leaves out what may hold keys or anything else that no dissector reads.
func (x *rewriter) block(typ pcapng.BlockType, body []byte, bigEndian bool) bool {
	if x.spaces != nil {
		keep := false
		keep, x.strip = x.spaces.block(typ, body, bigEndian)
		return keep
	}
	switch typ {
	case pcapng.BlockSection, pcapng.BlockInterface, pcapng.BlockNames, pcapng.BlockStatistics:
		if x.names != nil {
			x.blockAddresses(typ, body, bigEndian)
		}
		if x.text != nil {
			x.text(body)
			if typ == pcapng.BlockNames {
				eachName(body, bigEndian, x.text)
			}
		}
		return true
	}
	return false
}

// eachName calls do for the names of each record of a name block, which the address before them would join.
func eachName(body []byte, bigEndian bool, do func([]byte)) {
	var order binary.ByteOrder = binary.LittleEndian
	if bigEndian {
		order = binary.BigEndian
	}
	for len(body) >= 4 {
		typ, size := order.Uint16(body), int(order.Uint16(body[2:]))
		if typ == 0 || 4+size > len(body) {
			return
		}
		if address := map[uint16]int{1: 4, 2: 16}[typ]; address > 0 && address < size {
			do(body[4+address : 4+size])
		}
		body = body[min(len(body), 4+(size+3)&^3):]
	}
}

// option keeps an option that is not a comment, unless it has a value, or a digest of a packet that was changed.
func (x *rewriter) option(typ pcapng.BlockType, code uint16, value []byte) bool {
	if x.holds == nil || typ != pcapng.BlockEnhanced || len(value) < leastValue && code != pcapng.EPBHash {
		return true
	}
	if code == pcapng.EPBHash {
		return !x.differs
	}
	return !x.holds(value)
}

// comment keeps comments from which identities are read, and which clock an interface has.
func (x *rewriter) comment(typ pcapng.BlockType, text []byte) bool {
	switch {
	case x.strip && typ == pcapng.BlockInterface:
		return false
	case x.comments:
		return true
	case typ == pcapng.BlockInterface:
		_, ok := workload.ParseInterfaceComment(string(text))
		return ok || pcapng.BlankClockMark(text)
	case typ == pcapng.BlockSection:
		return len(text) > 0 && text[0] == '{' // of a segment
	}
	return false
}
