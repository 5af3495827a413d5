package bundle

import (
	"path"
	"slices"
	"strings"
)

// Kinds of derived bundles.
const (
	Redacted = "redacted" // values were removed from packets
	Cut      = "cut"      // packets were removed
	Merged   = "merged"   // names or keys were added
)

// Derived describes the bundle from which this one was made (docs/format/derived.md).
type Derived struct {
	Kind        string      `json:"kind"` // redacted, cut or merged
	From        DerivedFrom `json:"from"`
	Rederivable string      `json:"rederivable"` // fully: the tables are what the packets here give
	Reason      string      `json:"reason"`      // of rederivable

	Packets DerivedCount     `json:"packets"`
	Rules   map[string]int64 `json:"rules,omitempty"` // packets changed by each rule
	Policy  *DerivedPolicy   `json:"policy,omitempty"`
	Cut     *DerivedCut      `json:"cut,omitempty"`
	Added   []string         `json:"added,omitempty"` // kinds of what was merged: kube, hosts, keys
	Proofs  []DerivedProof   `json:"proofs,omitempty"`
	Rows    []RowProof       `json:"row_proofs,omitempty"` // of tables that cannot be made from packets
}

// RowProof says where the proof of a table's rows is.
type RowProof struct {
	Table string `json:"table"`
	Proof string `json:"proof"` // data/derived/rows-TABLE.bin
}

// DerivedProof says which file of the original a proof is about, and where its packets are now.
type DerivedProof struct {
	FileID int32  `json:"file_id"`        // in the original
	Proof  string `json:"proof"`          // data/derived/proof-NNN.bin
	Path   string `json:"path,omitempty"` // of the packets; empty if none was kept
}

// DerivedFrom identifies the original. The hash of a redacted original is not here, because it would
// confirm guesses of a short secret; neither is any name, which may have the secret.
type DerivedFrom struct {
	TagManifest *Digest `json:"tagmanifest_sha256,omitempty"` // of the original, unless it was redacted
	Packets     int64   `json:"packets"`                      // in its files
	Derived     string  `json:"derived,omitempty"`            // kind, if the original was itself derived
	Lacks       []Lack  `json:"lacks,omitempty"`              // what the original lacked already
}

// Lack is something that a bundle lacks because it was derived: an absence in it proves nothing.
type Lack struct {
	Reason  string `json:"reason"`            // filter: packets were left out; redaction: values were removed
	Packets int64  `json:"packets,omitempty"` // left out or changed; 0 if unknown
	Detail  string `json:"detail,omitempty"`
}

// The reasons of a Lack.
const (
	LackFilter    = "filter"
	LackRedaction = "redaction"
)

// Lacks lists what the bundle lacks, through all bundles that it was derived from. A cut to a time lacks
// nothing within this time.
func (d *Derived) Lacks() []Lack {
	if d == nil {
		return nil
	}
	list := slices.Clone(d.From.Lacks)
	if d.Policy != nil {
		list = append(list, Lack{LackRedaction, d.Packets.Changed, "the policy " + d.Policy.Name + " removed values"})
		if n := d.Packets.Removed; n > 0 {
			list = append(list, Lack{LackFilter, n, "the policy " + d.Policy.Name + " removed packets"})
		}
	}
	if c := d.Cut; c != nil {
		var kept []string
		if c.Filter != "" {
			kept = append(kept, "of calls that match "+c.Filter)
		}
		if c.Workload != "" {
			kept = append(kept, "of "+c.Workload)
		}
		if c.Pods != "" {
			kept = append(kept, "of the pods of "+c.Pods)
		}
		if c.Packets != "" {
			kept = append(kept, "with a packet that matches "+c.Packets)
		}
		if len(c.Namespaces) > 0 {
			kept = append(kept, "of the namespaces "+strings.Join(c.Namespaces, ", "))
		}
		if len(kept) > 0 {
			list = append(list, Lack{LackFilter, d.Packets.Removed, "only connections " + strings.Join(kept, " and ") + " were kept"})
		}
	}
	return list
}

// DerivedCount counts the packets of the original.
type DerivedCount struct {
	Unchanged int64 `json:"unchanged"` // data, time and length are those of the original
	Changed   int64 `json:"changed"`
	Removed   int64 `json:"removed"`
}

// DerivedPolicy is the policy of a redaction.
type DerivedPolicy struct {
	Name   string `json:"name,omitempty"`
	SHA256 Digest `json:"sha256"`
}

// DerivedCut says which packets a cut kept.
type DerivedCut struct {
	Filter   string `json:"filter,omitempty"` // connections of calls that match, in KFL
	Workload string `json:"workload,omitempty"`
	Pods     string `json:"pods,omitempty"`          // connections of these pods, as a snapshot of a cluster selects them
	Packets  string `json:"packet_filter,omitempty"` // connections with a packet that matches, in tcpdump's syntax
	FromNs   *Time  `json:"from,omitempty"`
	ToNs     *Time  `json:"to,omitempty"`
	// Connections with an end in one of these namespaces and none in another. The counts of the
	// original are 0 then: they are about other namespaces too.
	Namespaces []string `json:"namespaces,omitempty"`
}

// Commitment is a salted commitment to the packets of one file (docs/format/derived.md).
type Commitment struct {
	FileID  int32  `json:"file_id" jsonschema:"number of the file in bundle.json"`
	Packets uint64 `json:"packets" jsonschema:"leaves of the tree"`
	Part    uint32 `json:"part,omitempty" jsonschema:"bytes of a part of a packet that can be hidden alone"`
	Root    Digest `json:"root" jsonschema:"root of the tree of RFC 9162"`
}

// TableCommitment is a salted commitment to the rows of one table (docs/format/derived.md).
type TableCommitment struct {
	Table string `json:"table" jsonschema:"its folder below data/tables"`
	Rows  uint64 `json:"rows" jsonschema:"leaves of the tree"`
	Root  Digest `json:"root" jsonschema:"root of the tree of RFC 9162"`
}

// TableParts lists the parts of the tables among the files of a bundle, by the folder below
// data/tables; a protocol's part of calls is a separate table.
func TableParts(files []Payload, place func(rel string) string) map[string][]string {
	list := map[string][]string{}
	for _, f := range files {
		if strings.HasPrefix(f.Path, tablesDir) && path.Ext(f.Path) == ".parquet" {
			name := strings.TrimPrefix(path.Dir(f.Path), tablesDir)
			list[name] = append(list[name], place(f.Path))
		}
	}
	return list
}
