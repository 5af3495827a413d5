package lake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/pcapsule/pcapsule/recorder/transfer"
	"github.com/pcapsule/pcapsule/store"
)

const tablesPrefix = "data/tables/"

// part is a Parquet file of a bundle.
type part struct {
	path string // as engines read it
	file transfer.File
	own  bool // written by the lake in place of the bundle's
}

// source is a bundle to add.
type source struct {
	Bundle
	parts map[string][]part // by table
}

// Add registers the tables of the bundle at an address, which engines must be able to read. It
// reads and verifies each file first. Without an error, added reports whether the bundle was new.
func (l *Lake) Add(ctx context.Context, address, cluster string, progress func(done, total int64)) (b Bundle, added bool, err error) {
	if len(cluster) > 200 || strings.ContainsFunc(cluster, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return b, false, fmt.Errorf("cluster %q: %w: must be at most 200 bytes of text", cluster, ErrConfig)
	}
	s, name, err := openBundle(ctx, address)
	if err != nil {
		return b, false, err
	}
	defer s.Close()
	home, err := l.cat.LoadNamespaceProperties(ctx, table.Identifier{l.namespace})
	if err != nil {
		return b, false, fmt.Errorf("opening catalog: %w", err)
	}
	if at := home["location"]; strings.HasPrefix(s.Address+"/", at+"/") {
		return b, false, fmt.Errorf("%s is in the folder of the lake's metadata, %s: %w; move the bundle", address, at, ErrConfig)
	}
	r, err := s.Find(ctx, name)
	if err != nil {
		return b, false, err
	}
	if have, err := l.Find(ctx, r.Fingerprint()); err == nil {
		return have, false, nil
	}
	if err := l.refuseRemoved(ctx, r.Fingerprint()); err != nil {
		return b, false, fmt.Errorf("%s: %w", address, err)
	}
	src, err := read(ctx, r, cluster)
	if err != nil {
		return b, false, err
	}
	if err := l.verify(ctx, r, src, progress); err != nil {
		return b, false, err
	}
	src.Added = l.now().UTC().Truncate(time.Microsecond)
	err = l.retry(ctx, func() error {
		if b, err = l.Find(ctx, src.ID); err == nil {
			added = false
			return nil
		}
		b, added = src.Bundle, true
		fault := l.register(ctx, src)
		if fault == nil {
			return nil
		}
		// Another writer may have registered the same bundle since.
		if have, err := l.Find(ctx, src.ID); err == nil {
			b, added = have, false
			return nil
		}
		return fault
	})
	return b, added && err == nil, err
}

// openBundle opens the store of a bundle.
func openBundle(ctx context.Context, address string) (*store.Store, string, error) {
	plain, query, _ := strings.Cut(address, "?")
	if err := checkPlace(plain); err != nil {
		return nil, "", err
	}
	if query == "" && strings.HasPrefix(plain, "s3://") && storeProps()["s3.endpoint"] != "" {
		query = "use_path_style=true" // as iceberg-go, and servers other than Amazon's need it
	}
	if query != "" {
		plain += "?" + query
	}
	return store.OpenBundle(ctx, plain)
}

// read reads what a bundle says of itself.
func read(ctx context.Context, r *store.Remote, cluster string) (*source, error) {
	m, err := r.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	src := &source{Bundle: Bundle{ID: r.Fingerprint(), Cluster: cluster, Name: strings.TrimSuffix(path.Base(r.Name), store.Extension), Address: r.Address(), Release: m.Tool.Release}, parts: map[string][]part{}}
	var nodes []string
	for _, in := range m.Inputs {
		nodes = append(nodes, in.Node)
	}
	slices.Sort(nodes)
	src.Nodes = strings.Trim(strings.Join(slices.Compact(nodes), ","), ",")
	if m.Window.FirstNs != nil && m.Window.LastNs != nil {
		src.First, src.Last = time.Unix(0, int64(*m.Window.FirstNs)).UTC(), time.Unix(0, int64(*m.Window.LastNs)).UTC()
	}
	for _, n := range m.Calls {
		src.Calls += n
	}
	for _, t := range m.Tables {
		src.Rows += t.Rows
	}
	for _, f := range r.Files() {
		rel, ok := strings.CutPrefix(f.Name, tablesPrefix)
		if !ok || !strings.HasSuffix(rel, ".parquet") {
			continue
		}
		name, _, _ := strings.Cut(rel, "/")
		if !plainName.MatchString(name) || isOwn(name) {
			return nil, fmt.Errorf("%s: table %q cannot be one of a lake", r.Address(), name)
		}
		src.parts[name] = append(src.parts[name], part{path: r.Address() + "/" + f.Name, file: f})
		src.Files++
		src.Bytes += f.Size
	}
	if len(src.parts) == 0 {
		return nil, fmt.Errorf("%s: %w: it has no tables", r.Address(), store.ErrNone)
	}
	return src, nil
}

