package forensics

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/internal/texts"
)

// What Rows gives.
type (
	RowGroup  = texts.RowGroup
	RowColumn = texts.Column
)

// keptRows is about how many bytes of columns a Rows remembers.
const keptRows = 64 << 20

// Rows reads the rows of a table where a question goes to few of them many times, which SQL
// would look for in all row groups each time. Values are as they were sent, also in a case
// that masks credentials. It is for one goroutine, and needs no closing.
type Rows struct {
	read []*texts.Rows // of each bundle
}

// Rows makes a reader of a table's rows.
func (c *Case) Rows(table string) (*Rows, error) {
	r := &Rows{}
	for i := range c.bundles {
		t, err := c.textsOf(i, table)
		if err != nil {
			return nil, err
		}
		rows, err := t.Rows(keptRows / len(c.bundles))
		if err != nil {
			return nil, err
		}
		r.read = append(r.read, rows)
	}
	return r, nil
}

// Each gives every row group of every bundle to do, which says by its bounds whether it
// reads it. Columns can be read until do returns. An error ends it.
func (r *Rows) Each(ctx context.Context, do func(bundle int, g *RowGroup) error) error {
	for i, rows := range r.read {
		if err := rows.Each(ctx, func(g *texts.RowGroup) error { return do(i, g) }); err != nil {
			return damage(err)
		}
	}
	return nil
}
