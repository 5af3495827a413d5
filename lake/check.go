package lake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/pcapsule/pcapsule/store"
)

// Problem is something wrong in a lake.
type Problem struct {
	Table  string `json:"table,omitempty"`
	Bundle string `json:"bundle_id,omitempty"`
	What   string `json:"what"`
	Fixed  string `json:"fixed,omitempty"` // what Check did about it
}

// Options of Check.
type Options struct {
	Repair   bool
	Deep     bool          // read and hash every file
	Orphans  time.Duration // metadata files that no table names and that are older than this are reported
	Progress func(done, total int64)
}

// listed has the files of a bundle in the tables: their sizes by path.
type listed map[string]int64

// Check compares the lake with the bundles in their stores. If Repair is set, it repairs the damage
// of an interrupted writer or another program: bundles whose files are not all listed are
// registered again, files of bundles that the lake does not have are removed from the tables, and metadata that
// nothing refers to is deleted.
func (l *Lake) Check(ctx context.Context, o Options) ([]Problem, error) {
	known, err := l.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	removals, err := l.Removals(ctx)
	if err != nil {
		return nil, err
	}
	have, problems, err := l.listed(ctx)
	if err != nil {
		return nil, err
	}
	for i, b := range known {
		found, err := l.checkBundle(ctx, b, have[b.ID], removed(removals, b.ID), o)
		if err != nil {
			return problems, err
		}
		problems = append(problems, found...)
		delete(have, b.ID)
		if o.Progress != nil {
			o.Progress(int64(i+1), int64(len(known)))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		p := Problem{Bundle: id, What: fmt.Sprintf("%d files of a bundle that the lake does not have", len(have[id]))}
		if o.Repair {
			if err := l.remove(ctx, id); err != nil {
				return problems, err
			}
			p.Fixed = "taken out"
		}
		problems = append(problems, p)
	}
	orphans, err := l.orphans(ctx, o)
	return append(problems, orphans...), err
}

// listed reads which files the tables list.
func (l *Lake) listed(ctx context.Context) (map[string]listed, []Problem, error) {
	names, err := l.names(ctx)
	if err != nil {
		return nil, nil, err
	}
	have := map[string]listed{}
	problems := []Problem{}
	for _, name := range names {
		if isOwn(name) {
			continue
		}
		t, err := l.load(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		tasks, err := t.Scan().PlanFiles(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("planning table %s: %w", name, err)
		}
		for _, task := range tasks {
			id := bundleOf(t, task.File)
			if hasDeletes(task) {
				problems = append(problems, Problem{Table: name, Bundle: id, What: "another program deleted rows of " + task.File.FilePath()})
			}
			if have[id] == nil {
				have[id] = listed{}
			}
			have[id][task.File.FilePath()] = task.File.FileSizeBytes()
		}
	}
	return have, problems, nil
}

// checkBundle compares what the tables list of a bundle with the bundle in its store.
func (l *Lake) checkBundle(ctx context.Context, b Bundle, have listed, without []Removal, o Options) (problems []Problem, err error) {
	add := func(form string, args ...any) {
		problems = append(problems, Problem{Bundle: b.ID, What: fmt.Sprintf(form, args...)})
	}
	s, name, err := openBundle(ctx, b.Address)
	if err != nil {
		add("%v", err)
		return problems, nil
	}
	defer s.Close()
	r, err := s.Find(ctx, name)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		add("its store: %v", err)
		return problems, nil
	}
	if r.Fingerprint() != b.ID {
		add("%s is another bundle now, %s", b.Address, r.Fingerprint())
		return problems, nil
	}
	src, err := read(ctx, r, b.Cluster)
	if err != nil {
		add("%v", err)
		return problems, nil
	}
	src.apply(without)
	if o.Deep {
		if err := l.verify(ctx, r, src, nil); err != nil {
			add("%v", err)
			return problems, nil
		}
	}
	wanted, err := l.wanted(ctx, src)
	if err != nil {
		add("%v", err)
		return problems, nil
	}
	lacks, other := 0, 0
	for path, size := range wanted {
		if got, ok := have[path]; !ok || got != size {
			lacks++
		}
	}
	for path := range have {
		if _, ok := wanted[path]; !ok {
			other++
		}
	}
	if lacks+other == 0 {
		return nil, nil
	}
	add("the tables lack %d of its %d files and list %d others", lacks, len(wanted), other)
	if !o.Repair {
		return problems, nil
	}
	if err := l.verify(ctx, r, src, nil); err != nil {
		add("it is not repaired: %v", err)
		return problems, nil
	}
	if err := l.retry(ctx, func() error { return l.mend(ctx, src) }); err != nil {
		return problems, err
	}
	problems[len(problems)-1].Fixed = "registered again"
	return problems, nil
}

// mend makes all tables list the files of a bundle and no others of it, at once: an interrupted repair changes
// nothing, so the next one finds the same problem.
func (l *Lake) mend(ctx context.Context, src *source) error {
	names, err := l.names(ctx)
	if err != nil {
		return err
	}
	for name := range src.parts {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var changes []*table.Transaction
	for _, name := range names {
		if isOwn(name) {
			continue
		}
		tx, err := l.mendTable(ctx, name, src)
		if err != nil {
			return fmt.Errorf("table %s of %s: %w", name, src.Address, err)
		}
		if tx != nil {
			changes = append(changes, tx)
		}
		if err := l.step("mended " + name); err != nil {
			return err
		}
	}
	return l.commit(ctx, changes)
}

// mendTable makes a table list the files of a bundle, or returns nil if it does.
func (l *Lake) mendTable(ctx context.Context, name string, src *source) (*table.Transaction, error) {
	var t *table.Table
	var want []iceberg.DataFile
	var err error
	if len(src.parts[name]) > 0 {
		if t, want, err = l.entries(ctx, name, src); err != nil {
			return nil, err
		}
	}
	now, have, _, err := l.filesOf(ctx, name, src.ID)
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = now
	}
	gone, fresh := lacking(have, want), lacking(want, have)
	switch {
	case len(gone) > 0:
		return replace(ctx, t, gone, fresh, src.ID)
	case len(fresh) > 0:
		tx := t.NewTransaction()
		return tx, tx.AddDataFiles(ctx, fresh, iceberg.Properties{"pcapsule.bundle": src.ID})
	}
	return nil, nil
}

// lacking are the files of a list that another lacks.
func lacking(list, other []iceberg.DataFile) []iceberg.DataFile {
	return slices.DeleteFunc(slices.Clone(list), func(f iceberg.DataFile) bool {
		return slices.ContainsFunc(other, func(o iceberg.DataFile) bool {
			return o.FilePath() == f.FilePath() && o.FileSizeBytes() == f.FileSizeBytes()
		})
	})
}

// wanted are the files of a bundle that the tables must list: those with rows.
func (l *Lake) wanted(ctx context.Context, src *source) (listed, error) {
	out := listed{}
	for _, parts := range src.parts {
		for _, p := range parts {
			rows, err := l.rows(ctx, p.path)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.path, err)
			}
			if rows > 0 {
				out[p.path] = p.file.Size
			}
		}
	}
	return out, nil
}

