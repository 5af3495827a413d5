package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
)

// Selection selects the rows of a question. Zero fields do not select.
type Selection struct {
	Since, Until time.Time // of a row's time; Until is not included
	Protocols    []string
	Clusters     []string
	Bundles      []string // ids
}

// File is a Parquet file that may have selected rows.
type File struct {
	Table   string `json:"table"`
	Path    string `json:"path"`
	Bundle  string `json:"bundle_id"`
	Cluster string `json:"cluster"`
	Day     string `json:"day"`
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"`
}

// Files lists the files of a table that may have selected rows, by the statistics that the lake keeps,
// sorted by path. total is the number of the table's files.
func (l *Lake) Files(ctx context.Context, name string, s Selection) (list []File, total int, err error) {
	t, err := l.cat.LoadTable(ctx, l.ident(name))
	if errors.Is(err, catalog.ErrNoSuchTable) {
		return nil, 0, fmt.Errorf("table %s: %w", name, ErrNone)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("loading table %s: %w", name, err)
	}
	tasks, err := t.Scan(table.WithRowFilter(s.filter(t.Schema()))).PlanFiles(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("planning table %s: %w", name, err)
	}
	known, err := l.Bundles(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, task := range tasks {
		if hasDeletes(task) {
			return nil, 0, fmt.Errorf("table %s: another program deleted rows of %s, and such deletions are not read; run pcapsule lake check", name, task.File.FilePath())
		}
		id := bundleOf(t, task.File)
		at := slices.IndexFunc(known, func(b Bundle) bool { return b.ID == id })
		if at < 0 {
			return nil, 0, fmt.Errorf("table %s: %s belongs to no bundle of the lake; pcapsule-lake check --repair removes it", name, task.File.FilePath())
		}
		b := known[at]
		list = append(list, File{name, task.File.FilePath(), id, b.Cluster, time.Unix(int64(b.Day())*86400, 0).UTC().Format(time.DateOnly), task.File.Count(), task.File.FileSizeBytes()})
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if snap := t.CurrentSnapshot(); snap != nil && snap.Summary != nil {
		fmt.Sscan(snap.Summary.Properties["total-data-files"], &total)
	}
	return list, total, nil
}

// Selected lists the bundles that have selected rows, judged by table calls.
func (l *Lake) Selected(ctx context.Context, s Selection) ([]Bundle, error) {
	files, _, err := l.Files(ctx, "calls", s)
	if err != nil {
		return nil, err
	}
	all, err := l.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(b Bundle) bool {
		return !slices.ContainsFunc(files, func(f File) bool { return f.Bundle == b.ID })
	})
	removals, err := l.Removals(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		for _, r := range removed(removals, all[i].ID) {
			all[i].Removed = append(all[i].Removed, r.Namespace)
		}
	}
	return all, nil
}

// filter is the selection as far as a table has the columns.
func (s Selection) filter(sc *iceberg.Schema) iceberg.BooleanExpression {
	var out iceberg.BooleanExpression = iceberg.AlwaysTrue{}
	add := func(column string, e iceberg.BooleanExpression) {
		if _, ok := sc.FindFieldByName(column); ok {
			out = iceberg.NewAnd(out, e)
		}
	}
	if !s.Since.IsZero() {
		add("ts", iceberg.GreaterThanEqual(iceberg.Reference("ts"), iceberg.Timestamp(s.Since.UnixMicro())))
	}
	if !s.Until.IsZero() {
		add("ts", iceberg.LessThan(iceberg.Reference("ts"), iceberg.Timestamp(s.Until.UnixMicro())))
	}
	for column, list := range map[string][]string{"protocol": s.Protocols, columnCluster: s.Clusters, columnBundle: s.Bundles} {
		if len(list) > 0 {
			add(column, iceberg.IsIn(iceberg.Reference(column), list...))
		}
	}
	return out
}
