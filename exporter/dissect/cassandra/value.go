package cassandra

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// reader reads the notations of the protocol, section 3 of its specification.
type reader struct{ cursor.Cursor }

func newReader(b []byte) *reader { return &reader{cursor.New(b)} }

func (r *reader) int() int           { return int(int32(r.Uint32())) }
func (r *reader) string() []byte     { return r.Bytes(int(r.Uint16())) }
func (r *reader) longString() []byte { return r.Bytes(r.int()) }
func (r *reader) shortBytes() []byte { return r.Bytes(int(r.Uint16())) }
func (r *reader) text() string       { return text(r.string()) }

// bytes reads a value; set is false if it is null or not set.
func (r *reader) bytes() (b []byte, set bool) {
	n := r.int()
	if n < 0 || r.Short() {
		return nil, false
	}
	return r.Bytes(n), true
}

// stringMap calls f for each pair.
func (r *reader) stringMap(f func(name, value []byte)) {
	for n := int(r.Uint16()); n > 0 && !r.Short(); n-- {
		name, value := r.string(), r.string()
		if !r.Short() {
			f(name, value)
		}
	}
}

// kind is the type of a value.
type kind uint16

const (
	kindCustom    kind = 0x0000
	kindASCII     kind = 0x0001
	kindBigint    kind = 0x0002
	kindBoolean   kind = 0x0004
	kindCounter   kind = 0x0005
	kindDouble    kind = 0x0007
	kindFloat     kind = 0x0008
	kindInt       kind = 0x0009
	kindTimestamp kind = 0x000b
	kindUUID      kind = 0x000c
	kindVarchar   kind = 0x000d
	kindTimeUUID  kind = 0x000f
	kindInet      kind = 0x0010
	kindSmallint  kind = 0x0013
	kindTinyint   kind = 0x0014
	kindList      kind = 0x0020
	kindMap       kind = 0x0021
	kindSet       kind = 0x0022
	kindUDT       kind = 0x0030
	kindTuple     kind = 0x0031
	kindUnknown   kind = 0xffff
)

// option reads a type. Of nested ones only the outermost is returned.
func (r *reader) option(depth int) kind {
	k := kind(r.Uint16())
	if depth > maxDepth {
		r.Bytes(-1)
		return k
	}
	switch k {
	case kindCustom:
		r.string()
	case kindList, kindSet:
		r.option(depth + 1)
	case kindMap:
		r.option(depth + 1)
		r.option(depth + 1)
	case kindUDT:
		r.string()
		r.string()
		for n := int(r.Uint16()); n > 0 && !r.Short(); n-- {
			r.string()
			r.option(depth + 1)
		}
	case kindTuple:
		for n := int(r.Uint16()); n > 0 && !r.Short(); n-- {
			r.option(depth + 1)
		}
	}
	return k
}

// show is a value as text.
func show(k kind, b []byte) string {
	be := binary.BigEndian
	switch {
	case k == kindASCII || k == kindVarchar:
		return text(b)
	case (k == kindBigint || k == kindCounter) && len(b) == 8:
		return strconv.FormatInt(int64(be.Uint64(b)), 10)
	case k == kindInt && len(b) == 4:
		return strconv.Itoa(int(int32(be.Uint32(b))))
	case k == kindSmallint && len(b) == 2:
		return strconv.Itoa(int(int16(be.Uint16(b))))
	case k == kindTinyint && len(b) == 1:
		return strconv.Itoa(int(int8(b[0])))
	case k == kindBoolean && len(b) == 1:
		return strconv.FormatBool(b[0] != 0)
	case k == kindDouble && len(b) == 8:
		return strconv.FormatFloat(math.Float64frombits(be.Uint64(b)), 'g', -1, 64)
	case k == kindFloat && len(b) == 4:
		return strconv.FormatFloat(float64(math.Float32frombits(be.Uint32(b))), 'g', -1, 32)
	case k == kindTimestamp && len(b) == 8:
		return time.UnixMilli(int64(be.Uint64(b))).UTC().Format("2006-01-02T15:04:05.000Z")
	case (k == kindUUID || k == kindTimeUUID) && len(b) == 16:
		return clip.UUID(b)
	case k == kindInet && (len(b) == 4 || len(b) == 16):
		a, _ := netip.AddrFromSlice(b)
		return a.String()
	}
	s := "0x" + hex.EncodeToString(b[:min(len(b), maxText/2)])
	if len(b) > maxText/2 {
		s += "…"
	}
	return s
}

// text is b as valid text of at most maxText bytes.
func text(b []byte) string {
	if len(b) > maxText {
		return strings.ToValidUTF8(string(b[:maxText]), "") + "…"
	}
	return sqltext.Text(b)
}
