package dns

import (
	"math"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Waiting implements dissect.Waiter.
func (k *conn) Waiting(show func(*dissect.Exchange, table.CallRow)) {
	for c := range k.pending.Oldest(math.MaxInt) {
		row := *c.row
		d := *c
		d.row = &row
		row.Summary = k.summary(&d, "cut")
		show(&c.x, &row)
	}
}
