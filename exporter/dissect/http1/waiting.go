package http1

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Waiting implements dissect.Waiter.
func (k *conn) Waiting(show func(*dissect.Exchange, table.CallRow)) {
	for _, c := range k.queue.All() {
		d := *c
		if d.row != nil {
			row := *d.row
			row.Headers = slices.Clone(row.Headers)
			d.row = &row
		}
		row := d.open(0)
		row.Quirks = d.quirks.names()
		httpfield.Fill(&row.Call, row.Headers)
		row.Summary = d.summary("cut")
		show(&c.x, row)
	}
}
