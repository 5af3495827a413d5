package duck

import (
	"cmp"
	"slices"
	"strings"
)

// Compared is a column that a query compares with texts: column = 'a', or column IN ('a', 'b').
type Compared struct {
	Column string // lower case
	Texts  []string
}

// compare remembers a comparison of a column with texts.
func (w *walk) compare(o map[string]any) {
	var parts []any
	switch str(o, "type") {
	case "COMPARE_EQUAL":
		parts = []any{o["left"], o["right"]}
		if column(parts[0]) == "" {
			slices.Reverse(parts)
		}
	case "COMPARE_IN":
		parts, _ = o["children"].([]any)
	}
	if len(parts) < 2 {
		return
	}
	found := Compared{Column: column(parts[0])}
	for _, p := range parts[1:] {
		s, ok := text(p)
		if !ok {
			return
		}
		found.Texts = append(found.Texts, s)
	}
	if found.Column != "" && len(w.compared) <= maxCompared {
		w.compared = append(w.compared, found)
	}
}

const maxCompared = 64 // comparisons of a query; of a query with more, none is remembered

// column is the last word of a reference to a column, "" for another expression.
func column(expression any) string {
	o, _ := expression.(map[string]any)
	names, _ := o["column_names"].([]any)
	if str(o, "class") != "COLUMN_REF" || len(names) == 0 {
		return ""
	}
	name, _ := names[len(names)-1].(string)
	return strings.ToLower(name)
}

// text is the value of a literal text.
func text(expression any) (string, bool) {
	o, _ := expression.(map[string]any)
	v, _ := o["value"].(map[string]any)
	kind, _ := v["type"].(map[string]any)
	s, ok := v["value"].(string)
	return s, ok && str(o, "class") == "CONSTANT" && str(kind, "id") == "VARCHAR"
}

// inOrder sorts comparisons, because an object of JSON has no order.
func inOrder(list []Compared) []Compared {
	if len(list) > maxCompared {
		return nil
	}
	slices.SortFunc(list, func(a, b Compared) int {
		return cmp.Or(cmp.Compare(a.Column, b.Column), slices.Compare(a.Texts, b.Texts))
	})
	return slices.CompactFunc(list, func(a, b Compared) bool { return a.Column == b.Column && slices.Equal(a.Texts, b.Texts) })
}
