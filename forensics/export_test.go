package forensics

import (
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// CaseOf returns a case without a database, for code that reads the parts of tables itself.
func CaseOf(b *bundle.Bundle) *Case { return &Case{bundles: []*bundle.Bundle{b}, tables: &sync.Map{}} }
