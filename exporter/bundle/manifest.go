package bundle

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// SchemaVersion is the version of the tables and of bundle.json that this release writes. It
// increases only if an older release would misread a bundle.
const SchemaVersion = 1

// Limits of bundle.json.
const (
	MaxManifest   = 64 << 20 // bytes of bundle.json
	MaxInterfaces = 4096     // interfaces listed for each input
	MaxDamage     = 1000     // damaged places listed for each input
	maxText       = 8 << 10  // bytes of one text from a capture
	maxTexts      = 4 << 20  // bytes of all such texts of one input
)

// Manifest is data/bundle.json: the contents of the bundle and how it was made. It depends on
// inputs, options and release only; it contains no clock, host, system or folder name.
type Manifest struct {
	SchemaVersion int               `json:"schema_version"`
	Tool          Tool              `json:"tool"`
	Derived       *Derived          `json:"derived,omitempty"` // if it was made from another bundle
	Options       map[string]string `json:"options"`           // those that change data; keys as on the command line
	Inputs        []Input           `json:"inputs"`
	SideInputs    []SideInput       `json:"side_inputs"`
	Window        Window            `json:"window"`
	Filters       Filters           `json:"filters"`
	Accounts      Accounts          `json:"accounts"`
	Tables        []Table           `json:"tables"`
	Calls         map[string]int64  `json:"calls"` // calls per protocol
	Warnings      []string          `json:"warnings"`
}

// Tool is the program that made a bundle.
type Tool struct {
	Name     string `json:"name"`
	Release  string `json:"release"`
	Platform string `json:"platform,omitempty"` // in bundles of older releases, such as linux/amd64; now in the custody log
}

// Input is one capture file of the bundle.
type Input struct {
	FileID         int32       `json:"file_id"`
	Path           string      `json:"path"` // inside the bundle: data/packets/…
	Name           string      `json:"name"` // original base name; - for standard input
	Node           string      `json:"node,omitempty"`
	SHA256         Digest      `json:"sha256"`
	Size           int64       `json:"size"`
	Compression    string      `json:"compression,omitempty"`     // gzip or zstd, removed on import
	SHA256Original *Digest     `json:"sha256_original,omitempty"` // of the compressed file
	SizeOriginal   int64       `json:"size_original,omitempty"`
	Format         string      `json:"format"` // pcapng, pcap, pcap_ns, pcap_modified …
	BigEndian      bool        `json:"big_endian"`
	Sections       int64       `json:"sections"`
	Interfaces     []Interface `json:"interfaces"`
	InterfacesMore int64       `json:"interfaces_more,omitempty"` // above MaxInterfaces, not listed
	Packets        int64       `json:"packets"`
	FirstNs        *Time       `json:"first,omitempty"`
	LastNs         *Time       `json:"last,omitempty"`
	Damage         []Damage    `json:"damage,omitempty"`
	DamageMore     int64       `json:"damage_more,omitempty"` // above MaxDamage, not listed
	Drops          int64       `json:"drops"`                 // lost packets, according to the file itself
	Secrets        int64       `json:"secrets"`               // decryption secrets in the file
	Segment        *Segment    `json:"segment,omitempty"`     // description in the header of a ring's segment

	texts int // bytes of text in Interfaces
}

// CountsLosses reports whether the file says how many packets were lost.
func (in *Input) CountsLosses() bool {
	if in.Segment != nil {
		return in.Segment.Seal == "sealed"
	}
	return len(in.Interfaces) > 0 && !slices.ContainsFunc(in.Interfaces, func(i Interface) bool { return i.Received == 0 })
}

