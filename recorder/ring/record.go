package ring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Kind of a record.
type Kind string

// Kinds of records.
const (
	KindRing     Kind = "ring"       // the first record: identifies the ring
	KindStart    Kind = "start"      // a recorder began to write
	KindSegment  Kind = "segment"    // the seal of a segment
	KindSides    Kind = "side_files" // the seal of a segment's side files
	KindDeletion Kind = "deletion"   // retention removed segments
	KindAnchor   Kind = "anchor"     // a witness has seen the chain up to a record
	KindStop     Kind = "stop"       // the recorder stopped properly
)

// Record is one line of seals.jsonl; see docs/format/ring.md. Exactly one of the pointers is
// set, according to the kind.
type Record struct {
	N        uint64     `json:"n"` // number in the chain, from 0
	Kind     Kind       `json:"kind"`
	Ring     string     `json:"ring"`
	Prev     string     `json:"prev"` // SHA-256 of the previous record, in hex; "" in the first
	At       Time       `json:"at"`
	Origin   *Origin    `json:"origin,omitempty"`
	Start    *Start     `json:"start,omitempty"`
	Segment  *Seal      `json:"segment,omitempty"`
	Sides    *SideFiles `json:"side_files,omitempty"`
	Deletion *Deletion  `json:"deletion,omitempty"`
	Anchor   *Anchor    `json:"anchor,omitempty"`
	Stop     *Stop      `json:"stop,omitempty"`

	Hash string `json:"-"` // SHA-256 of this record, in hex
	Key  string `json:"-"` // hash of the key that signed it; "" if it is unsigned
	Sig  []byte `json:"-"`
	body []byte
}

// Origin starts a ring.
type Origin struct {
	Version   int    `json:"version"`
	Node      string `json:"node"`
	PublicKey string `json:"public_key,omitempty"` // as in Start; signs this record
}

// Start states the new recorder and the state of the ring at its start.
type Start struct {
	Recorder  string            `json:"recorder,omitempty"`
	BootID    string            `json:"boot_id,omitempty"`
	PublicKey string            `json:"public_key,omitempty"` // ed25519, base64; signs all records up to the next start
	Next      map[string]uint64 `json:"next"`                 // by series: lower numbers without a record were never completed
	Crashed   bool              `json:"crashed,omitempty"`    // the previous recorder did not stop properly
	CutBytes  int64             `json:"cut_bytes,omitempty"`  // of a torn last line of seals.jsonl
	Damaged   int64             `json:"damaged,omitempty"`    // lines of seals.jsonl that cannot be read
	Holes     []Hole            `json:"holes,omitempty"`
	Resumed   *Resumed          `json:"resumed,omitempty"` // packets went on to be taken in the kernel meanwhile
}

// Resumed accounts for packets that the kernel's programs saw for the recorder before, from its
// start to this one: Seen = Filtered + Taken + Waiting + Dropped.
type Resumed struct {
	Seen     uint64 `json:"kernel_seen"`
	SeenThen uint64 `json:"kernel_seen_then"`   // of these, at that recorder's last seal
	Filtered uint64 `json:"filtered,omitempty"` // by the kernel's programs
	Taken    uint64 `json:"taken"`              // by the recorder before
	Waiting  uint64 `json:"waiting"`            // in the kernel, for this recorder
	Dropped  uint64 `json:"dropped,omitempty"`  // by the kernel's programs
	Lost     int64  `json:"lost"`               // that no seal states; -1 if that is not known
	Detail   string `json:"detail,omitempty"`
}

// Seal describes a segment, which must not change afterwards.
type Seal struct {
	Series        string    `json:"series"`
	Node          string    `json:"node"`
	Sequence      uint64    `json:"sequence"`
	Size          int64     `json:"size"`
	SHA256        string    `json:"sha256"`
	SideFiles     string    `json:"side_files,omitempty"` // SidesLater or SidesNone; "" if an earlier release wrote it
	Packets       uint64    `json:"packets"`
	Bytes         uint64    `json:"bytes"` // captured
	Interfaces    int       `json:"interfaces"`
	First         Time      `json:"first"` // earliest and latest packet
	Last          Time      `json:"last"`
	LastPacketID  string    `json:"last_packet_id,omitempty"` // hex
	Counters      *Counters `json:"counters,omitempty"`
	Balanced      *bool     `json:"balanced,omitempty"` // seen = filtered + delivered + dropped
	Clock         *Clock    `json:"clock,omitempty"`
	Holes         []Hole    `json:"holes,omitempty"`
	Recovered     bool      `json:"recovered,omitempty"` // sealed at the next start; what was in memory is lost
	RecoveredSize int64     `json:"recovered_bytes,omitempty"`
	LostTail      int64     `json:"lost_tail_bytes,omitempty"`
	Cut           bool      `json:"cut,omitempty"` // a disk error lost the rest
}

