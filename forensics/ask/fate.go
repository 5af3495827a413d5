package ask

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Fate is the number of calls without a response whose requests had one end.
type Fate struct {
	Delivery string `json:"delivery" jsonschema:"not delivered, delivered and not answered, answered in part, answered too late, or delivery unknown (the capture does not show it)"`
	Calls    int64  `json:"calls"`
}

// FatesOf counts the calls without a response among those that a condition selects, in the order of terms.Fates.
func FatesOf(ctx context.Context, c *forensics.Case, where string, args ...any) ([]Fate, error) {
	list, _, err := Rows[Fate](ctx, c, len(terms.Fates()), "SELECT "+terms.Fate+" AS delivery, count(*) AS calls FROM calls WHERE "+where+" AND outcome = 'no_answer' GROUP BY 1", args...)
	slices.SortFunc(list, func(a, b Fate) int {
		return slices.Index(terms.Fates(), a.Delivery) - slices.Index(terms.Fates(), b.Delivery)
	})
	return list, err
}

// FateWords are the numbers of calls without a response as part of a sentence, such as "3 not delivered, 1 answered too late".
func FateWords(list []Fate) string {
	var parts []string
	for _, f := range list {
		parts = append(parts, fmt.Sprintf("%d %s", f.Calls, f.Delivery))
	}
	return strings.Join(parts, ", ")
}
