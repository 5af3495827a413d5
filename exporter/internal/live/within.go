package live

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/namespaces"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// keys is the column that decides whether a row of a table is within namespaces. Tables that are not listed have no
// rows there.
var keys = map[string]string{
	"calls": "conn_id", "connections": "conn_id", "flows": "conn_id",
	"packets": "flow_id", "tcp_events": "flow_id", "anomalies": "flow_id",
	"tls_handshakes": "call_no", "objects": "call_no", "receipts": "call_no",
	"bodies": "sha256", "endpoints": "endpoint_id",
	"clocks": "", "coverage": "", // all rows, without names and counts
}

// scope is what is within namespaces in a view. A row that is about anything else is left out.
type scope struct {
	set    namespaces.Set
	conns  map[int64]bool
	flows  map[int64]bool
	calls  map[int64]bool
	ends   map[int64]bool
	bodies map[string]int64 // by hash, the first call that carried it
}

// scopeOf determines it from the tables of a view, by the rule of cuts.
func scopeOf(ctx context.Context, tables map[string][]string, in *bundle.Within) (*scope, error) {
	s := &scope{set: namespaces.Of(in.Namespaces), flows: map[int64]bool{}, calls: map[int64]bool{}, ends: map[int64]bool{}, bodies: map[string]int64{}}
	var err error
	if s.conns, err = s.set.Conns(ctx, tables, in.Owners); err != nil {
		return nil, err
	}
	for name, files := range tables {
		columns := []string{"conn_id", "src_id", "dst_id"}
		switch {
		case name == "flows":
			columns = append(columns, "flow_id")
		case namespaces.IsCalls(name):
			columns = append(columns, "call_no", "request_body_sha256", "response_body_sha256")
		case name != "connections":
			continue
		}
		err := parts.Each(ctx, files, columns, func(v []any) error {
			if conn, ok := v[0].(int64); !ok || !s.conns[conn] {
				return nil
			}
			for _, end := range v[1:3] {
				if id, ok := end.(int64); ok {
					s.ends[id] = true
				}
			}
			if len(v) == 3 {
				return nil
			}
			no, _ := v[3].(int64)
			if name == "flows" {
				s.flows[no] = true
				return nil
			}
			s.calls[no] = true
			for _, hash := range v[4:] {
				s.body(hash, no)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *scope) body(hash any, call int64) {
	h, ok := hash.(table.Hash)
	if !ok {
		return
	}
	if first, seen := s.bodies[string(h[:])]; !seen || call < first {
		s.bodies[string(h[:])] = call
	}
}

// narrow writes the part of a view that is within namespaces to another folder. Its manifest counts only that.
func narrow(ctx context.Context, whole *View, dir string, in *bundle.Within) (*bundle.Manifest, []string, error) {
	files := whole.Bundle.Payload()
	s, err := scopeOf(ctx, bundle.TableParts(files, whole.Bundle.Path), in)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	counts := make([]partCount, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, rel := range names {
		group.Go(func() error {
			to := filepath.Join(dir, filepath.FromSlash(rel))
			err := os.MkdirAll(filepath.Dir(to), 0o700)
			if err == nil {
				err = parts.Guard(func() (err error) { // it may be of another machine
					counts[i], err = s.part(whole.Bundle.Path(rel), to, tableOf(rel))
					return err
				})
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	return s.manifest(whole.Bundle.Manifest, names, counts), names, nil
}

// tableOf is the table of a part.
func tableOf(rel string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(rel, "data/tables/"), "/")
	return name
}

// partCount is what a part has within namespaces.
type partCount struct {
	rows  int64
	files map[int32]*fileCount // of table packets
}

// fileCount is what a packet file has of it.
type fileCount struct{ packets, first, last, end int64 }

// columns finds the values of a row that are not in lists.
type columns map[string]parquet.LeafColumn

func (c columns) at(row parquet.Row, name string) *parquet.Value {
	leaf, ok := c[name]
	for i := range row {
		if ok && row[i].Column() == leaf.ColumnIndex {
			return &row[i]
		}
	}
	return &parquet.Value{}
}

func (c columns) int(row parquet.Row, name string) int64 {
	switch v := c.at(row, name); v.Kind() {
	case parquet.Int32:
		return int64(v.Int32())
	case parquet.Int64:
		return v.Int64()
	}
	return -1 // no number of a row
}

func (c columns) text(row parquet.Row, name string) string {
	return string(c.at(row, name).ByteArray())
}

// set replaces a value; nil is null, or the zero value of a column that has no null.
func (c columns) set(row parquet.Row, name string, value any) {
	v, leaf := c.at(row, name), c[name]
	if value == nil && leaf.MaxDefinitionLevel > 0 {
		*v = parquet.NullValue().Level(0, 0, leaf.ColumnIndex)
		return
	}
	if value == nil {
		value = ""
	}
	*v = parquet.ValueOf(value).Level(0, leaf.MaxDefinitionLevel, leaf.ColumnIndex)
}

// part writes the rows of a part that are within the namespaces.
func (s *scope) part(from, to, name string) (n partCount, err error) {
	n.files = map[int32]*fileCount{}
	n.rows, err = rewrite(from, to, func(c columns, row parquet.Row) bool { return s.keep(c, row, name, &n) })
	return n, err
}

// rewrite writes the rows of a part that are kept, and counts them. keep may change a row.
func rewrite(from, to string, keep func(c columns, row parquet.Row) bool) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	file, err := parquet.OpenFile(in, info.Size())
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	w := parquet.NewGenericWriter[any](out, file.Schema(), parquet.DataPageVersion(1))
	n, err = keptRows(file, w, keep)
	return n, errors.Join(err, w.Close(), out.Close())
}

func keptRows(file *parquet.File, w *parquet.GenericWriter[any], keep func(c columns, row parquet.Row) bool) (n int64, err error) {
	c := columns{}
	for _, f := range file.Schema().Fields() {
		if leaf, ok := file.Schema().Lookup(f.Name()); ok {
			c[f.Name()] = leaf
		}
	}
	buf := make([]parquet.Row, 256)
	for _, group := range file.RowGroups() {
		rows := group.Rows()
		for {
			got, err := rows.ReadRows(buf)
			kept := 0
			for i, row := range buf[:got] {
				if keep(c, row) {
					buf[kept], buf[i] = row, buf[kept] // each slot keeps an array of its own, which the next read fills
					kept++
				}
			}
			n += int64(kept)
			if _, werr := w.WriteRows(buf[:kept]); werr != nil {
				return n, errors.Join(werr, rows.Close())
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return n, errors.Join(err, rows.Close())
			}
		}
		if err := rows.Close(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// keep reports whether a row is within the namespaces, and removes from it what is not.
func (s *scope) keep(c columns, row parquet.Row, name string, n *partCount) bool {
	by, listed := keys[name]
	switch {
	case !listed:
		return false
	case by == "conn_id":
		return s.conns[c.int(row, by)]
	case by == "call_no":
		return s.calls[c.int(row, by)]
	case by == "flow_id":
		if !s.flows[c.int(row, by)] {
			return false
		}
		if name == "packets" {
			n.packet(c, row)
		}
		return true
	}
	switch name {
	case "bodies": // equal bodies of all calls are one
		first, ok := s.bodies[string(c.at(row, by).ByteArray())]
		if ok && !s.calls[c.int(row, "first_call_no")] {
			c.set(row, "first_call_no", first)
			c.set(row, "content_type", nil)
		}
		return ok
	case "endpoints":
		return s.end(c, row)
	case "clocks":
		c.set(row, "source", nil)
	case "coverage":
		if c.text(row, "source") != source {
			c.set(row, "source", nil)
			c.set(row, "detail", nil)
			c.set(row, "packets", int64(0))
		}
	}
	return true
}

// end keeps an endpoint that a connection within the namespaces has. Names that only other clients looked up, and
// those of the whole ring, are left out.
func (s *scope) end(c columns, row parquet.Row) bool {
	if !s.ends[c.int(row, "endpoint_id")] {
		return false
	}
	how := c.text(row, "how_known")
	if how == "dns" { // the other end asked for it
		return true
	}
	c.set(row, "dns_name", nil)
	c.set(row, "hostname", nil)
	if slices.Contains([]string{"dns_other", "hosts", "nrb"}, how) {
		ip := c.text(row, "ip")
		c.set(row, "name", ip)
		c.set(row, "who", ip)
		c.set(row, "how_known", "none")
	}
	return true
}

func (n *partCount) packet(c columns, row parquet.Row) {
	id := int32(c.int(row, "file_id"))
	f := n.files[id]
	if f == nil {
		f = &fileCount{}
		n.files[id] = f
	}
	f.add(&fileCount{packets: 1, first: c.int(row, "ts_ns"), last: c.int(row, "ts_ns"), end: c.int(row, "offset") + c.int(row, "caplen")})
}

func (f *fileCount) add(x *fileCount) {
	if f.packets == 0 || x.first < f.first {
		f.first = x.first
	}
	f.packets, f.last, f.end = f.packets+x.packets, max(f.last, x.last), max(f.end, x.end)
}

// aroundPacket is how many bytes of a packet's block are not its data, at most.
const aroundPacket = 128 << 10

// manifest describes the part of a view. It has no counts and names of anything else.
func (s *scope) manifest(whole *bundle.Manifest, names []string, counts []partCount) *bundle.Manifest {
	m := *whole
	m.SideInputs, m.Warnings, m.Window, m.Accounts = []bundle.SideInput{}, []string{}, bundle.Window{}, bundle.Accounts{}
	if turned, ok := whole.Accounts.Counters["flow"]; ok { // readers of the tables need it
		m.Accounts.Counters = map[string]map[string]int64{"flow": turned}
	}
	m.Calls, m.Tables = map[string]int64{}, slices.Clone(whole.Tables)
	for i := range m.Tables {
		m.Tables[i].Rows = 0
	}
	files := map[int32]*fileCount{}
	for i, rel := range names {
		for k := range m.Tables {
			if t := &m.Tables[k]; t.Name == tableOf(rel) && t.Protocol == protocolOf(rel) {
				t.Rows += counts[i].rows
				if t.Protocol != "" {
					m.Calls[t.Protocol] = t.Rows
				}
			}
		}
		for id, f := range counts[i].files {
			if files[id] == nil {
				files[id] = &fileCount{}
			}
			files[id].add(f)
		}
	}
	all := fileCount{}
	m.Inputs = nil
	for _, in := range whole.Inputs {
		f := files[in.FileID]
		if f == nil {
			continue
		}
		all.add(f)
		in.Packets, in.Size = f.packets, min(in.Size, f.end+aroundPacket)
		in.FirstNs, in.LastNs = bundle.At(f.first), bundle.At(f.last)
		in.Drops, in.Secrets, in.Segment = 0, 0, nil
		in.Interfaces = slices.Clone(in.Interfaces)
		for k := range in.Interfaces {
			if i := &in.Interfaces[k]; !s.set.Comments(i.Comments) {
				i.Name, i.Description, i.Filter, i.OS, i.Hardware, i.Comments, i.Received, i.Dropped = "", "", "", "", "", nil, 0, 0
			}
		}
		m.Inputs = append(m.Inputs, in)
	}
	if m.Accounts.Packets = all.packets; all.packets > 0 {
		m.Window = bundle.Window{FirstNs: bundle.At(all.first), LastNs: bundle.At(all.last)}
	}
	return &m
}

// protocolOf is the protocol of a part of table calls.
func protocolOf(rel string) string {
	_, rest, _ := strings.Cut(rel, "/protocol=")
	name, _, _ := strings.Cut(rest, "/")
	return name
}
