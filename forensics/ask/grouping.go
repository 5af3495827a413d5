package ask

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/kfl"
)

// Grouping is a field by which calls are grouped.
type Grouping struct {
	Column string // of calls
	field  string // of KFL
	quoted bool   // its values are texts
}

// groupNames are short names for fields of the two ends.
var groupNames = map[string]string{"from": "src.name", "to": "dst.name", "namespace": "dst.namespace"}

// GroupingBy returns the field of a short name ("to", "from", "namespace") or of KFL. It has none if the field is no column
// with one text, number or boolean for each call.
func GroupingBy(name string) (g Grouping, ok bool) {
	f, ok := kfl.ColumnNamed(cmp.Or(groupNames[name], name))
	switch f.Type {
	case "text", "int", "float", "bool":
		return Grouping{Column: f.Source, field: cmp.Or(groupNames[name], name), quoted: f.Type == "text"}, ok
	}
	return g, false
}

// KFL is the filter for the calls with one value, as text; an empty one stands for those without a value. Values that are
// masked have none.
func (g Grouping) KFL(value string) string {
	switch {
	case strings.Contains(value, redact.Mask) || strings.Contains(value, "**"):
		return ""
	case value == "" && g.quoted:
		return "!" + g.field
	case value == "":
		return g.field + " == nil"
	case g.quoted:
		return g.field + " == " + terms.QuoteKFL(value)
	}
	if n, err := strconv.ParseFloat(value, 64); err == nil && n < 0 {
		return g.field + " == (" + strings.TrimSpace(value) + ")"
	}
	return g.field + " == " + value
}
