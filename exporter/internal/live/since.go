package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
)

// times is the column that decides whether a row is in the range of a view. A call is in it if its request is, as for
// every question about a time range. Rows of tables that are not listed are about no time.
var times = map[string]string{
	"calls": "ts_ns", "objects": "ts_ns", "packets": "ts_ns", "tcp_events": "ts_ns", "anomalies": "ts_ns",
	"k8s_events": "ts_ns", "os_events": "ts_ns", "alerts": "ts_ns",
	"connections": "last_ns", "flows": "last_ns", "coverage": "to_ns",
}

// ofCalls are tables whose rows belong to a call and have no time.
var ofCalls = []string{"receipts", "tls_handshakes"}

// linked is a part in the folder of a view.
type linked struct {
	write.Part
	rel string
}

// since removes the rows of a view that are older than its range.
type since struct {
	dir   string
	from  int64
	m     *bundle.Manifest
	first int64          // the smallest number of a call in the parts; calls before it are in no part
	old   map[int64]bool // calls that were removed
}

// cutOlder cuts a view whose parts are linked, so that every row is of its range. It returns the files that are left.
func cutOlder(ctx context.Context, dir string, from int64, m *bundle.Manifest, list []linked) (files []string, err error) {
	c := &since{dir: dir, from: from, m: m, first: math.MaxInt64, old: map[int64]bool{}}
	// Those of calls come last, when it is known which calls are left.
	slices.SortStableFunc(list, func(a, b linked) int {
		return cmp.Compare(slices.Index(ofCalls, a.Table), slices.Index(ofCalls, b.Table))
	})
	for _, p := range list {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		keep, err := c.rule(p)
		left := true
		if err == nil && keep != nil {
			left, err = c.rewrite(p, keep)
		}
		if err != nil {
			return nil, fmt.Errorf("part %s of the live bundle: %w", p.rel, err)
		}
		if left {
			files = append(files, p.rel)
		}
	}
	m.Tables = slices.DeleteFunc(m.Tables, func(t bundle.Table) bool { return t.Parts == 0 })
	c.window()
	return files, nil
}

// rule decides which rows of a part are kept; nil: all.
func (c *since) rule(p linked) (func(columns, parquet.Row) bool, error) {
	path, column := filepath.Join(c.dir, filepath.FromSlash(p.rel)), times[p.Table]
	switch {
	case p.Rows == 0:
		return nil, nil
	case slices.Contains(ofCalls, p.Table):
		return func(k columns, row parquet.Row) bool {
			no := k.int(row, "call_no")
			return no >= c.first && !c.old[no]
		}, nil
	case column == "":
		return nil, nil
	case p.Table != "calls":
		least, err := oldest(path, column)
		if err != nil || least[0] >= c.from {
			return nil, err
		}
		return func(k columns, row parquet.Row) bool {
			at := k.int(row, column)
			return at >= c.from || at == 0 // 0: unknown
		}, nil
	}
	least, err := oldest(path, column, "call_no")
	if err != nil {
		return nil, err
	}
	if c.first = min(c.first, least[1]); least[0] >= c.from {
		return nil, nil
	}
	return func(k columns, row parquet.Row) bool {
		if k.int(row, column) >= c.from {
			return true
		}
		c.old[k.int(row, "call_no")] = true
		return false
	}, nil
}

// rewrite replaces a part by one with the rows that are kept, or removes it if there are none.
func (c *since) rewrite(p linked, keep func(columns, parquet.Row) bool) (left bool, err error) {
	path := filepath.Join(c.dir, filepath.FromSlash(p.rel))
	var rows int64
	err = parts.Guard(func() (err error) { // it may be of another machine
		rows, err = rewrite(path, path+".cut", keep)
		return err
	})
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return false, err
	}
	c.count(p, p.Rows-rows)
	if rows == 0 {
		return false, os.Remove(path + ".cut")
	}
	return true, os.Rename(path+".cut", path)
}

// count takes removed rows off the counts of the manifest.
func (c *since) count(p linked, removed int64) {
	for i := range c.m.Tables {
		t := &c.m.Tables[i]
		if t.Name != p.Table || t.Protocol != p.Protocol {
			continue
		}
		if t.Rows -= removed; removed == p.Rows {
			t.Parts--
		}
	}
	switch {
	case p.Protocol != "":
		if c.m.Calls[p.Protocol] -= removed; c.m.Calls[p.Protocol] <= 0 {
			delete(c.m.Calls, p.Protocol)
		}
	case p.Table == "packets":
		c.m.Accounts.Packets -= removed
	}
}

// window makes the window of the view begin with its range.
func (c *since) window() {
	w := &c.m.Window
	if w.LastNs != nil && int64(*w.LastNs) < c.from {
		*w = bundle.Window{}
	}
	if w.FirstNs != nil && int64(*w.FirstNs) < c.from {
		w.FirstNs = bundle.At(c.from)
	}
}

// oldest reads the smallest values of columns of a part from its statistics; math.MinInt64 if they do not say it.
func oldest(path string, names ...string) ([]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	least := slices.Repeat([]int64{math.MaxInt64}, len(names))
	err = parts.Guard(func() error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		for i, name := range names {
			leaf, ok := file.Schema().Lookup(name)
			if !ok {
				return errors.New("it has no column " + name)
			}
			for _, group := range file.RowGroups() {
				at := int64(math.MinInt64)
				if chunk, ok := group.ColumnChunks()[leaf.ColumnIndex].(*parquet.FileColumnChunk); ok {
					if v, _, ok := chunk.Bounds(); ok {
						at = v.Int64()
					}
				}
				least[i] = min(least[i], at)
			}
		}
		return nil
	})
	return least, err
}