// orphans finds metadata files that no table names, which writers that were killed or were slower left.
func (l *Lake) orphans(ctx context.Context, o Options) (problems []Problem, err error) {
	names, err := l.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		t, err := l.load(ctx, name)
		if err != nil {
			return problems, err
		}
		at := t.Location() // also of data that the lake wrote itself
		find := func(dry bool) (table.OrphanCleanupResult, error) {
			return t.DeleteOrphanFiles(ctx, table.WithLocation(at), table.WithFilesOlderThan(o.Orphans), table.WithDryRun(dry))
		}
		found, err := find(true)
		if err != nil {
			return problems, fmt.Errorf("looking for metadata that table %s does not name: %w", name, err)
		}
		if i := slices.IndexFunc(found.OrphanFileLocations, func(p string) bool { return strings.Contains(p, store.Extension+"/") }); i >= 0 {
			problems = append(problems, Problem{Table: name, What: "a bundle is in the folder of the lake's metadata: " + found.OrphanFileLocations[i]})
			continue
		}
		if o.Repair && len(found.OrphanFileLocations) > 0 {
			if found, err = find(false); err != nil {
				return problems, fmt.Errorf("deleting metadata that table %s does not name: %w", name, err)
			}
		}
		if n := len(found.OrphanFileLocations); n > 0 {
			p := Problem{Table: name, What: fmt.Sprintf("%d files of metadata that no table names", n)}
			if o.Repair {
				p.Fixed = fmt.Sprintf("%d deleted", len(found.DeletedFiles))
			}
			problems = append(problems, p)
		}
	}
	return problems, nil
}

// ByName returns the bundles that a word names: an id, the beginning of one with at least 8 digits, or
// a name.
func ByName(list []Bundle, word string) ([]Bundle, error) {
	found := slices.DeleteFunc(slices.Clone(list), func(b Bundle) bool {
		return b.Name != word && !(len(word) >= 8 && strings.HasPrefix(b.ID, word))
	})
	if len(found) == 0 {
		return nil, fmt.Errorf("%q: %w", word, ErrNone)
	}
	if len(found) > 1 {
		return nil, errors.Join(fmt.Errorf("%q names %d bundles; give the bundle_id", word, len(found)), ErrConfig)
	}
	return found, nil
}
