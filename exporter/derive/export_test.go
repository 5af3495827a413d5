package derive

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// Find returns the first place in the tables of a bundle where a text is.
func Find(ctx context.Context, b *bundle.Bundle, text string) (place string) {
	var mu sync.Mutex
	err := walkTables(ctx, exporter.TablesOf(b), func(name string) func(*row) error {
		return func(r *row) error {
			for i, v := range r.values {
				s := fmt.Sprintf("%s", v)
				if strings.Contains(s, text) {
					mu.Lock()
					place = name + ", column " + r.names[i] + ": " + s
					mu.Unlock()
				}
			}
			return nil
		}
	})
	if err != nil {
		return err.Error()
	}
	return place
}
