package forensics

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/pages"
)

// Aside returns the same case for one goroutine that runs several queries on the same rows: rows that
// it keeps with Keep are a table for its own queries only, until end is called. It reads one answer at
// a time.
func (c *Case) Aside(ctx context.Context) (aside *Case, end func(), err error) {
	db, err := c.db.Aside(ctx)
	if err != nil {
		return nil, nil, err
	}
	one := *c
	one.db, one.part, one.kept, one.pages = db, true, map[string]bool{}, &pages.Store{}
	return &one, db.End, nil
}

// Keep stores the rows of q, which must be SQL, as a temporary table. They count to the memory of the
// case, so callers must expect ErrMemory; nothing is stored then.
func (c *Case) Keep(ctx context.Context, name string, q Query) error {
	if c.kept == nil {
		return usagef("only a case aside keeps rows")
	}
	if q.SQL == "" {
		return usagef("only the rows of SQL are kept")
	}
	if name = strings.ToLower(name); c.isTable(name) {
		return usagef("%s is a table already", name)
	}
	p, err := c.prepare(ctx, &q)
	if err != nil {
		return err
	}
	if err := c.short(ctx, p, p.sql, p.args, func(db *duck.DB, sql string, args []any) error { return db.Keep(ctx, name, sql, args...) }); err != nil {
		return err
	}
	c.kept[name] = true
	return nil
}
