package seal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxRequest is the size of a request file.
const maxRequest = 256 << 10

// Request is information from people about an acquisition that the bundle does not have.
type Request struct {
	CaseID         string   `json:"case_id,omitempty" yaml:"case_id" jsonschema:"number of the case or ticket"`
	Authority      string   `json:"authority,omitempty" yaml:"authority" jsonschema:"who may order the acquisition, and by what"`
	LegalBasis     string   `json:"legal_basis,omitempty" yaml:"legal_basis" jsonschema:"legal basis, such as an article of a law or a contract"`
	Requester      string   `json:"requester,omitempty" yaml:"requester" jsonschema:"who asked for the evidence"`
	Approver       string   `json:"approver,omitempty" yaml:"approver" jsonschema:"who approved the request"`
	Examiner       string   `json:"examiner,omitempty" yaml:"examiner" jsonschema:"who made the bundle and examined it"`
	Purpose        string   `json:"purpose,omitempty" yaml:"purpose" jsonschema:"why the evidence is collected"`
	ScopeRequested string   `json:"scope_requested,omitempty" yaml:"scope_requested" jsonschema:"requested scope: systems and times"`
	KeyCustody     string   `json:"key_custody,omitempty" yaml:"key_custody" jsonschema:"who holds the keys that decrypted traffic, and where"`
	ClockReference string   `json:"clock_reference,omitempty" yaml:"clock_reference" jsonschema:"how the clocks of the recorders are traced to UTC, and their error"`
	Images         []string `json:"images,omitempty" yaml:"images" jsonschema:"digests of the container images that recorded"`
	Notes          string   `json:"notes,omitempty" yaml:"notes" jsonschema:"anything else"`
}

// ReadRequest reads a request from YAML or JSON. Unknown keys are errors, because a mistyped
// key would be missing from the evidence.
func ReadRequest(data []byte) (r Request, err error) {
	if len(data) > maxRequest {
		return r, fmt.Errorf("%d bytes, more than %d", len(data), maxRequest)
	}
	d, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithKnownFields())
	if err == nil {
		err = d.Load(&r)
	}
	if errors.Is(err, io.EOF) {
		err = nil // an empty file
	}
	return r, err
}

// Acquisition is the predicate of a seal: an acquisition record.
type Acquisition struct {
	SealedAt bundle.Time `json:"sealed_at" jsonschema:"time of the seal by the clock of the machine that sealed; RFC 3339"`
	Signers  []Party     `json:"signers" jsonschema:"who signs, with their public keys"`
	Request  Request     `json:"request" jsonschema:"what people said about the acquisition"`

	Tool       Tool              `json:"tool" jsonschema:"the program that made the bundle"`
	SealedWith Tool              `json:"sealed_with" jsonschema:"the program that sealed it"`
	Options    map[string]string `json:"options" jsonschema:"options of the program that made the bundle"`
	Window     bundle.Window     `json:"scope_collected" jsonschema:"first and last packet"`
	Filters    bundle.Filters    `json:"filters" jsonschema:"what was left out on request"`
	Inputs     []Input           `json:"inputs" jsonschema:"capture files"`
	SideInputs []SideInput       `json:"side_inputs" jsonschema:"other files that were used: identities, keys, events"`
	Packets    int64             `json:"packets" jsonschema:"packets in all inputs"`
	NotIP      *int64            `json:"not_ip_packets,omitempty" jsonschema:"packets that are not IP, such as ARP; they were recorded and are in no table of calls"`
	Calls      map[string]int64  `json:"calls" jsonschema:"calls by protocol"`
	Losses     Losses            `json:"losses" jsonschema:"what is known to be missing"`
	Warnings   []string          `json:"warnings" jsonschema:"problems that a person should know"`

	Commitments      []bundle.Commitment      `json:"commitments,omitempty" jsonschema:"salted commitments to the packets of each file, from which derived bundles are proved"`
	TableCommitments []bundle.TableCommitment `json:"table_commitments,omitempty" jsonschema:"salted commitments to the rows of each table"`
}

// Tool is a program.
type Tool struct {
	Name    string         `json:"name"`
	Release string         `json:"release"`
	SHA256  *bundle.Digest `json:"sha256,omitempty" jsonschema:"of the program file, if it could be read"`
}

// Input is a capture file. Its hashes are those of the manifest.
type Input struct {
	Name           string          `json:"name"`
	Path           string          `json:"path"`
	SHA256         bundle.Digest   `json:"sha256"`
	SHA256Original *bundle.Digest  `json:"sha256_original,omitempty" jsonschema:"of the compressed file"`
	Size           int64           `json:"size"`
	Packets        int64           `json:"packets"`
	Node           string          `json:"node,omitempty"`
	Segment        *bundle.Segment `json:"segment,omitempty" jsonschema:"for a recorder's segment: ring, kernel, filters and policy in force, and whether its seal agrees"`
}

