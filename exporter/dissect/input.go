package dissect

import (
	"sort"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Packet is the source of bytes.
type Packet struct {
	No    int64 // the bundle's packet number
	Time  int64 // ns since 1970 UTC
	Clock int32 // that stamped it, see Instant
	Seq   uint32
	Ack   uint32
	Also  []int64 // other packets that carry a part: the fragments of a datagram
	Cut   int32   // missing bytes at a datagram's end
}

// seg records that the bytes of a stream from off on arrived in this packet.
type seg struct {
	off int64
	Packet
	nth uint32 // place among the segments of both sides
}

// Input holds the bytes of one direction that its dissector has not consumed yet.
type Input struct {
	Dir      Dir
	Data     []byte // valid during the call only
	End      bool   // nothing will follow in this direction
	Fin      bool   // with End: the sender ended it, it was not given up
	Datagram bool   // Data is one datagram
	Taken    bool   // set by Gap if Data is in a row although the position is lost

	ends bool  // the bytes after Data are lost: only Gap reads it
	conn *Conn // the connection charged for citations; may be nil
	side *side // of the stream; nil for a datagram
	base int64 // stream offset of Data[0]
	segs []seg // ascending by off; the first begins at or before base
}

// at returns the packet that carried Data[i]; for i at the end, the last one.
func (in *Input) at(i int) *seg {
	off := in.base + int64(i)
	s := in.segs
	if len(s) == 0 {
		return &seg{}
	}
	if len(s) == 1 || off < s[1].off {
		return &s[0]
	}
	k := sort.Search(len(s), func(k int) bool { return s[k].off > off })
	return &s[k-1]
}

// Packet is the packet that carried Data[i].
func (in *Input) Packet(i int) Packet { return in.at(i).Packet }

// Seq is the sequence number of Data[i].
func (in *Input) Seq(i int) uint32 {
	s := in.at(i)
	return s.Seq + uint32(in.base+int64(i)-s.off)
}

// Time is when the packet with Data[i] was captured, ns since 1970 UTC.
func (in *Input) Time(i int) int64 { return in.at(i).Time }

// Instant is when the packet with Data[i] was captured.
func (in *Input) Instant(i int) Instant { return in.at(i).Instant() }

// Offset is the stream offset of Data[i].
func (in *Input) Offset(i int) int64 { return in.base + int64(i) }

// First reports whether Data[i] is the first byte of the protocol in its direction: the capture has
// the beginning of the connection, or of the protocol that Conn.Upgrade announced.
func (in *Input) First(i int) bool {
	return in.conn != nil && in.conn.Info.Began[in.Dir] && in.Offset(i) == in.conn.sides[in.Dir].start
}

// Each calls read with the position of each message in the input. read returns the number of bytes
// it read; 0 or an error ends Each. Each returns the sum.
func (in *Input) Each(read func(at int) (int, error)) (int, error) {
	at := 0
	for at < len(in.Data) {
		n, err := read(at)
		if at += n; n == 0 || err != nil {
			return at, err
		}
	}
	return at, nil
}

// Cite adds the packets that carry Data[from:to] to c.
func (in *Input) Cite(c *table.Cites, from, to int) {
	if from >= to || len(in.segs) == 0 {
		return
	}
	end := in.base + int64(to)
	first := in.at(from)
	k := 0
	for &in.segs[k] != first {
		k++
	}
	for ; k < len(in.segs) && in.segs[k].off < end; k++ {
		s := &in.segs[k]
		for _, no := range s.Also {
			c.Add(no, no)
		}
		c.Add(s.No, s.No)
	}
}
