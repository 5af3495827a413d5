package forensics

import (
	"fmt"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// CaseOf returns a case without a database, for code that reads the parts of tables itself.
func CaseOf(b *bundle.Bundle) *Case {
	return &Case{bundles: []*bundle.Bundle{b}, relations: relations{tables: &sync.Map{}}}
}

// Gated remembers SQL as if it had passed the gate, and says how many texts are remembered.
func Gated(c *Case, more int) int {
	for n := range more {
		c.gated.put(fmt.Sprint(n), duck.Facts{})
	}
	return len(c.gated.facts)
}

// HasEnds reports whether a case has calls with an end that another bundle knows better.
func HasEnds(c *Case) bool { return c.ends != nil }

// IsTable reports whether questions may read a table.
func IsTable(c *Case, name string) bool { return c.isTable(name) }
