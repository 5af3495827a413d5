package pcapng

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ClockID identifies a clock that stamped packets. It is equal in all files with packets of that clock.
type ClockID [16]byte

// ClockMark states which clock stamped the packets of an interface. A file with packets of several
// captures has it in a comment of each interface, because nothing else in it separates their clocks
// (docs/format/pcapng.md).
type ClockMark struct {
	ID           ClockID `json:"-"`
	Node         string  `json:"node,omitempty"`
	BootID       string  `json:"boot_id,omitempty"`
	ErrorNs      int64   `json:"error_ns,omitempty"`     // largest known error; 0 if unknown
	Synchronized *bool   `json:"synchronized,omitempty"` // nil if unknown
}

const clockPrefix = "pcapsule:clock "

// maxClockText is how long the node's part of a mark may be.
const maxClockText = 1000

// ClockOfBoot is the clock of a node in one boot.
func ClockOfBoot(node, boot string) ClockID {
	return clockID(fmt.Appendf(nil, "boot\x00%s\x00%s", node, boot))
}

// ClockOfSection is the clock of a section of a file, or of a pcap file, which is section 0.
func ClockOfSection(sha256 []byte, section int32) ClockID {
	return clockID(fmt.Appendf(nil, "section\x00%x\x00%d", sha256, section))
}

func clockID(of []byte) ClockID {
	sum := sha256.Sum256(of)
	return ClockID(sum[:16])
}

// Comment is the text of the mark.
func (m *ClockMark) Comment() string {
	s := clockPrefix + hex.EncodeToString(m.ID[:])
	if about, err := json.Marshal(m); err == nil && len(about) > len("{}") && len(about) <= maxClockText {
		s += " " + string(about)
	}
	return s
}

// ParseClockMark parses a comment. It returns false for other comments.
func ParseClockMark(comment string) (m ClockMark, ok bool) {
	rest, ok := strings.CutPrefix(comment, clockPrefix)
	if !ok || len(rest) < 2*len(m.ID) || len(rest) > 2*len(m.ID)+1+maxClockText {
		return m, false
	}
	if _, err := hex.Decode(m.ID[:], []byte(rest[:2*len(m.ID)])); err != nil {
		return ClockMark{}, false
	}
	id := m.ID
	about := strings.TrimSpace(rest[2*len(m.ID):])
	if about != "" && json.Unmarshal([]byte(about), &m) != nil {
		m = ClockMark{ID: id}
	}
	return m, true
}

// BlankClockMark removes everything but the id from the text of a mark and keeps its length. It returns
// false for other comments.
func BlankClockMark(comment []byte) bool {
	if _, ok := ParseClockMark(string(comment)); !ok {
		return false
	}
	for i := len(clockPrefix) + 2*len(ClockID{}); i < len(comment); i++ {
		comment[i] = ' '
	}
	return true
}

// ClockMark returns the mark of the interface. It returns false if there is none.
func (i *Interface) ClockMark() (m ClockMark, ok bool) {
	for _, c := range i.Comments {
		if m, ok = ParseClockMark(c); ok {
			return m, true
		}
	}
	return m, false
}

// Marked returns the interface with a mark, unless it already has one.
func (i *Interface) Marked(m *ClockMark) Interface {
	x := *i
	if _, ok := i.ClockMark(); ok {
		return x
	}
	text := m.Comment()
	x.Comments = append(slices.Clone(i.Comments), text)
	if i.Options != nil && !i.OptionsIncomplete {
		x.Options = appendOptions(nil, BlockInterface, i.Options, i.BigEndian, i.BigEndian)
		x.Options = put16(put16(x.Options, OptComment, i.BigEndian), uint16(len(text)), i.BigEndian)
		x.Options = append(x.Options, text...)
		for len(x.Options)&3 != 0 {
			x.Options = append(x.Options, 0)
		}
	}
	return x
}
