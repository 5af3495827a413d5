package forensics

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/internal/texts"
)

// Types of Rows.
type (
	RowGroup  = texts.RowGroup
	RowColumn = texts.Column
)

// keptRows is the approximate size of the column cache of a Rows, in bytes.
const keptRows = 64 << 20

// Rows reads rows of a table for a question that reads a few of them many times; SQL would scan all
// row groups each time. Values are unmasked, even in a masked case. It must be used by one goroutine
// only, and needs no closing.
type Rows struct {
	read []*texts.Rows // of each bundle
}

// Rows returns a reader for a table.
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

// Each calls do for every row group of every bundle; do decides by the bounds whether to read it.
// Columns can be read until do returns. An error of do ends the walk.
func (r *Rows) Each(ctx context.Context, do func(bundle int, g *RowGroup) error) error {
	for i, rows := range r.read {
		if err := rows.Each(ctx, func(g *texts.RowGroup) error { return do(i, g) }); err != nil {
			return damage(err)
		}
	}
	return nil
}
