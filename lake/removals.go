package lake

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Removal is the record of a namespace's rows that were removed from a bundle's tables: a row of table
// removals. It stays if the bundle leaves the lake.
type Removal struct {
	Bundle    string    `json:"bundle_id"`
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	Time      time.Time `json:"time"`
	Rows      int64     `json:"rows"`
	Files     []Rewrite `json:"files"`

	day   int32
	files string // Files as the table has them
}

// Rewrite is a file that the lake replaced by one without the removed rows.
type Rewrite struct {
	Table  string `json:"table"`
	Old    string `json:"old"`
	New    string `json:"new,omitempty"` // empty: no row was left
	Rows   int64  `json:"removed_rows"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

var removalsColumns = []ownColumn[Removal]{
	{columnBundle, "", nil, func(r *Removal) any { return &r.Bundle }},
	{columnCluster, "", nil, func(r *Removal) any { return &r.Cluster }},
	{columnDay, "", nil, func(r *Removal) any { return r.day }},
	{"namespace", "the Kubernetes namespace whose rows were removed", iceberg.PrimitiveTypes.String, func(r *Removal) any { return &r.Namespace }},
	{"removed_by", "who removed them", iceberg.PrimitiveTypes.String, func(r *Removal) any { return &r.By }},
	{"reason", "why", iceberg.PrimitiveTypes.String, func(r *Removal) any { return &r.Reason }},
	{"removed_ts", "when, UTC, by the clock of the machine that did", iceberg.PrimitiveTypes.Timestamp, func(r *Removal) any { return &r.Time }},
	{"row_count", "removed rows of all tables", iceberg.PrimitiveTypes.Int64, func(r *Removal) any { return &r.Rows }},
	{"files", "JSON list of the rewritten files", iceberg.PrimitiveTypes.String, func(r *Removal) any { return &r.files }},
}

// Removals lists the removals, sorted by time and bundle.
func (l *Lake) Removals(ctx context.Context) ([]Removal, error) {
	list, err := ownRows(ctx, l, removalsTable, removalsColumns, iceberg.AlwaysTrue{})
	if err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		if err := json.Unmarshal([]byte(r.files), &r.Files); err != nil {
			return nil, fmt.Errorf("reading table %s: files of bundle %s: %w", removalsTable, r.Bundle, err)
		}
	}
	slices.SortFunc(list, func(a, b Removal) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Bundle+a.Namespace, b.Bundle+b.Namespace)
	})
	return list, nil
}

// removed are the removals of one bundle.
func removed(list []Removal, id string) []Removal {
	return slices.DeleteFunc(slices.Clone(list), func(r Removal) bool { return r.Bundle != id })
}

// note adds a removal to the record.
func (l *Lake) note(ctx context.Context, r *Removal) (*table.Transaction, error) {
	data, err := json.Marshal(r.Files)
	if err != nil {
		return nil, err
	}
	r.files = string(data)
	return insert(ctx, l, removalsTable, removalsColumns, r.Bundle, r)
}

// apply replaces the bundle's files that removals rewrote.
func (s *source) apply(list []Removal) {
	for _, r := range list {
		for _, w := range r.Files {
			parts := s.parts[w.Table]
			at := slices.IndexFunc(parts, func(p part) bool { return p.path == w.Old })
			switch {
			case at < 0:
			case w.New == "":
				s.parts[w.Table] = slices.Delete(parts, at, at+1)
			default:
				parts[at] = part{w.New, transfer.File{Name: w.New, Size: w.Size, SHA256: w.SHA256}, true}
			}
		}
	}
}