// SideInput is a file that is not a capture.
type SideInput struct {
	Kind           string        `json:"kind"`
	Name           string        `json:"name"`
	SHA256Original bundle.Digest `json:"sha256_original"`
}

// Losses is the bundle's account of missing data.
type Losses struct {
	DroppedPackets int64            `json:"dropped_packets" jsonschema:"packets that the capture files say were lost"`
	DamagedPlaces  int64            `json:"damaged_places" jsonschema:"places in capture files that could not be read"`
	GapBytes       int64            `json:"gap_bytes" jsonschema:"bytes of connections that the capture lacks"`
	CutBytes       int64            `json:"cut_bytes" jsonschema:"bytes that the snap length cut"`
	Uncounted      int64            `json:"uncounted_files,omitempty" jsonschema:"capture files that do not say how many packets were lost"`
	NotIP          *int64           `json:"not_ip_packets,omitempty" jsonschema:"in records of older releases, which counted packets that are not IP here"`
	Segments       map[string]int64 `json:"segments,omitempty" jsonschema:"recorder segments by the state of their seals: sealed, broken, none"`
}

// collect makes the record of a bundle from what bundle.json and the custody log say and what people said.
func collect(r *bundle.Report, request Request) Acquisition {
	m := r.Content
	a := Acquisition{Request: request, Tool: Tool{Name: m.Tool.Name, Release: m.Tool.Release, SHA256: r.Program()}, Options: m.Options, Window: m.Window, Filters: m.Filters,
		Inputs: []Input{}, SideInputs: []SideInput{}, Signers: []Party{}, Packets: m.Accounts.Packets, Calls: m.Calls, Warnings: m.Warnings,
		Losses: LossesOf(m)}
	n := notIP(m)
	a.NotIP = &n
	for i := range m.Inputs {
		in := &m.Inputs[i]
		a.Inputs = append(a.Inputs, Input{Name: in.Name, Path: in.Path, SHA256: in.SHA256, SHA256Original: in.SHA256Original, Size: in.Size,
			Packets: in.Packets, Node: in.Node, Segment: in.Segment})
	}
	for _, s := range m.SideInputs {
		a.SideInputs = append(a.SideInputs, SideInput{Kind: s.Kind, Name: s.Name, SHA256Original: s.SHA256Original})
	}
	return a
}

// LossesOf adds up the missing data in bundle.json.
func LossesOf(m *bundle.Manifest) Losses {
	l := Losses{GapBytes: m.Accounts.GapBytes, CutBytes: m.Accounts.CutBytes}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		l.DroppedPackets += in.Drops
		l.DamagedPlaces += int64(len(in.Damage)) + in.DamageMore
		if in.Segment != nil && in.Segment.Seal != "" {
			if l.Segments == nil {
				l.Segments = map[string]int64{}
			}
			l.Segments[in.Segment.Seal]++
		}
		if !in.CountsLosses() {
			l.Uncounted++
		}
	}
	return l
}

// notIP is the number of packets that are not IP. They were recorded, so they are no loss.
func notIP(m *bundle.Manifest) (n int64) {
	for _, c := range bundle.Counted(bundle.NotIP, &m.Accounts) {
		n += c.Count
	}
	return n
}

// String is the losses in one line.
func (l *Losses) String() string {
	text := cmp.Or(l.Known(), "none")
	if l.Uncounted > 0 {
		text += plural.Sprintf("; %d {capture file does|capture files do} not count lost packets", l.Uncounted)
	}
	return text
}

// Known lists the losses that the bundle states; empty for none.
func (l *Losses) Known() string {
	parts := []string{}
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, plural.Sprintf("%d "+what, n))
		}
	}
	add(l.DroppedPackets, "{packet|packets} dropped")
	add(l.DamagedPlaces, "{place|places} damaged")
	add(l.GapBytes, "{byte|bytes} missing in gaps")
	add(l.CutBytes, "{byte|bytes} cut by the snap length")
	for _, state := range slices.Sorted(maps.Keys(l.Segments)) {
		if state != "sealed" {
			parts = append(parts, plural.Sprintf("%d {segment|segments} with the seal %s", l.Segments[state], state))
		}
	}
	return strings.Join(parts, ", ")
}

// Stated is the verdict on the losses that bundle.json states. If m is nil, nothing is known.
func Stated(m *bundle.Manifest) []Verdict {
	if m == nil {
		return nil
	}
	losses := LossesOf(m)
	return []Verdict{{Check: "losses", State: Yes, Detail: "stated: " + losses.String()}}
}
