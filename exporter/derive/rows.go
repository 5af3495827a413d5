package derive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// row is one row of a table with its texts, and where the bytes of the row are.
type row struct {
	table   string // calls, bodies, …
	names   []string
	values  []any
	columns map[string]int
}

func (r *row) int64(name string) (int64, bool) {
	if i, ok := r.columns[name]; ok {
		n, ok := r.values[i].(int64)
		return n, ok
	}
	return 0, false
}

func (r *row) hash(name string) (h table.Hash, ok bool) {
	if i, there := r.columns[name]; there {
		h, ok = r.values[i].(table.Hash)
	}
	return h, ok
}

// cites are the packets of the row, which may be none.
func (r *row) cites() table.Cites {
	if i, ok := r.columns["cites"]; ok {
		if c, ok := r.values[i].(table.Cites); ok {
			return c
		}
	}
	if no, ok := r.int64("packet_no"); ok {
		return table.Cites{{First: no, Last: no}}
	}
	if no, ok := r.int64("first_packet"); ok {
		if r.table == "flows" {
			return table.Cites{{First: no, Last: no}}
		}
	}
	return nil
}

// places are columns that say where a row's bytes are.
var placeColumns = []string{"cites", "packet_no", "first_packet", "conn_id", "call_no", "first_call_no", "sha256", "request_body_sha256", "response_body_sha256", "flow_id"}

// hasText reports whether a column may hold content.
func hasText(kind table.Kind) bool {
	switch kind {
	case table.Text, table.TextList, table.Bytes, table.Headers, table.Pairs:
		return true
	}
	return false
}

// walkTables visits each row of the tables that hold texts, several tables at once. begin returns
// the visitor of one table.
func walkTables(ctx context.Context, tables map[string][]string, begin func(name string) func(*row) error) error {
	var names []string
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(size(tables[b]), size(tables[a])) }) // the longest first
	errs := make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		group.Go(func() error {
			if err := walkTable(ctx, name, tables[name], begin(name)); err != nil {
				errs[i] = fmt.Errorf("reading table %s: %w", name, err)
			}
			return errs[i]
		})
	}
	if err := group.Wait(); err == nil {
		return nil
	}
	return cmp.Or(errs...) // whichever came first, the error is that of the longest table
}

// size is the size of files; 0 of those that cannot be read.
func size(files []string) (n int64) {
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

func walkTable(ctx context.Context, name string, files []string, visit func(*row) error) error {
	text := false
	rows, err := parts.ReadRows(files, func(column string, kind table.Kind) bool {
		text = text || hasText(kind)
		return hasText(kind) || slices.Contains(placeColumns, column)
	})
	if err != nil {
		return err
	}
	defer rows.Close()
	if !text {
		return nil
	}
	r := &row{table: path.Dir(name), names: rows.Columns, columns: map[string]int{}}
	if r.table == "." {
		r.table = name
	}
	for i, c := range rows.Columns {
		r.columns[c] = i
	}
	return readAhead(ctx, rows, func(values []any) error {
		r.values = values
		return visit(r)
	})
}

// aheadRows is how many rows are read before they are visited.
const aheadRows = 8

// readAhead visits each row while the next ones are read.
func readAhead(ctx context.Context, rows *parts.Rows, visit func(values []any) error) error {
	ready, free := make(chan []any, aheadRows), make(chan []any, aheadRows)
	for range aheadRows {
		free <- nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(ready)
		for {
			select {
			case values := <-free:
				values, err := rows.Next(values)
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				ready <- values // there is room for all that are not free
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	group.Go(func() error {
		for values := range ready {
			if err := visit(values); err != nil {
				return err
			}
			free <- values
		}
		return nil
	})
	return group.Wait()
}

// whereIs is the place of a packet: its file and its number in it.
type whereIs struct {
	file  int32
	index int64
}

// locate finds packets by their numbers in table packets.
func locate(ctx context.Context, tables map[string][]string, want map[int64]bool) (map[int64]whereIs, error) {
	found := make(map[int64]whereIs, len(want))
	if len(want) == 0 {
		return found, nil
	}
	err := eachPacket(ctx, tables, func(p *packetRow) {
		if want[p.no] {
			found[p.no] = whereIs{p.file, p.index}
		}
	})
	return found, err
}

// packetRow is a row of table packets.
type packetRow struct {
	no, index, ts int64
	file          int32
	flow          int64 // -1 for a packet of none
}

// eachPacket visits table packets.
func eachPacket(ctx context.Context, tables map[string][]string, visit func(p *packetRow)) error {
	return parts.Each(ctx, tables["packets"], []string{"packet_no", "file_id", "file_index", "flow_id", "ts_ns"}, func(v []any) error {
		p := packetRow{flow: -1}
		var ok [4]bool
		p.no, ok[0] = v[0].(int64)
		p.file, ok[1] = v[1].(int32)
		p.index, ok[2] = v[2].(int64)
		p.ts, ok[3] = v[4].(int64)
		if flow, there := v[3].(int64); there {
			p.flow = flow
		}
		if ok != [4]bool{true, true, true, true} {
			return errors.New("table packets has a row without a place")
		}
		visit(&p)
		return nil
	})
}

// flowsOf lists the flows of connections, and their addresses. Without conns it lists all.
func flowsOf(ctx context.Context, tables map[string][]string, conns map[int64]bool) (flows map[int64]bool, addrs map[string]bool, err error) {
	flows, addrs = map[int64]bool{}, map[string]bool{}
	err = parts.Each(ctx, tables["flows"], []string{"flow_id", "conn_id", "src_ip", "dst_ip"}, func(v []any) error {
		flow, ok1 := v[0].(int64)
		conn, ok2 := v[1].(int64)
		if ok1 && ok2 && (conns == nil || conns[conn]) {
			flows[flow] = true
			for _, ip := range v[2:] {
				if s, ok := ip.(string); ok {
					addrs[s] = true
				}
			}
		}
		return nil
	})
	return flows, addrs, err
}
