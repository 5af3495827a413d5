package ask

import (
	"cmp"
	"errors"
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

var errGrouping = errors.New("parameter by: must be a field of KFL with one text, number or boolean for each call, such as dst.service; pcapsule kfl fields lists them")

// GroupingBy returns the field of a short name ("to", "from", "namespace") or of KFL.
func GroupingBy(name string) (Grouping, error) {
	name = cmp.Or(groupNames[name], name)
	f, _ := kfl.ColumnNamed(name)
	switch f.Type {
	case "text", "int", "float", "bool":
		return Grouping{Column: f.Source, field: name, quoted: f.Type == "text"}, nil
	}
	return Grouping{}, errGrouping
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
	return g.field + " == " + value
}
