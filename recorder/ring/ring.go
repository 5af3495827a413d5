// Package ring keeps captured packets in rotating files.
//
// A segment has a hidden name until it is whole, on the disk and named by a signed record
// of seals.jsonl, so every visible segment can be read to its end and checked. Ring never
// rewrites a segment; retention only removes whole ones, and says so in a record. What a
// full, slow or vanished disk costs is counted as a hole, never silent, and never blocks
// the caller for ever. A crash costs at most what was not yet on the disk.
package ring

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Version of the layout of a ring, docs/format/ring.md.
const Version = 1

// Limits of a segment, docs/format/segment.md.
const (
	maxCaptured   = 261_000 // captured bytes of a packet, with what stands before them
	maxBlock      = 262_144 // bytes of a block
	maxInterfaces = 60_000  // interfaces in a segment; the 16-bit fields of others end at 65,535
)

// KeysKind is the kind of side files that hold TLS keys.
const KeysKind = "keys"

const (
	extension  = ".pcapng"
	sealsName  = "seals.jsonl"
	lockName   = ".lock"
	askName    = ".seal-now"
	leasesName = ".leases"
	pinName    = "pin.json"
)

// Errors that a caller may want to tell apart.
var (
	ErrLocked    = errors.New("another recorder writes into this ring")
	ErrNotRing   = errors.New("not a ring: no " + sealsName + " in it")
	ErrNewer     = errors.New("ring of a newer version")
	ErrDisk      = errors.New("packet dropped: the disk does not take it")
	ErrReserve   = errors.New("less free space on the disk than is reserved for others")
	ErrElsewhere = errors.New("the folder is another one than the ring was opened in")
	ErrClosed    = errors.New("ring is closed")
	ErrInterface = errors.New("interface was not declared")
)

// ID names a segment: which series of which node, and its number there.
type ID struct {
	Series   string
	Node     string
	Sequence uint64
}

// Name is the name that a segment's files share: SERIES-NODE-SEQUENCE.
func (id ID) Name() string { return fmt.Sprintf("%s-%s-%09d", id.Series, id.Node, id.Sequence) }

func (id ID) String() string { return id.Name() }

// Segment is the name of the packet file.
func (id ID) Segment() string { return id.Name() + extension }

// Side is the name of a side file, such as that of kind "owners.jsonl".
func (id ID) Side(kind string) string { return id.Name() + "." + kind }

func (id ID) hidden() string { return "." + id.Segment() }

// ParseName reads the name of a file in a ring. Kind is "pcapng" for packets, else what
// Side was given; hidden is true for a segment that is still written.
func ParseName(name string) (id ID, kind string, hidden, ok bool) {
	name, hidden = strings.CutPrefix(name, ".")
	series, rest, found := strings.Cut(name, "-")
	if !found || !validSeries(series) {
		return ID{}, "", false, false
	}
	// The node's name may have dots and dashes: the number is the digits between the
	// last dash that has only digits and a dot behind it, and that dot.
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

// validSeries reports whether a series may have that name: 1 to 32 lower-case letters,
// digits and underscores.
func validSeries(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 32
}

// nodeName makes a name that is safe in a file name.
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

// Time is nanoseconds since 1970 UTC; as JSON RFC 3339 with nine digits, and null where
// it is 0.
type Time int64

const timeLayout = "2006-01-02T15:04:05.000000000Z"

func now() Time { return Time(time.Now().UnixNano()) }

func (t Time) String() string { return time.Unix(0, int64(t)).UTC().Format(timeLayout) }

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
		return fmt.Errorf("reading time %.40q: want RFC 3339", s)
	}
	// Times beyond what 64 bits of nanoseconds hold would wrap around.
	ns := v.UnixNano()
	if !time.Unix(0, ns).Equal(v) {
		return fmt.Errorf("reading time %.40q: want one from 1677-09-21 to 2262-04-11", s)
	}
	*t = Time(ns)
	return nil
}

// CorruptError is a place in a file of a ring that cannot be right.
type CorruptError struct {
	File   string
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("reading %s at %d: %v", filepath.Base(e.File), e.Offset, e.Err)
}

// Unwrap gives what is wrong there.
func (e *CorruptError) Unwrap() error { return e.Err }

// beside is the path of the visible segment in the folder of another file.
func (id ID) beside(path string) string { return filepath.Join(filepath.Dir(path), id.Segment()) }