// ID of the segment.
func (s *Seal) ID() ID { return ID{s.Series, s.Node, s.Sequence} }

// Values of Seal.SideFiles.
const (
	SidesLater = "later" // a record of the side files follows
	SidesNone  = "none"  // the segment must not have side files
)

// SideFiles seals the side files of a segment, or states that they grow again.
type SideFiles struct {
	Series    string     `json:"series"`
	Node      string     `json:"node"`
	Sequence  uint64     `json:"sequence"`
	Files     []SideFile `json:"files,omitempty"`     // by kind; a file that is not listed did not exist
	Reopened  bool       `json:"reopened,omitempty"`  // lines are added to sealed files; Files is empty
	Recovered bool       `json:"recovered,omitempty"` // sealed at the next start after a crash
}

// ID of the segment.
func (s *SideFiles) ID() ID { return ID{s.Series, s.Node, s.Sequence} }

// SideFile is one side file of a segment.
type SideFile struct {
	Kind   string `json:"kind"` // as in ID.Side
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Counters of a series since its recorder started. Truncated packets are delivered ones.
type Counters struct {
	Kernel    uint64 `json:"kernel_seen,omitempty"` // counted by the kernel, for all series: packets beyond their Seen were in transit; 0 if unknown
	Seen      uint64 `json:"seen"`
	Filtered  uint64 `json:"filtered"`
	Policy    uint64 `json:"policy,omitempty"` // the part of Filtered that the policy forbids
	Delivered uint64 `json:"delivered"`
	Dropped   uint64 `json:"dropped"`
	Truncated uint64 `json:"truncated,omitempty"`
	Drops     []Drop `json:"drops,omitempty"` // Dropped by reason; empty or complete
}

// Drop counts packets dropped for one reason.
type Drop struct {
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
}

// Balanced reports whether every packet seen is accounted for.
func (c *Counters) Balanced() bool {
	var reasons uint64
	for _, d := range c.Drops {
		reasons += d.Packets
	}
	return c.Seen == c.Filtered+c.Delivered+c.Dropped && (c.Kernel == 0 || c.Seen <= c.Kernel) && c.Policy <= c.Filtered && (len(c.Drops) == 0 || reasons == c.Dropped)
}

// Clock is one reading of the node's clocks at the same moment.
type Clock struct {
	Real         Time   `json:"real"`
	Monotonic    int64  `json:"monotonic_ns"`
	Boot         int64  `json:"boot_ns"`
	MaxError     int64  `json:"max_error_ns,omitempty"`
	Synchronized bool   `json:"synchronized"`
	Source       string `json:"source,omitempty"`
}

// Retention is the reason of a gap where the ring has removed its oldest segments.
const Retention = "retention"

// Hole is a gap in a ring, with its reason.
type Hole struct {
	Reason  string `json:"reason"` // disk, restart, policy, filter, drop, retention
	Series  string `json:"series,omitempty"`
	From    Time   `json:"from"`
	To      Time   `json:"to"`
	Packets int64  `json:"packets"` // -1 if unknown
	Bytes   int64  `json:"bytes"`
	Detail  string `json:"detail,omitempty"`
	// Numbers of segments that were started but do not exist.
	Sequences []Range `json:"sequences,omitempty"`
}

// Range is an inclusive range of sequence numbers.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Deletion states which segments retention removed and why.
type Deletion struct {
	Series    string  `json:"series"`
	Sequences []Range `json:"sequences"`
	Bytes     int64   `json:"bytes"`
	Reason    string  `json:"reason"` // bytes, age, reserve
	First     Time    `json:"first"`
	Last      Time    `json:"last"`
}

// Stop ends the recording of a Start.
type Stop struct {
	Holes []Hole `json:"holes,omitempty"` // not yet stated in a segment
}

// sealedLine is a line of the file.
type sealedLine struct {
	Record json.RawMessage `json:"record"`
	Key    string          `json:"key,omitempty"`
	Sig    string          `json:"sig,omitempty"`
}

// Types of signed data, which are part of the signed bytes.
const (
	sealType   = "application/vnd.pcapsule.seal+json"
	anchorType = "application/vnd.pcapsule.anchor+json"
)

const maxLine = 4 << 20 // a line of seals.jsonl

// preAuth binds a type to a body as in DSSE 1.0.2, so that a signature of one type of data is
// not valid for another.
func preAuth(typ string, body []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(typ), typ, len(body), body)
}

