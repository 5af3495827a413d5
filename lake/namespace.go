package lake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// RemoveNamespace removes the rows of a Kubernetes namespace from all tables of all bundles, and records
// it. Files that have such rows are rewritten without them, as files of the lake; the bundles stay
// unchanged. If one of the bundles must be kept, nothing is removed, and kept names them. All tables of a
// bundle change at once; bundles that are done stay done if a later one fails.
func (l *Lake) RemoveNamespace(ctx context.Context, namespace, by, reason string, now time.Time) (done []Removal, kept []Kept, err error) {
	for what, text := range map[string]string{"namespace": namespace, "name": by, "reason": reason} {
		if text == "" || len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, nil, fmt.Errorf("the %s %q is %w: must be one line of text, at most 1,000 bytes", what, text, ErrConfig)
		}
	}
	ids, err := l.having(ctx, namespace)
	if err != nil {
		return nil, nil, err
	}
	all, err := l.Bundles(ctx)
	if err != nil {
		return nil, nil, err
	}
	list := slices.DeleteFunc(all, func(b Bundle) bool { return !ids[b.ID] })
	for _, b := range list {
		if err := retained(ctx, b, now); err != nil {
			kept = append(kept, Kept{b, err})
		}
	}
	if len(kept) > 0 {
		return nil, kept, nil
	}
	for _, b := range list {
		r := Removal{Bundle: b.ID, Cluster: b.Cluster, day: b.Day(), Namespace: namespace, By: by, Reason: reason, Time: now.UTC().Truncate(time.Microsecond)}
		old := []string{}
		err := l.retry(ctx, func() (err error) {
			r.Rows, r.Files = 0, nil
			old, err = l.removeRows(ctx, b, &r)
			return err
		})
		if err != nil {
			return done, nil, fmt.Errorf("removing namespace %s from bundle %s: %w", namespace, b.Address, err)
		}
		if r.Rows > 0 {
			done = append(done, r)
		}
		if err := l.discard(ctx, old); err != nil {
			return done, nil, err
		}
	}
	return done, nil, nil
}

// having returns the bundles that have rows of a namespace, as far as statistics tell.
func (l *Lake) having(ctx context.Context, namespace string) (map[string]bool, error) {
	ids := map[string]bool{}
	names, err := l.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		t, err := l.load(ctx, name)
		if err != nil {
			return nil, err
		}
		if _, ok := t.Schema().FindFieldByName(columnNamespace); !ok || isOwn(name) {
			continue
		}
		tasks, err := t.Scan(table.WithRowFilter(iceberg.EqualTo(iceberg.Reference(columnNamespace), namespace))).PlanFiles(ctx)
		if err != nil {
			return nil, fmt.Errorf("planning table %s: %w", name, err)
		}
		for _, task := range tasks {
			ids[bundleOf(t, task.File)] = true
		}
	}
	return ids, nil
}

func isOwn(name string) bool { return name == bundlesTable || name == removalsTable }

// removeRows changes the tables of one bundle. It returns files of the lake that nothing lists any longer.
func (l *Lake) removeRows(ctx context.Context, b Bundle, r *Removal) (old []string, err error) {
	names, err := l.names(ctx)
	if err != nil {
		return nil, err
	}
	lists := map[string][]iceberg.DataFile{}
	tables := map[string]*table.Table{}
	for _, name := range names {
		if isOwn(name) {
			continue
		}
		var deleted bool
		if tables[name], lists[name], deleted, err = l.filesOf(ctx, name, b.ID); err != nil {
			return nil, err
		}
		if deleted { // the rows would come back
			return nil, fmt.Errorf("%w: another program deleted rows of table %s; expire the bundle and add it again", ErrConfig, name)
		}
	}
	if err := l.verifyBefore(ctx, b, lists); err != nil {
		return nil, err
	}
	e := &erasure{lake: l, namespace: r.Namespace}
	if err := e.find(ctx, lists); err != nil {
		return nil, err
	}
	var changes []*table.Transaction
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		gone, fresh, err := l.rewrite(ctx, tables[name], lists[name], e, b, r)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		if len(gone) == 0 {
			continue
		}
		for _, f := range gone {
			if strings.HasPrefix(f.FilePath(), tables[name].Location()+"/") {
				old = append(old, f.FilePath())
			}
		}
		tx, err := replace(ctx, tables[name], gone, fresh, b.ID)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		changes = append(changes, tx)
	}
	if r.Rows == 0 {
		return nil, nil
	}
	tx, err := l.note(ctx, r)
	if err != nil {
		return nil, err
	}
	return old, l.commit(ctx, append(changes, tx))
}