// verify reads every file and compares it with its hash, also those that the lake wrote in place of the
// bundle's.
func (l *Lake) verify(ctx context.Context, r *store.Remote, src *source, progress func(done, total int64)) error {
	done := int64(0)
	for _, name := range slices.Sorted(maps.Keys(src.parts)) {
		for _, p := range src.parts[name] {
			check := r.Verify
			if p.own {
				check = l.verifyOwn
			}
			if err := check(ctx, p.file); err != nil {
				return fmt.Errorf("%s: %w", r.Address(), err)
			}
			if done += p.file.Size; progress != nil {
				progress(done, src.Bytes)
			}
		}
	}
	return nil
}

// register makes all tables of a bundle current at once.
func (l *Lake) register(ctx context.Context, src *source) error {
	var changes []*table.Transaction
	for _, name := range slices.Sorted(maps.Keys(src.parts)) {
		tx, err := l.append(ctx, name, src)
		if err != nil {
			return fmt.Errorf("table %s of %s: %w", name, src.Address, err)
		}
		changes = append(changes, tx)
		if err := l.step("listed " + name); err != nil {
			return err
		}
	}
	tx, err := l.record(ctx, src.Bundle)
	if err != nil {
		return fmt.Errorf("table %s: %w", bundlesTable, err)
	}
	return l.commit(ctx, append(changes, tx))
}

// append adds a bundle's parts to a table, with the columns that it lacks.
func (l *Lake) append(ctx context.Context, name string, src *source) (*table.Transaction, error) {
	t, list, err := l.entries(ctx, name, src)
	if err != nil {
		return nil, err
	}
	tx := t.NewTransaction()
	return tx, tx.AddDataFiles(ctx, list, iceberg.Properties{"pcapsule.bundle": src.ID})
}

// entries are those of a bundle's parts with rows, for a table that has all of their columns.
func (l *Lake) entries(ctx context.Context, name string, src *source) (t *table.Table, list []iceberg.DataFile, err error) {
	wanted, err := l.columns(ctx, src.parts[name])
	if err != nil {
		return nil, nil, err
	}
	if t, err = l.ensure(ctx, name, wanted); err != nil {
		return nil, nil, err
	}
	if err := l.grow(ctx, t, wanted); err != nil {
		return nil, nil, err
	}
	if t, err = l.load(ctx, name); err != nil {
		return nil, nil, err
	}
	for _, p := range src.parts[name] {
		f, err := l.dataFile(ctx, t, p.path, p.file.Size, src.Bundle)
		if err != nil {
			return nil, nil, err
		}
		if f.Count() > 0 { // others only have the columns
			list = append(list, f)
		}
	}
	return t, list, nil
}

// dataFile is the entry of a file with its statistics.
func (l *Lake) dataFile(ctx context.Context, t *table.Table, path string, size int64, b Bundle) (iceberg.DataFile, error) {
	fs, err := l.files(ctx, path)
	if err != nil {
		return nil, err
	}
	f, err := table.FileToDataFile(ctx, fs, path, t.Schema(), *iceberg.UnpartitionedSpec, 0, t.Properties())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.FileSizeBytes() != size {
		return nil, fmt.Errorf("%s: has %d bytes, but had %d when it was verified", path, f.FileSizeBytes(), size)
	}
	if f.Count() == 0 {
		return f, nil // it is not listed
	}
	return withConstants(f, t, b)
}

// columns is the union of the parts' columns.
func (l *Lake) columns(ctx context.Context, parts []part) (*iceberg.Schema, error) {
	var fields []iceberg.NestedField
	known := map[string]bool{}
	for _, p := range parts {
		sc, err := l.fileSchema(ctx, p.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.path, err)
		}
		for _, f := range sc.Fields() {
			if !known[f.Name] {
				known[f.Name] = true
				fields = append(fields, f)
			}
		}
	}
	return schemaOf(fields)
}

