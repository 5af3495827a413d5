package duck

import (
	"slices"
	"strings"
)

// The parts of tables that a query needs: the names of columns, and whether it may need whole tables.

func (w *walk) column(o map[string]any) {
	parts, _ := o["column_names"].([]any)
	for _, p := range parts {
		name, _ := p.(string)
		name = strings.ToLower(name)
		w.columns[name] = true
		if len(parts) == 1 {
			w.single[name] = true
		}
	}
}

// join checks a join: its columns may not be in the text.
func (w *walk) join(o map[string]any) {
	if str(o, "ref_type") == "NATURAL" {
		w.whole = true
	}
	list, _ := o["using_columns"].([]any)
	for _, x := range list {
		name, _ := x.(string)
		w.columns[strings.ToLower(name)] = true
	}
}

// node checks whether a part of a query uses all columns of a table that it reads.
func (w *walk) node(o map[string]any) {
	if w.whole || !w.reads(o["from_table"]) {
		return
	}
	for key, x := range o {
		w.whole = w.whole || key != "from_table" && hasStar(x)
	}
}

// reads reports whether a reference is a table itself, not only a subquery.
func (w *walk) reads(from any) bool {
	o, _ := from.(map[string]any)
	switch str(o, "type") {
	case "BASE_TABLE":
		name := strings.ToLower(str(o, "table_name"))
		w.aliases[name], w.aliases[strings.ToLower(str(o, "alias"))] = true, true
		names, _ := o["column_name_alias"].([]any)
		w.whole = w.whole || len(names) > 0
		return w.tables(name)
	case "JOIN":
		left, right := w.reads(o["left"]), w.reads(o["right"])
		return left || right
	case "PIVOT":
		w.whole = true
	}
	return false
}

func hasStar(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, hasStar)
	case map[string]any:
		if str(v, "class") == "STAR" {
			return true
		}
		for _, x := range v {
			if hasStar(x) {
				return true
			}
		}
	}
	return false
}

// asksWhole reports whether the query may use all columns of a table: by a star, as a row value, or
// because a name in WITH hides a table.
func (w *walk) asksWhole() bool {
	for name := range w.single {
		if w.aliases[name] {
			return true
		}
	}
	return w.whole || len(w.defined()) > 0
}

// defined lists the tables whose name a WITH defines.
func (w *walk) defined() (list []string) {
	for name := range w.ctes {
		if w.tables(name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