// filesOf returns a table and the files of a bundle in it. deleted says that another program deleted some of
// their rows.
func (l *Lake) filesOf(ctx context.Context, name, id string) (t *table.Table, list []iceberg.DataFile, deleted bool, err error) {
	if t, err = l.load(ctx, name); err != nil {
		return nil, nil, false, err
	}
	tasks, err := t.Scan(table.WithRowFilter(iceberg.EqualTo(iceberg.Reference(columnBundle), id))).PlanFiles(ctx)
	if err != nil {
		return nil, nil, false, fmt.Errorf("planning table %s: %w", name, err)
	}
	for _, task := range tasks {
		if bundleOf(t, task.File) == id {
			list = append(list, task.File)
			deleted = deleted || hasDeletes(task)
		}
	}
	return t, list, deleted, nil
}

func hasDeletes(task table.FileScanTask) bool {
	return len(task.DeleteFiles)+len(task.EqualityDeleteFiles)+len(task.DeletionVectorFiles) > 0
}

// verifyBefore compares the files that are going to be read with what the bundle or the record of earlier
// removals say.
func (l *Lake) verifyBefore(ctx context.Context, b Bundle, lists map[string][]iceberg.DataFile) error {
	s, name, err := openBundle(ctx, b.Address)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := s.Find(ctx, name)
	if err != nil {
		return err
	}
	if r.Fingerprint() != b.ID {
		return fmt.Errorf("%w: %s is another bundle now, %s", ErrNone, b.Address, r.Fingerprint())
	}
	src, err := read(ctx, r, b.Cluster)
	if err != nil {
		return err
	}
	all, err := l.Removals(ctx)
	if err != nil {
		return err
	}
	src.apply(removed(all, b.ID))
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		for _, f := range lists[name] {
			if !slices.ContainsFunc(src.parts[name], func(p part) bool { return p.path == f.FilePath() }) {
				return fmt.Errorf("%w: table %s lists %s, which does not belong to this bundle; pcapsule-lake check --repair repairs it", ErrConfig, name, f.FilePath())
			}
		}
	}
	return l.verify(ctx, r, src, nil)
}

// replace lists other files of a bundle in a table, and removes the snapshots that had the old ones.
func replace(ctx context.Context, t *table.Table, gone, fresh []iceberg.DataFile, id string) (*table.Transaction, error) {
	tx := t.NewTransaction()
	if err := tx.ReplaceDataFilesWithDataFiles(ctx, gone, fresh, iceberg.Properties{"pcapsule.removed": id}); err != nil {
		return nil, err
	}
	// No snapshot may show the rows any longer. Without the hook, no file is deleted.
	if err := tx.SetProperties(iceberg.Properties{table.GCEnabledKey: "true"}); err != nil {
		return nil, err
	}
	if err := tx.ExpireSnapshots(table.WithOlderThan(0), table.WithRetainLast(1), table.WithPostCommit(false)); err != nil {
		return nil, err
	}
	return tx, tx.SetProperties(iceberg.Properties{table.GCEnabledKey: "false"})
}

// discard deletes files of the lake.
func (l *Lake) discard(ctx context.Context, paths []string) error {
	for _, path := range paths {
		fs, err := l.files(ctx, path)
		if err != nil {
			return err
		}
		if err := fs.Remove(path); err != nil {
			return fmt.Errorf("deleting %s: %w", path, err)
		}
	}
	return nil
}

// refuseRemoved returns an error if rows of a bundle were removed: adding it again would show them.
func (l *Lake) refuseRemoved(ctx context.Context, id string) error {
	list, err := l.Removals(ctx)
	if err != nil {
		return err
	}
	for _, r := range removed(list, id) {
		return fmt.Errorf("%w: rows of namespace %s were removed from it on %s, and adding it would show them again; redact it and add the result", ErrRemoved, r.Namespace, r.Time.Format(time.DateOnly))
	}
	return nil
}
