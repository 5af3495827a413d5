// Package pcapng reads and writes PCAPNG and reads classic pcap, without a copy per packet.
//
// A Reader walks any stream in large windows and tells where each packet lies in the
// file, so that it can be read again alone. Damage never ends a reading early: what
// cannot be understood is skipped up to the next plausible block, counted and placed.
// A Writer writes the same blocks back with every option kept. The package never holds
// more than a window and one block in memory, and never panics on input.
package pcapng

// BlockType is the type of a PCAPNG block, as the format numbers it.
type BlockType uint32

// Block types.
const (
	BlockInterface  BlockType = 0x00000001
	BlockPacket     BlockType = 0x00000002 // obsolete
	BlockSimple     BlockType = 0x00000003
	BlockNames      BlockType = 0x00000004
	BlockStatistics BlockType = 0x00000005
	BlockEnhanced   BlockType = 0x00000006
	BlockJournal    BlockType = 0x00000009 // systemd journal export entry
	BlockSecrets    BlockType = 0x0000000A
	BlockCustom     BlockType = 0x00000BAD // rewriters copy it
	BlockCustomStay BlockType = 0x40000BAD // rewriters do not copy it
	BlockSection    BlockType = 0x0A0D0D0A
)

// Event blocks of sysdig that Wireshark shows as frames.
const (
	blockSysdigEvent        BlockType = 0x00000204
	blockSysdigEventV2      BlockType = 0x00000216
	blockSysdigEventV2Large BlockType = 0x00000221
)

// isFrame reports whether Wireshark numbers such a block as a frame although it is
// no packet (seen in 4.0: all others are skipped without a number).
func (t BlockType) isFrame() bool {
	switch t {
	case BlockCustom, BlockCustomStay, BlockJournal,
		blockSysdigEvent, blockSysdigEventV2, blockSysdigEventV2Large:
		return true
	}
	return false
}

// isPacket reports whether such a block holds a packet.
func (t BlockType) isPacket() bool {
	return t == BlockEnhanced || t == BlockSimple || t == BlockPacket
}

// isKnown reports whether a scan for the next block after damage may start at such a
// type. Unknown types are read where they stand in order, but they are no landmark.
func (t BlockType) isKnown() bool {
	switch {
	case t >= BlockInterface && t <= BlockSecrets:
		return true
	case t == BlockSection, t == BlockCustom, t == BlockCustomStay:
		return true
	case t == blockSysdigEvent, t == blockSysdigEventV2, t == blockSysdigEventV2Large:
		return true
	}
	return false
}

// Limits.
const (
	maxBlock      = 64 << 20  // one block or record with its header
	trustBlock    = 1 << 20   // the same, after many that lied
	maxSnap       = 262144    // captured bytes that libpcap and Wireshark accept
	maxOptionKeep = 64 << 20  // option bytes kept for all interfaces together
	maxInterfaces = 1 << 16   // interfaces kept, all sections together
	lookahead     = 512 << 10 // bytes a scan after damage wants to see beyond a candidate
	defaultWindow = 1 << 20
)

// Packet is one captured packet. Data and Options lie in the buffer of its Batch.
type Packet struct {
	Offset    int64  // of its block or record in the (uncompressed) file
	Index     int64  // packet number in the file, from 0
	Frame     int64  // Wireshark's frame number, from 1; 0 where Wireshark stops before it
	Time      int64  // nanoseconds since 1970 UTC, from 0 to April 2261
	Interface int32  // index into Reader.Interfaces
	OrigLen   uint32 // length on the wire
	LinkType  uint16
	Drops     uint16 // obsolete packet blocks only: packets lost before it; 0xFFFF unknown
	Kind      Kind
	TimeOK    bool // false in simple packet blocks, which have no time, and where it did not fit and was saturated
	BigEndian bool // byte order of Options
	Data      []byte
	Options   []byte
}

// Kind says what held a packet.
type Kind uint8

// Kinds of packet.
const (
	KindRecord   Kind = iota // classic pcap
	KindEnhanced             // enhanced packet block
	KindSimple               // simple packet block
	KindObsolete             // obsolete packet block
)

// Block is a PCAPNG block that is no packet. Body lies in the window being read and
// is valid only during the call it is given to.
type Block struct {
	Type      BlockType
	Offset    int64
	Section   int32 // number of its section in the file, from 0
	Frame     int64 // Wireshark's frame number where it shows such a block as one, else 0
	BigEndian bool
	Body      []byte // between the two length fields
}
