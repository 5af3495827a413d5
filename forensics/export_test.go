package forensics

import (
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// CaseOf is a case without a database, for what reads the parts of tables itself.
func CaseOf(b *bundle.Bundle) *Case { return &Case{bundles: []*bundle.Bundle{b}, tables: &sync.Map{}} }

// OlderColumns are columns that views make for bundles of earlier releases.
var OlderColumns = []struct{ Table, Column, SQL string }{
	{"calls", "outcome", olderOutcome}, {"calls", "endpoint", olderEndpoint}, {"endpoints", "who", olderWho},
}
