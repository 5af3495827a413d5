package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/store"
)

// Kept is the reason why a bundle must stay in the lake.
type Kept struct {
	Bundle Bundle
	Err    error // wraps ErrHeld, or says why its custody log could not be read
}

// Expire removes bundles from the lake: those for which may is true. A bundle whose custody log has
// a legal hold, or a retention that has not ended, stays, and so does one whose log cannot be read.
// The files of the bundles are not touched.
func (l *Lake) Expire(ctx context.Context, now time.Time, may func(Bundle) bool) (gone []Bundle, kept []Kept, err error) {
	list, err := l.Bundles(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range list {
		if !may(b) {
			continue
		}
		if err := retained(ctx, b, now); err != nil {
			kept = append(kept, Kept{b, err})
			continue
		}
		if err := l.remove(ctx, b.ID); err != nil {
			return gone, kept, err
		}
		gone = append(gone, b)
	}
	return gone, kept, nil
}

// retained returns an error if the bundle's custody log says that it must be kept. A bundle that is no
// longer in its store is not kept by anything.
func retained(ctx context.Context, b Bundle, now time.Time) error {
	s, name, err := openBundle(ctx, b.Address)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := s.Find(ctx, name)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	log, err := r.Custody(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keep := bundle.RetentionOf(log)
	switch {
	case keep.Hold != nil:
		return fmt.Errorf("%w: legal hold since %s", ErrHeld, time.Unix(0, int64(keep.Hold.Time)).UTC().Format(time.DateOnly))
	case now.Before(keep.Until):
		return fmt.Errorf("%w until %s", ErrHeld, keep.Until.Format(time.DateOnly))
	}
	return nil
}

// remove takes all files of a bundle out of all tables at once, and the snapshots that had them.
func (l *Lake) remove(ctx context.Context, id string) error {
	err := l.retry(ctx, func() error {
		names, err := l.names(ctx)
		if err != nil {
			return err
		}
		var changes []*table.Transaction
		for _, name := range names {
			if name == removalsTable { // a record stays
				continue
			}
			tx, err := l.without(ctx, name, id)
			if err != nil {
				return fmt.Errorf("table %s: %w", name, err)
			}
			if tx != nil {
				changes = append(changes, tx)
			}
		}
		return l.commit(ctx, changes)
	})
	if err != nil {
		return fmt.Errorf("removing bundle %s: %w", id, err)
	}
	return nil
}

// without removes a bundle's files from a table, or returns nil if there are none.
func (l *Lake) without(ctx context.Context, name, id string) (*table.Transaction, error) {
	t, list, _, err := l.filesOf(ctx, name, id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return replace(ctx, t, list, nil, id)
}

// bundleOf returns the bundle that a file of a table belongs to, empty if the entry does not say.
func bundleOf(t *table.Table, f iceberg.DataFile) string {
	spec := t.Spec()
	for _, field := range spec.Fields() {
		if field.Name == columnBundle {
			id, _ := f.Partition()[field.FieldID].(string)
			return id
		}
	}
	return ""
}
