package lake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

const (
	columnNamespace = "namespace"
	maxNumber       = 1 << 31 // local numbers count from 0 without gaps; a set of them has a bit for each
)

// numbers is a set of a bundle's local numbers.
type numbers []uint64

func (s *numbers) add(n int64) error {
	if n < 0 || n >= maxNumber {
		return fmt.Errorf("number %d is outside 0 to %d", n, int64(maxNumber))
	}
	if i := int(n / 64); i >= len(*s) {
		*s = append(*s, make([]uint64, i+1-len(*s))...)
	}
	(*s)[n/64] |= 1 << (n % 64)
	return nil
}

func (s numbers) has(n int64) bool { return n >= 0 && n/64 < int64(len(s)) && s[n/64]&(1<<(n%64)) != 0 }

// erasure knows which rows of a bundle belong to a namespace: those of its endpoints and objects, and those
// of each connection that has one of its endpoints.
type erasure struct {
	lake                           *Lake
	namespace                      string
	endpoints, conns, flows, calls numbers
	bodies, uids, containers, ips  map[string]bool
}

// unattributed are tables whose rows are of recorders and files, not of traffic.
var unattributed = []string{"clocks", "coverage"}

// find reads the tables that tell which rows belong to the namespace.
func (e *erasure) find(ctx context.Context, lists map[string][]iceberg.DataFile) error {
	e.bodies, e.uids, e.containers, e.ips = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	in := func(v row) bool { s, ok := v.text(columnNamespace); return ok && s == e.namespace }
	put := func(set map[string]bool, v row, column string) {
		if s, ok := v.text(column); ok && s != "" {
			set[s] = true
		}
	}
	steps := []struct {
		table   string
		columns []string
		use     func(row) error
	}{
		{"endpoints", []string{columnNamespace, "endpoint_id", "pod_uid", "container_id", "ip"}, func(v row) error {
			id, ok := v.number("endpoint_id")
			if !in(v) || !ok {
				return nil
			}
			put(e.uids, v, "pod_uid")
			put(e.containers, v, "container_id")
			put(e.ips, v, "ip")
			return e.endpoints.add(id)
		}},
		{"workloads", []string{columnNamespace, "uid", "addresses"}, func(v row) error {
			if in(v) {
				put(e.uids, v, "uid")
				for _, s := range v.texts("addresses") {
					e.ips[s] = true
				}
			}
			return nil
		}},
		{"flows", []string{"conn_id", "src_id", "dst_id"}, e.connection},
		{"calls", []string{"conn_id", "src_id", "dst_id"}, e.connection},
		{"flows", []string{"conn_id", "flow_id"}, func(v row) error { return e.follow(v, "flow_id", &e.flows) }},
		{"calls", []string{"conn_id", "call_no", "request_body_sha256", "response_body_sha256"}, func(v row) error {
			if conn, ok := v.number("conn_id"); ok && e.conns.has(conn) {
				put(e.bodies, v, "request_body_sha256")
				put(e.bodies, v, "response_body_sha256")
			}
			return e.follow(v, "call_no", &e.calls)
		}},
	}
	for _, s := range steps {
		for _, f := range lists[s.table] {
			if err := e.lake.eachBatch(ctx, f.FilePath(), s.columns, func(batch arrow.RecordBatch) error {
				for i := range int(batch.NumRows()) {
					if err := s.use(row{batch, i}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return fmt.Errorf("table %s: %w", s.table, err)
			}
		}
	}
	return nil
}

// connection marks the connection of a row that has an endpoint of the namespace.
func (e *erasure) connection(v row) error {
	for _, column := range []string{"src_id", "dst_id"} {
		if id, ok := v.number(column); ok && e.endpoints.has(id) {
			if conn, ok := v.number("conn_id"); ok {
				return e.conns.add(conn)
			}
		}
	}
	return nil
}

// follow marks a row's number if its connection is marked.
func (e *erasure) follow(v row, column string, to *numbers) error {
	conn, ok := v.number("conn_id")
	n, has := v.number(column)
	if !ok || !has || !e.conns.has(conn) {
		return nil
	}
	return to.add(n)
}

// keys are the columns by which rows belong to the namespace.
func (e *erasure) keys(name string) (ids map[string]numbers, texts map[string]map[string]bool) {
	ids = map[string]numbers{"endpoint_id": e.endpoints, "src_id": e.endpoints, "dst_id": e.endpoints, "conn_id": e.conns, "flow_id": e.flows, "call_no": e.calls, "first_call_no": e.calls}
	texts = map[string]map[string]bool{columnNamespace: {e.namespace: true}, "pod_uid": e.uids, "uid": e.uids, "container_id": e.containers, "local_ip": e.ips, "remote_ip": e.ips}
	switch name {
	case "bodies":
		texts["sha256"] = e.bodies
	case "alerts": // those of no flow too
		texts["src_ip"], texts["dst_ip"] = e.ips, e.ips
	}
	return ids, texts
}

// columns are the names of the columns that keys has.
func (e *erasure) columns(name string) (list []string) {
	ids, texts := e.keys(name)
	for c := range ids {
		list = append(list, c)
	}
	for c := range texts {
		list = append(list, c)
	}
	slices.Sort(list)
	return list
}

// kept says for each row of a batch whether it stays.
func (e *erasure) kept(name string, batch arrow.RecordBatch) (mask arrow.Array, removed int64) {
	ids, texts := e.keys(name)
	gone := make([]bool, batch.NumRows())
	for _, f := range batch.Schema().Fields() {
		set, words := ids[f.Name], texts[f.Name]
		if len(set)+len(words) == 0 {
			continue
		}
		for i := range gone {
			v := row{batch, i}
			if n, ok := v.number(f.Name); ok && set.has(n) {
				gone[i] = true
			} else if s, ok := v.text(f.Name); ok && words[s] {
				gone[i] = true
			}
		}
	}
	out := array.NewBooleanBuilder(memory.DefaultAllocator)
	defer out.Release()
	for _, g := range gone {
		out.Append(!g)
		if g {
			removed++
		}
	}
	return out.NewArray(), removed
}

// rewrite rewrites the files that have rows of the namespace. It returns those, and their
// successors.
func (l *Lake) rewrite(ctx context.Context, t *table.Table, list []iceberg.DataFile, e *erasure, b Bundle, r *Removal) (gone, fresh []iceberg.DataFile, err error) {
	name := nameOf(t)
	known := func(c string) bool { _, ok := t.Schema().FindFieldByName(c); return ok }
	if !slices.ContainsFunc(e.columns(name), known) && !slices.Contains(unattributed, name) {
		return nil, nil, fmt.Errorf("%w: it has no column that tells whose a row is; expire the bundle instead", ErrConfig)
	}
	for _, f := range list {
		n := int64(0)
		err := l.eachBatch(ctx, f.FilePath(), e.columns(name), func(batch arrow.RecordBatch) error {
			mask, k := e.kept(name, batch)
			mask.Release()
			n += k
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		if n == 0 {
			continue
		}
		w := Rewrite{Table: name, Old: f.FilePath(), Rows: n}
		if n < f.Count() {
			at := strings.LastIndex(w.Old, "/"+tablesPrefix+name+"/")
			if at < 0 {
				return nil, nil, fmt.Errorf("%w: %s is not in the folder of a bundle's table", ErrConfig, w.Old)
			}
			w.New = fmt.Sprintf("%s/data/%s-%d%s", t.Location(), b.ID, r.Time.UnixMicro(), w.Old[at:])
			if err := l.writeKept(ctx, &w, e); err != nil {
				return nil, nil, err
			}
			df, err := l.dataFile(ctx, t, w.New, w.Size, b)
			if err != nil {
				return nil, nil, err
			}
			fresh = append(fresh, df)
		}
		gone, r.Files, r.Rows = append(gone, f), append(r.Files, w), r.Rows+n
		if err := l.step("rewritten " + name); err != nil {
			return nil, nil, err
		}
	}
	return gone, fresh, nil
}

func nameOf(t *table.Table) string { return t.Identifier()[len(t.Identifier())-1] }

// writeKept writes a file's other rows, a row group for each of its row groups.
func (l *Lake) writeKept(ctx context.Context, w *Rewrite, e *erasure) (err error) {
	fs, err := l.files(ctx, w.New)
	if err != nil {
		return err
	}
	wfs, ok := fs.(iceio.WriteFileIO)
	if !ok {
		return fmt.Errorf("%s cannot be written", w.New)
	}
	to, err := wfs.Create(w.New)
	if err != nil {
		return fmt.Errorf("writing %s: %w", w.New, err)
	}
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(to, sum)}
	var out *pqarrow.FileWriter
	err = l.eachBatch(ctx, w.Old, nil, func(batch arrow.RecordBatch) error {
		mask, _ := e.kept(w.Table, batch)
		defer mask.Release()
		kept, err := compute.FilterRecordBatch(ctx, batch, mask, compute.DefaultFilterOptions())
		if err != nil {
			return err
		}
		defer kept.Release()
		if out == nil {
			props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDataPageVersion(parquet.DataPageV1))
			if out, err = pqarrow.NewFileWriter(batch.Schema(), counted, props, pqarrow.DefaultWriterProps()); err != nil {
				return err
			}
		}
		if kept.NumRows() == 0 {
			return nil
		}
		return out.Write(kept)
	})
	if out != nil {
		err = errors.Join(err, out.Close())
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", w.New, err), l.discard(context.WithoutCancel(ctx), []string{w.New}))
	}
	w.Size, w.SHA256 = counted.n, fmt.Sprintf("%x", sum.Sum(nil))
	return nil
}