// KeyID is the SHA-256 of a public key, in hex.
func KeyID(key ed25519.PublicKey) string { return hexHash(key) }

// Fingerprint identifies a key for people, by its public half.
func Fingerprint(key ed25519.PrivateKey) string { return KeyID(key.Public().(ed25519.PublicKey)) }

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// encode writes the line of a record and sets Hash, Key and Sig.
func (r *Record) encode(key ed25519.PrivateKey) ([]byte, error) {
	body, err := compact(r)
	if err != nil {
		return nil, fmt.Errorf("writing record %d: %w", r.N, err)
	}
	line := sealedLine{Record: body}
	r.body, r.Hash, r.Key, r.Sig = body, hexHash(body), "", nil
	if key != nil {
		r.Sig = ed25519.Sign(key, preAuth(sealType, body))
		r.Key = KeyID(key.Public().(ed25519.PublicKey))
		line.Key, line.Sig = r.Key, base64.StdEncoding.EncodeToString(r.Sig)
	}
	text, err := compact(line)
	if err != nil {
		return nil, fmt.Errorf("writing record %d: %w", r.N, err)
	}
	if len(text) >= maxLine {
		return nil, fmt.Errorf("writing record %d: it has %d bytes, and the limit is %d", r.N, len(text), maxLine)
	}
	return append(text, '\n'), nil
}

// compact returns JSON without HTML escapes and without a line end.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// parseRecord parses a line without its end.
func parseRecord(line []byte) (*Record, error) {
	var l sealedLine
	if err := json.Unmarshal(line, &l); err != nil {
		return nil, fmt.Errorf("reading record: %w", err)
	}
	r := &Record{}
	if err := json.Unmarshal(l.Record, r); err != nil {
		return nil, fmt.Errorf("reading record: %w", err)
	}
	if r.Kind == "" || r.Ring == "" {
		return nil, fmt.Errorf("reading record: it has no kind or no ring")
	}
	if (r.Kind == KindRing) != (r.Origin != nil) || (r.Kind == KindStart) != (r.Start != nil) || (r.Kind == KindSegment) != (r.Segment != nil) ||
		(r.Kind == KindSides) != (r.Sides != nil) || (r.Kind == KindDeletion) != (r.Deletion != nil) || (r.Kind == KindAnchor) != (r.Anchor != nil) || (r.Kind == KindStop) != (r.Stop != nil) {
		return nil, fmt.Errorf("reading record %d: its contents do not match its kind %q", r.N, r.Kind)
	}
	if s := r.Segment; s != nil && (!validSeries(s.Series) || s.Node != nodeName(s.Node) || s.Size < 0) {
		return nil, fmt.Errorf("reading record %d: invalid segment name %.80q", r.N, s.ID())
	}
	if s := r.Sides; s != nil && (!validSeries(s.Series) || s.Node != nodeName(s.Node)) {
		return nil, fmt.Errorf("reading record %d: invalid segment name %.80q", r.N, s.ID())
	}
	if l.Sig != "" {
		sig, err := base64.StdEncoding.DecodeString(l.Sig)
		if err != nil {
			return nil, fmt.Errorf("reading signature of record %d: %w", r.N, err)
		}
		r.Sig, r.Key = sig, l.Key
	}
	r.body = bytes.Clone(l.Record)
	r.Hash = hexHash(r.body)
	return r, nil
}

// signedBy reports whether the record has a valid signature of a key.
func (r *Record) signedBy(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && len(r.Sig) > 0 && ed25519.Verify(key, preAuth(sealType, r.body), r.Sig)
}

// publicKey decodes a key in the form used in records.
func publicKey(s string) (ed25519.PublicKey, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return b, err == nil && len(b) == ed25519.PublicKeySize
}

// publicText returns the public key in the form used in records, "" without a key.
func publicText(key ed25519.PrivateKey) string {
	if key == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}
