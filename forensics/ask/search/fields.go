package search

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// fieldColumns are the columns of the place "fields", such as users, subjects, topics and names of
// files. Together, the places have every text of a call.
var fieldColumns = sync.OnceValue(func() []table.Column {
	list := []table.Column{{Name: "status_text", Kind: table.Text}}
	for _, c := range table.ProtocolColumns() {
		elsewhere := slices.ContainsFunc(Spots[:], func(s spot) bool { return slices.Contains(s.columns, c.Name) })
		if (c.Kind == table.Text || c.Kind == table.TextList) && !elsewhere {
			list = append(list, c)
		}
	}
	return list
})

// placeOf is where the text of a field is.
func placeOf(c table.Column) forensics.TextPlace {
	if c.Kind == table.TextList {
		return forensics.TextPlace{Columns: []string{c.Name}, Join: betweenTexts}
	}
	return forensics.TextPlace{Columns: []string{c.Name}}
}

// betweenTexts separates the texts of a list.
const betweenTexts = ", "

// fieldsIn lists the columns that calls of some rows may have.
func fieldsIn(ctx context.Context, c *forensics.Case, from string, args ...any) (list []table.Column, err error) {
	type used struct {
		Protocol string `json:"protocol"`
	}
	protocols, _, err := ask.Rows[used](ctx, c, ask.MaxLoaded, "SELECT DISTINCT protocol "+from, args...)
	for _, column := range fieldColumns() {
		has := func(u used) bool { return slices.Contains(strings.Fields(column.Protocol), u.Protocol) }
		if column.Protocol == "" || slices.ContainsFunc(protocols, has) {
			list = append(list, column)
		}
	}
	return list, err
}

// textOf is SQL for the text of a field.
func textOf(c table.Column) string {
	if c.Kind == table.TextList {
		return "array_to_string(" + c.Name + ", '" + betweenTexts + "')"
	}
	return c.Name
}

// fieldsOf reads the fields of the calls that contain the needle in one. Calls have only the columns
// of their protocols.
func fieldsOf(ctx context.Context, c *forensics.Case, list []Find) (map[ask.Key][]Header, error) {
	i := slices.IndexFunc(Spots[:], func(s spot) bool { return s.fields })
	var keys []ask.Key
	for _, f := range list {
		if f.Bits&(1<<i) != 0 {
			keys = append(keys, f.Key())
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	_, nos := ask.Split(keys)
	from := "FROM calls_raw WHERE call_no IN (SELECT no FROM " + terms.Zip("no") + ")"
	used, err := fieldsIn(ctx, c, from, nos)
	if err != nil {
		return nil, err
	}
	var pairs []string
	for _, column := range used {
		pairs = append(pairs, fmt.Sprintf("{'name': '%s', 'value': left(%s, %d), 'kind': ''}", column.Name, textOf(column), ask.MaskedText))
	}
	type row struct {
		Bundle int64    `json:"bundle"`
		No     int64    `json:"call_no"`
		Fields []Header `json:"fields"`
	}
	rows, _, err := ask.Rows[row](ctx, c, ask.MaxLoaded, fmt.Sprintf("SELECT %s, call_no, list_filter([%s], f -> f.value IS NOT NULL) AS fields %s", terms.BundleOf(c, ""), strings.Join(pairs, ", "), from), nos)
	out := map[ask.Key][]Header{}
	for _, r := range rows {
		out[ask.Key{Bundle: r.Bundle, No: r.No}] = r.Fields
	}
	return out, err
}
