package lake

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// Tables of the lake's own.
const (
	bundlesTable  = "bundles"
	removalsTable = "removals"
)

// Bundle is a bundle in the lake: a row of table bundles.
type Bundle struct {
	ID      string    `json:"bundle_id"`
	Cluster string    `json:"cluster"`
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Nodes   string    `json:"nodes"` // with commas between them
	Release string    `json:"release"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Calls   int64     `json:"calls"`
	Rows    int64     `json:"rows"`
	Files   int64     `json:"files"`
	Bytes   int64     `json:"bytes"`
	Added   time.Time `json:"added"`
	Removed []string  `json:"removed_namespaces,omitempty"` // whose rows the tables lack; only Selected says it
}

// Day is the UTC day on which the bundle begins, in days since 1970.
func (b *Bundle) Day() int32 {
	if b.First.IsZero() {
		return 0
	}
	return int32(b.First.Unix() / 86400)
}

// bundlesColumns are those of table bundles.
var bundlesColumns = []ownColumn[Bundle]{
	{columnBundle, "", nil, func(b *Bundle) any { return &b.ID }},
	{columnCluster, "", nil, func(b *Bundle) any { return &b.Cluster }},
	{columnDay, "", nil, func(b *Bundle) any { return b.Day() }},
	{"name", "the bundle's name", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Name }},
	{"address", "where the bundle is", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Address }},
	{"nodes", "the recorders' nodes, with commas between them", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Nodes }},
	{"release", "the release that made the bundle", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Release }},
	{"first_ts", "the first packet, UTC", iceberg.PrimitiveTypes.Timestamp, func(b *Bundle) any { return &b.First }},
	{"last_ts", "the last packet, UTC", iceberg.PrimitiveTypes.Timestamp, func(b *Bundle) any { return &b.Last }},
	{"calls", "calls in the bundle", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Calls }},
	{"row_count", "rows of all tables", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Rows }},
	{"file_count", "files of all tables", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Files }},
	{"byte_count", "bytes of these files", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Bytes }},
	{"added_ts", "when it was added, UTC, by the clock of the machine that did", iceberg.PrimitiveTypes.Timestamp, func(b *Bundle) any { return &b.Added }},
}

// record adds a bundle to table bundles.
func (l *Lake) record(ctx context.Context, b Bundle) (*table.Transaction, error) {
	return insert(ctx, l, bundlesTable, bundlesColumns, b.ID, &b)
}

// Bundles lists the bundles of the lake, sorted by the time of their first packet and their id.
func (l *Lake) Bundles(ctx context.Context) ([]Bundle, error) {
	return l.bundles(ctx, iceberg.AlwaysTrue{})
}

// Find returns the bundle with an id, or an error that wraps ErrNone.
func (l *Lake) Find(ctx context.Context, id string) (Bundle, error) {
	list, err := l.bundles(ctx, iceberg.EqualTo(iceberg.Reference(columnBundle), id))
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("bundle %s: %w", id, ErrNone)
	}
	if err != nil {
		return Bundle{}, err
	}
	return list[0], nil
}

func (l *Lake) bundles(ctx context.Context, which iceberg.BooleanExpression) ([]Bundle, error) {
	list, err := ownRows(ctx, l, bundlesTable, bundlesColumns, which)
	slices.SortFunc(list, func(a, b Bundle) int {
		return cmp.Or(a.First.Compare(b.First), strings.Compare(a.ID, b.ID))
	})
	return list, err
}
