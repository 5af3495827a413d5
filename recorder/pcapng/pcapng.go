// Package pcapng reads and writes PCAPNG and reads classic pcap, without a copy per packet.
//
// A Reader walks any stream in large windows and reports the place of each packet in the
// file, so that a single packet can be read again. Damage never ends reading early: what
// cannot be parsed is skipped up to the next plausible block, counted and located.
// A Writer writes the same blocks with all their options. The package never keeps more
// than a window and one block in memory, and never panics on input.
package pcapng

// BlockType is the type of a PCAPNG block, with its number in the format.
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

// Event blocks of sysdig, which Wireshark shows as frames.
const (
	blockSysdigEvent        BlockType = 0x00000204
	blockSysdigEventV2      BlockType = 0x00000216
	blockSysdigEventV2Large BlockType = 0x00000221
)

// isFrame reports whether Wireshark numbers a block as a frame although it is not a
// packet (seen in 4.0: all other blocks are skipped without a number).
func (t BlockType) isFrame() bool {
	switch t {
	case BlockCustom, BlockCustomStay, BlockJournal,
		blockSysdigEvent, blockSysdigEventV2, blockSysdigEventV2Large:
		return true
	}
	return false
}

// isPacket reports whether a block of this type contains a packet.
func (t BlockType) isPacket() bool {
	return t == BlockEnhanced || t == BlockSimple || t == BlockPacket
}

// isKnown reports whether a scan for the next block after damage may stop at this type.
// Unknown types are read in sequence, but a scan cannot rely on them.
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
	maxBlock      = 64 << 20  // bytes of one block or record with its header
	trustBlock    = 1 << 20   // the same, after many false lengths
	maxSnap       = 262144    // captured bytes that libpcap and Wireshark accept
	maxOptionKeep = 64 << 20  // bytes of options kept for all interfaces
	maxInterfaces = 1 << 16   // interfaces kept for all sections
	lookahead     = 512 << 10 // bytes that a scan after damage examines after a candidate
	defaultWindow = 1 << 20
)

// Packet is one captured packet. Data and Options are in the buffer of its Batch.
type Packet struct {
	Offset    int64  // of its block or record in the (uncompressed) file
	Index     int64  // packet number in the file, from 0
	Frame     int64  // Wireshark's frame number, from 1; 0 if Wireshark stops before it
	Time      int64  // nanoseconds since 1970 UTC, from 0 to April 2261
	Interface int32  // index into Reader.Interfaces
	OrigLen   uint32 // length on the wire
	LinkType  uint16
	Drops     uint16 // packets lost before it, only in obsolete packet blocks; 0xFFFF if unknown
	Kind      Kind
	TimeOK    bool // false in simple packet blocks, which have no time, and if Time did not fit and was saturated
	BigEndian bool // byte order of Options
	Data      []byte
	Options   []byte
}

// Kind is the kind of block or record that contained a packet.
type Kind uint8

// Kinds of packet.
const (
	KindRecord   Kind = iota // classic pcap
	KindEnhanced             // enhanced packet block
	KindSimple               // simple packet block
	KindObsolete             // obsolete packet block
)

// Block is a PCAPNG block other than a packet. Body is in the current window and is valid
// only during the callback.
type Block struct {
	Type      BlockType
	Offset    int64
	Section   int32 // number of its section in the file, from 0
	Frame     int64 // Wireshark's frame number if it shows the block as a frame, or 0
	BigEndian bool
	Body      []byte // between the two length fields
}
