package ask

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Between are the lowest and highest values of a number in an input.
type Between struct{ Low, High int64 }

const maxMillis = 1 << 42 // year 2109

// Numbers has the bounds of every number in the inputs of questions and tools, by name. A number
// outside them is an error, on the command line and in servers; it is never replaced by a bound.
var Numbers = map[string]Between{
	"limit": {1, MaxRows}, "depth": {1, 10}, "min_ms": {0, 1e12}, "max_body": {1, MaxBody}, "max_payload_size": {1, MaxBody}, "max_bytes": {MinAnswer, MaxAnswer},
	"timestamp": {0, maxMillis}, "start_time": {0, maxMillis}, "end_time": {0, maxMillis},
}

// Bound writes the bounds of its numbers into the schema of an input, except those that it has already.
func Bound(in *jsonschema.Schema) {
	for name, b := range Numbers {
		if s := in.Properties[name]; s != nil && s.Maximum == nil && (s.Type == "integer" || s.Type == "number") {
			s.Minimum, s.Maximum = jsonschema.Ptr(float64(b.Low)), jsonschema.Ptr(float64(b.High))
		}
	}
}

// InBounds checks the numbers that an input gives, and the texts of which only some are allowed, against its schema. An
// empty text is not given.
func InBounds(in *jsonschema.Schema, given map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		s := in.Properties[name]
		if s == nil {
			continue
		}
		if err := allowed(name, s, given[name]); err != nil {
			return err
		}
		if err := short(name, given[name]); err != nil {
			return err
		}
		if s.Minimum == nil || s.Maximum == nil {
			continue
		}
		n, ok := given[name].(float64)
		whole := s.Type != "integer" || n == math.Trunc(n)
		switch {
		case ok && !(*s.Minimum <= n && n <= *s.Maximum):
			return Wrong(name, "must be %.0f to %.0f, not %v", *s.Minimum, *s.Maximum, n)
		case ok && !whole:
			return Wrong(name, "must be a whole number, not %v", n)
		}
	}
	return nil
}

// maxText limits texts that are a name, an id, a time or a pattern. A query would repeat a longer one until it is too
// long itself. documents have limits of their own.
const maxText = 4 << 10

var documents = []string{"accept", "cursor", "kfl", "rules", "sql"}

// short checks the length of a text, or of each text of a list.
func short(name string, given any) error {
	if slices.Contains(documents, name) {
		return nil
	}
	texts, list := given.([]any)
	if !list {
		texts = []any{given}
	}
	for _, x := range texts {
		if text, ok := x.(string); ok && len(text) > maxText {
			return Wrong(name, "must have at most %d bytes, not %d", maxText, len(text))
		}
	}
	return nil
}

// allowed checks a text, or each text of a list, against the values that Allow states.
func allowed(name string, s *jsonschema.Schema, given any) error {
	values := Allowed(s)
	if len(values) == 0 {
		return nil
	}
	texts, list := given.([]any)
	if !list {
		texts = []any{given}
	}
	for _, x := range texts {
		if text, ok := x.(string); ok && !slices.Contains(values, text) && (list || text != "") {
			if len(values) > maxShown {
				return Wrong(name, "unknown value %q; %s", Clip(text, 60), cmp.Or(nearest.Hint(text, values), "use some of "+Clip(strings.Join(values, ", "), 400)))
			}
			last := len(values) - 1
			return Malformed(name, strings.Join(values[:last], ", ")+" or "+values[last], text)
		}
	}
	return nil
}
