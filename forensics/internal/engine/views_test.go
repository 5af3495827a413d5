package engine

import (
	"slices"
	"strconv"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// TestViewsThatAQueryNames checks that no view that a query names is overlooked: DuckDB would not find it,
// or find that of another kind.
func TestViewsThatAQueryNames(t *testing.T) {
	d := &database{kinds: []*kindOf{{views: map[string]string{}}}}
	for _, v := range []wire.Views{{Names: []string{"calls", "flows"}, SQL: []string{"", ""}}, {Kind: 1, Names: []string{"calls"}, SQL: []string{""}}, {Kind: 2}} {
		if err := d.define(&v); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		kind   int
		sql    string
		hidden []string
		want   []string
	}{
		{0, "SELECT 1", nil, nil},
		{0, "FROM calls", nil, []string{"0 calls"}},
		{2, "FROM calls", nil, []string{"0 calls"}},
		{1, "FROM calls, flows", nil, []string{"1 calls", "0 flows"}},
		{1, "FROM memory.main.calls", nil, []string{"0 calls"}},
		{1, "FROM main.Calls", nil, []string{"1 calls"}},
		{0, "FROM 'calls'", nil, []string{"0 calls"}},
		{0, `FROM"CALLS"c`, nil, []string{"0 calls"}},
		{1, `FROM memory."main"."calls"`, nil, []string{"0 calls"}},
		{0, `FROM/*it's*/calls--"`, nil, []string{"0 calls"}},
		{0, "SELECT\ncalls.x/flows.y FROM calls,flows", nil, []string{"0 calls", "0 flows"}},
		{0, "FROM read_parquet(['/d/tables/calls/part-000.parquet', 'd:\\calls\\x'])", nil, nil},
		{0, "SET allowed_directories=['/d/my-calls', '/d/it''s flows', '/d/script-show']", nil, nil},
		{0, `SELECT E'it\'s flows', 'a--b', $$it's flows$$, $t$ flows' $t$ FROM calls WHERE x = ''`, nil, []string{"0 calls"}},
		{0, "SELECT '', 'flows', 'x y' FROM 'calls' WHERE a = '' AND b = 'x y'", nil, []string{"0 calls"}},
		{0, "SELECT coalesce(a, '') || coalesce(b, '') FROM calls", nil, []string{"0 calls"}},
		{0, "SELECT $$$$, $a$calls$a$ FROM x JOIN flows", nil, []string{"0 flows"}},
		{0, "FROM x JOIN 'flows' ON a IN ('calls', 'x')", nil, []string{"0 flows"}},
		{0, "SELECT $1, 'it' -- don't\nFROM calls -- flows", nil, []string{"0 calls"}},
		{0, "SELECT 'never ends FROM calls", nil, []string{"0 calls"}},
		{0, "SHOW TABLES", nil, []string{"0 calls", "0 flows"}},
		{0, `from ( show/**/tables)`, nil, []string{"0 calls", "0 flows"}},
		{0, `FROM "information_schema".columns`, nil, []string{"0 calls", "0 flows"}},
		{0, "WITH calls AS (SELECT 1) FROM calls", []string{"calls"}, nil},
		{0, "WITH calls AS (SELECT 1) FROM main.calls", []string{"calls"}, []string{"0 calls"}},
	} {
		var got []string
		for _, v := range d.named(x.kind, x.sql, x.hidden) {
			got = append(got, strconv.Itoa(v.kind)+" "+v.name)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%d %s: %q, want %q", x.kind, x.sql, got, x.want)
		}
	}
}