// fileSchema reads the columns of a Parquet file.
func (l *Lake) fileSchema(ctx context.Context, path string) (sc *iceberg.Schema, err error) {
	err = l.footer(ctx, path, func(m *metadata.FileMetaData) error {
		columns, err := pqarrow.FromParquet(m.Schema, nil, nil)
		if err != nil {
			return err
		}
		sc, err = table.ArrowSchemaToIcebergWithFreshIDs(columns, true)
		return err
	})
	return sc, err
}

// rows reads the number of a Parquet file's rows.
func (l *Lake) rows(ctx context.Context, path string) (n int64, err error) {
	err = l.footer(ctx, path, func(m *metadata.FileMetaData) error {
		n = m.GetNumRows()
		return nil
	})
	return n, err
}

func (l *Lake) footer(ctx context.Context, path string, use func(*metadata.FileMetaData) error) (err error) {
	defer func() {
		// arrow-go panics on some damaged footers.
		if recover() != nil {
			err = errors.New("a Parquet footer is damaged")
		}
	}()
	fs, err := l.files(ctx, path)
	if err != nil {
		return err
	}
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := file.NewParquetReader(f)
	if err != nil {
		return err
	}
	return use(r.MetaData())
}

// grow adds columns to a table. It is a change of its own: more columns without rows alter no answer.
func (l *Lake) grow(ctx context.Context, t *table.Table, wanted *iceberg.Schema) error {
	tx := t.NewTransaction()
	if err := tx.UpdateSchema(true, false, table.WithNameMapping(t.NameMapping())).UnionByNameWith(wanted).Commit(); err != nil {
		return fmt.Errorf("the bundle's columns do not fit the lake's: %w", err)
	}
	return l.commit(ctx, []*table.Transaction{tx})
}

// protocolFolder is the folder of parts that have rows of one protocol only.
var protocolFolder = regexp.MustCompile(`/calls/protocol=([a-z0-9_]+)/[^/]*$`)

// withConstants adds the partition to a file's entry, and the bounds of its columns, by which every
// engine can leave the file out.
func withConstants(f iceberg.DataFile, t *table.Table, b Bundle) (iceberg.DataFile, error) {
	values := map[string]iceberg.Literal{
		columnBundle: iceberg.NewLiteral(b.ID), columnCluster: iceberg.NewLiteral(b.Cluster), columnDay: iceberg.NewLiteral(iceberg.Date(b.Day())),
	}
	partition, logical := map[int]any{}, map[int]string{}
	counts, nulls := maps.Clone(f.ValueCounts()), maps.Clone(f.NullValueCounts())
	low, high := maps.Clone(f.LowerBoundValues()), maps.Clone(f.UpperBoundValues())
	if m := protocolFolder.FindStringSubmatch(f.FilePath()); m != nil {
		// A small part has no bounds of its own.
		if field, ok := t.Schema().FindFieldByName("protocol"); ok && low[field.ID] == nil {
			low[field.ID], high[field.ID] = []byte(m[1]), []byte(m[1])
		}
	}
	spec := t.Spec()
	for _, field := range spec.Fields() {
		source, v := field.SourceIDs[0], values[field.Name]
		if v == nil {
			return nil, fmt.Errorf("the table is partitioned by %s: another program changed it", field.Name)
		}
		partition[field.FieldID] = v.Any()
		bound, err := v.MarshalBinary()
		if err != nil {
			return nil, err
		}
		counts[source], nulls[source], low[source], high[source] = f.Count(), 0, bound, bound
		if field.Name == columnDay {
			logical[field.FieldID] = "date"
		}
	}
	built, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, f.FilePath(), iceberg.ParquetFile, partition, logical, nil, f.Count(), f.FileSizeBytes())
	if err != nil {
		return nil, err
	}
	return built.ColumnSizes(f.ColumnSizes()).ValueCounts(counts).NullValueCounts(nulls).LowerBoundValues(low).UpperBoundValues(high).SplitOffsets(f.SplitOffsets()).Build(), nil
}

// files opens the place of a path, which need not be that of the lake's metadata.
func (l *Lake) files(ctx context.Context, path string) (iceio.IO, error) {
	fs, err := iceio.LoadFS(ctx, l.props, path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return fs, nil
}
