// Package ring keeps captured packets in rotating files.
//
// A segment has a hidden name until it is complete, on disk and named by a signed record of
// seals.jsonl, so every visible segment can be read to its end and verified. Ring never rewrites a
// segment; retention removes only whole segments, and records it. Packets lost to a full, slow or
// missing disk are counted in a gap, never silently dropped, and never block the caller forever. A
// crash loses at most the data that was not yet on disk.
package ring

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/when"
)

// Version of the layout of a ring, docs/format/ring.md.
const Version = 1

// Limits of a segment, docs/format/segment.md.
const (
	maxCaptured   = 261_000 // captured bytes of a packet, including the prefix
	maxBlock      = 262_144 // bytes of a block
	maxInterfaces = 60_000  // interfaces in a segment; other programs have 16-bit fields, up to 65,535
)

// KeysKind is the kind of the side files for TLS keys.
const KeysKind = "keys"

const (
	extension   = ".pcapng"
	sealsName   = "seals.jsonl"
	lockName    = ".lock"
	requestName = ".seal-now"
	leasesName  = ".leases"
	pinName     = "pin.json"
)

// Errors that a caller may want to distinguish.
var (
	ErrLocked    = errors.New("another recorder is writing to this ring")
	ErrNotRing   = errors.New("not a ring: it has no " + sealsName)
	ErrNewer     = errors.New("the ring has a newer version")
	ErrDisk      = errors.New("packet dropped: the disk is full, failing or too slow")
	ErrReserve   = errors.New("the free disk space is below the reserve")
	ErrElsewhere = errors.New("the folder is not the one in which the ring was opened")
	ErrClosed    = errors.New("the ring is closed")
	ErrInterface = errors.New("the interface was not declared")
)

// ID identifies a segment: its series, its node, and its number in the series.
type ID struct {
	Series   string
	Node     string
	Sequence uint64
}

// Name returns the name that a segment's files share: SERIES-NODE-SEQUENCE.
func (id ID) Name() string { return fmt.Sprintf("%s-%s-%09d", id.Series, id.Node, id.Sequence) }

func (id ID) String() string { return id.Name() }

// Segment returns the name of the packet file.
func (id ID) Segment() string { return id.Name() + extension }

// Side returns the name of a side file of a kind such as "owners.jsonl".
func (id ID) Side(kind string) string { return id.Name() + "." + kind }

func (id ID) hidden() string { return "." + id.Segment() }

// ParseName parses the name of a file in a ring. Kind is "pcapng" for packets, otherwise the
// argument of Side; hidden is true for a segment that is still being written.
func ParseName(name string) (id ID, kind string, hidden, ok bool) {
	name, hidden = strings.CutPrefix(name, ".")
	series, rest, found := strings.Cut(name, "-")
	if !found || !validSeries(series) {
		return ID{}, "", false, false
	}
	// The node's name may contain dots and dashes: the number is the digits between the
	// last dash that is followed by only digits and a dot, and that dot.
	for end := len(rest); ; {
		dash := strings.LastIndexByte(rest[:end], '-')
		if dash <= 0 {
			return ID{}, "", false, false
		}
		digits, kind, dotted := strings.Cut(rest[dash+1:], ".")
		if n, err := strconv.ParseUint(digits, 10, 63); err == nil && dotted && kind != "" && len(digits) >= 9 {
			id = ID{series, rest[:dash], n}
			if id.Name() == name[:len(series)+1+dash+1+len(digits)] {
				return id, kind, hidden, true
			}
		}
		end = dash
	}
}

// validSeries reports whether a name is valid for a series: 1 to 32 lower-case letters,
// digits and underscores.
func validSeries(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 32
}

// nodeName returns a node's name in a form that is safe in a file name.
func nodeName(s string) string {
	b := []byte(s)
	if len(b) > 128 {
		b = b[:128]
	}
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			b[i] = '_'
		}
	}
	name := strings.Trim(string(b), ".-")
	if name == "" {
		return "node"
	}
	return name
}

// Time is nanoseconds since 1970 UTC. In JSON it is RFC 3339 with nine digits, or null if
// it is 0.
type Time int64

func now() Time { return Time(time.Now().UnixNano()) }

func (t Time) String() string { return when.Stamp(int64(t)) }

// MarshalJSON writes the time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON reads the time.
func (t *Time) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		*t = 0
		return nil
	}
	v, err := time.Parse(`"`+time.RFC3339Nano+`"`, s)
	if err != nil {
		return fmt.Errorf("reading time %.40q: it is not in RFC 3339 format", s)
	}
	// Times outside the range of 64-bit nanoseconds would wrap around.
	ns := v.UnixNano()
	if !time.Unix(0, ns).Equal(v) {
		return fmt.Errorf("reading time %.40q: it is outside 1677-09-21 to 2262-04-11", s)
	}
	*t = Time(ns)
	return nil
}

// CorruptError is an invalid place in a file of a ring.
type CorruptError struct {
	File   string
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("reading %s at %d: %v", filepath.Base(e.File), e.Offset, e.Err)
}

// Unwrap returns the error at that place.
func (e *CorruptError) Unwrap() error { return e.Err }

// visiblePath returns the path of the visible segment in the folder of another file.
func (id ID) visiblePath(path string) string { return filepath.Join(filepath.Dir(path), id.Segment()) }