// Segment is the description in a segment's header and in its ring's seal.
type Segment struct {
	Ring     string `json:"ring"`
	Series   string `json:"series,omitempty"`
	Sequence uint64 `json:"sequence"`
	Recorder string `json:"recorder,omitempty"`
	BootID   string `json:"boot_id,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Filter   string `json:"filter,omitempty"` // in force when it began
	Only     string `json:"only,omitempty"`   // selected processes or pods
	Policy   string `json:"policy,omitempty"` // excluded by policy
	Own      string `json:"own,omitempty"`    // how the recorder's own traffic is excluded

	Programs []Program `json:"programs,omitempty"` // BPF programs that the recorder loaded into the kernel, at most MaxPrograms

	Seal string `json:"seal,omitempty"` // sealed: bytes and record agree; broken; none: no record; absent if the ring is unknown
}

// MaxPrograms is how many programs of a segment are listed.
const MaxPrograms = 16

// Program is a program that ran in the kernel.
type Program struct {
	Name   string `json:"name"`
	SHA256 Digest `json:"sha256"`
}

// Interface is one interface of a capture file, as the file describes it.
type Interface struct {
	Index       int64    `json:"index"` // over all sections, from 0
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	LinkType    int32    `json:"link_type"`
	SnapLen     int64    `json:"snaplen"`
	TsResol     uint8    `json:"tsresol"`  // value of the PCAPNG option: 6 is microseconds, 9 nanoseconds, high bit: power of two
	TsOffset    int64    `json:"tsoffset"` // seconds
	Offset      int64    `json:"offset"`   // of its block in the file
	Section     int64    `json:"section"`  // from 0
	BigEndian   bool     `json:"big_endian"`
	Filter      string   `json:"filter,omitempty"`
	OS          string   `json:"os,omitempty"`
	Hardware    string   `json:"hardware,omitempty"`
	Comments    []string `json:"comments,omitempty"`
	Clock       *int32   `json:"clock,omitempty"`    // clock_id in table clocks
	Received    int64    `json:"received,omitempty"` // from its last statistics block
	Dropped     int64    `json:"dropped,omitempty"`
}

// Damage is a part of a capture file that could not be read.
type Damage struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
}

// SideInput is the used part of a file other than a capture: owners, events, kube or hosts.
type SideInput struct {
	Kind           string  `json:"kind"`
	FileID         *int32  `json:"file_id,omitempty"` // input that it belongs to
	Path           string  `json:"path,omitempty"`    // inside the bundle: data/inputs/… or data/keys/…; empty if nothing was kept
	Name           string  `json:"name"`              // original base name
	SHA256         *Digest `json:"sha256,omitempty"`
	Size           int64   `json:"size"`
	SHA256Original Digest  `json:"sha256_original"`
	SizeOriginal   int64   `json:"size_original"`
}

// Window is the time span of the traffic, first and last packet; absent without packets.
type Window struct {
	FirstNs *Time `json:"first,omitempty"`
	LastNs  *Time `json:"last,omitempty"`
}

// Filters are the packets excluded on request.
type Filters struct {
	BPF    string `json:"bpf,omitempty"`
	FromNs *Time  `json:"from,omitempty"`
	ToNs   *Time  `json:"to,omitempty"`
}

// Accounts account for every byte: payload = cut + rows + anomalies + duplicates. Gaps are
// missing from the capture, so they are not part of the payload.
type Accounts struct {
	Packets        int64 `json:"packets"`
	Bytes          int64 `json:"bytes"`
	PayloadBytes   int64 `json:"payload_bytes"`
	CutBytes       int64 `json:"cut_bytes"`
	RowBytes       int64 `json:"row_bytes"`
	GapBytes       int64 `json:"gap_bytes"`
	AnomalyBytes   int64 `json:"anomaly_bytes"`
	DuplicateBytes int64 `json:"duplicate_bytes"`

	Counters map[string]map[string]int64 `json:"counters"` // source (file, not_ip, link, ip, tcp, engine, a protocol) → kind → count
}

// NotIP is the source under which Counters has the packets other than IP, by kind.
const NotIP = "not_ip"

// Count is the number of occurrences of a kind.
type Count struct {
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
}

// Counted adds up the counters of one source over accounts, the most frequent kind first.
func Counted(source string, all ...*Accounts) []Count {
	sums := map[string]int64{}
	for _, a := range all {
		for kind, n := range a.Counters[source] {
			sums[kind] += n
		}
	}
	out := []Count{}
	for kind, n := range sums {
		out = append(out, Count{kind, n})
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Kind, b.Kind))
	})
	return out
}

// AddCounter adds to a counter.
func (a *Accounts) AddCounter(source, kind string, n int64) {
	if a.Counters == nil {
		a.Counters = map[string]map[string]int64{}
	}
	if a.Counters[source] == nil {
		a.Counters[source] = map[string]int64{}
	}
	a.Counters[source][kind] += n
}

// Table is one table, or one protocol's part of calls, with its row digest.
type Table struct {
	Name     string   `json:"name"`
	Protocol string   `json:"protocol,omitempty"`
	Rows     int64    `json:"rows"`
	Parts    int64    `json:"parts"`
	Columns  []Column `json:"columns"`
}

// Column is one column of a table and the SHA-256 of its validity, lengths and values.
type Column struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	SHA256 Digest `json:"sha256"`
}

// Decrypted reports whether the bundle contains keys or decrypted data.
func (m *Manifest) Decrypted() bool {
	return m.Accounts.Counters["keys"]["secrets"] > 0 || slices.ContainsFunc(m.SideInputs, func(s SideInput) bool { return strings.HasPrefix(s.Kind, "keys") })
}

// AddInterface lists an interface, up to the limits; further ones are only counted. Texts are
// cut to the format's limits.
func (in *Input) AddInterface(i Interface) {
	i.Comments = slices.Clone(i.Comments)
	n := 0
	for _, s := range []*string{&i.Name, &i.Description, &i.Filter, &i.OS, &i.Hardware} {
		*s = clip.Text(*s, maxText)
		n += len(*s)
	}
	for k, s := range i.Comments {
		i.Comments[k] = clip.Text(s, maxText)
		n += len(i.Comments[k]) + 8
	}
	if len(in.Interfaces) >= MaxInterfaces || in.texts+n > maxTexts {
		in.InterfacesMore++
		return
	}
	in.texts += n
	in.Interfaces = append(in.Interfaces, i)
}

// AddDamage lists damage, up to MaxDamage; further damage is only counted.
func (in *Input) AddDamage(d Damage) {
	if len(in.Damage) >= MaxDamage {
		in.DamageMore++
		return
	}
	d.Detail = clip.Text(d.Detail, maxText)
	in.Damage = append(in.Damage, d)
}

// Input returns the input with that file id, or nil.
func (m *Manifest) Input(fileID int32) *Input {
	for i := range m.Inputs {
		if m.Inputs[i].FileID == fileID {
			return &m.Inputs[i]
		}
	}
	return nil
}
