package derive

import (
	"context"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"sync"

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
	errs := make([]error, len(names))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				if err := walkTable(ctx, names[i], tables[names[i]], begin(names[i])); err != nil {
					errs[i] = fmt.Errorf("reading table %s: %w", names[i], err)
				}
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
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
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.values, err = rows.Next(r.values); err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(r); err != nil {
			return err
		}
	}
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
	err := eachPacket(ctx, tables, func(no, index int64, file int32, _ int64) {
		if want[no] {
			found[no] = whereIs{file, index}
		}
	})
	return found, err
}

// eachPacket visits table packets; flow is -1 for a packet of none.
func eachPacket(ctx context.Context, tables map[string][]string, visit func(no, index int64, file int32, flow int64)) error {
	columns := []string{"packet_no", "file_id", "file_index", "flow_id"}
	rows, err := parts.ReadRows(tables["packets"], func(name string, _ table.Kind) bool { return slices.Contains(columns, name) })
	if err != nil {
		return err
	}
	defer rows.Close()
	at := map[string]int{}
	for i, c := range rows.Columns {
		at[c] = i
	}
	var values []any
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if values, err = rows.Next(values); err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		no, ok1 := values[at["packet_no"]].(int64)
		file, ok2 := values[at["file_id"]].(int32)
		index, ok3 := values[at["file_index"]].(int64)
		flow, ok := values[at["flow_id"]].(int64)
		if !ok {
			flow = -1
		}
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("table packets has a row without a place")
		}
		visit(no, index, file, flow)
	}
}

// flowsOf lists the flows of connections.
func flowsOf(ctx context.Context, tables map[string][]string, conns map[int64]bool) (map[int64]bool, error) {
	flows := map[int64]bool{}
	if len(conns) == 0 {
		return flows, nil
	}
	rows, err := parts.ReadRows(tables["flows"], func(name string, _ table.Kind) bool { return name == "flow_id" || name == "conn_id" })
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var values []any
	for ctx.Err() == nil {
		if values, err = rows.Next(values); err == io.EOF {
			return flows, nil
		}
		if err != nil {
			return nil, err
		}
		flow, _ := values[slices.Index(rows.Columns, "flow_id")].(int64)
		conn, _ := values[slices.Index(rows.Columns, "conn_id")].(int64)
		if conns[conn] {
			flows[flow] = true
		}
	}
	return nil, context.Cause(ctx)
}
