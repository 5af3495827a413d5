package exporter

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

var update = flag.Bool("update", false, "rewrite the columns in docs/format and the lists in exporter/table")

// TestTablesPage compares the pages that list columns and the lists for packages that do not dissect
// with the schemas.
func TestTablesPage(t *testing.T) {
	files := map[string]string{
		"table/protocols.tsv": table.FormatProtocolColumns(Schemas()[0]),
		"table/traits.json":   table.FormatTraits(traits()),
	}
	own := columnsOfPages(t, files)
	files["../docs/format/tables.md"] = tablesPage(own)
	for path, want := range files {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the schemas say; run go test ./exporter -run TablesPage -update", path)
		}
	}
}

// columnsOfPages adds the pages of protocols, each with the columns that begin with its name, and returns
// the names of these columns.
func columnsOfPages(t *testing.T, files map[string]string) map[string]bool {
	const folder, start, end = "../docs/format/protocols/", "<!-- columns -->\n", "<!-- end -->"
	pages, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, page := range pages {
		raw, err := os.ReadFile(folder + page.Name())
		if err != nil {
			t.Fatal(err)
		}
		head, rest, ok := strings.Cut(string(raw), start)
		_, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Errorf("%s has no place for its columns: want %s%s", page.Name(), start, end)
			continue
		}
		list := "| column | type | meaning |\n|---|---|---|\n"
		for _, c := range Schemas()[0].Columns {
			if c.Protocol == "" || !strings.HasPrefix(c.Name, strings.TrimSuffix(page.Name(), ".md")+"_") {
				continue
			}
			own[c.Name] = true
			unit := ""
			if c.Unit != "" {
				unit = ", " + c.Unit
			}
			list += fmt.Sprintf("| `%s` | %s%s | %s |\n", c.Name, c.Kind, unit, strings.ReplaceAll(c.Doc, "|", `\|`))
		}
		files[folder+page.Name()] = head + start + list + end + tail
	}
	return own
}

// tablesPage is the page of all tables, without the columns that pages of protocols list.
func tablesPage(own map[string]bool) string {
	var b strings.Builder
	b.WriteString("# Tables\n\nEvery table of a bundle with its columns, as `pcapsule schema` prints them. A name has the same type in every\n" +
		"table. Counts are BIGINT; there is no floating point. Times are nanoseconds since 1970 UTC if the name ends in\n" +
		"`_ns`, microseconds if it ends in `_us`; `ts` is a TIMESTAMP in microseconds UTC. Addresses are text in the form of\n" +
		"RFC 5952. Text is UTF-8. parts.md describes the files, how bytes that are not UTF-8 are stored, and the digests of\n" +
		"rows.\n" +
		"\nThe views of `data/open.sql` add the columns of both ends to calls, flows and connections, as `src_…` and `dst_…`\n" +
		"(src_pod, dst_service, …).\n" +
		"\nTable calls has columns of each protocol too, which begin with its name: its [page](protocols/) lists them,\n" +
		"`pcapsule schema calls` prints all. A query of pcapsule may name any of them; `SELECT *` has only those of\n" +
		"protocols that the opened bundles have calls of, and those that the query names. [calls](calls.md) says more.\n")
	for _, s := range Schemas() {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| column | type | meaning |\n|---|---|---|\n", s.Name, strings.ToUpper(s.Doc[:1])+s.Doc[1:])
		for _, c := range s.Columns {
			if own[c.Name] {
				continue
			}
			typ := strings.ReplaceAll(c.Kind.String(), `"`, "")
			for _, more := range []string{c.Unit, c.Protocol} {
				if more != "" {
					typ += ", " + more
				}
			}
			if c.Optional {
				typ += ", null"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, typ, c.Doc)
		}
	}
	return b.String()
}

// TestColumnsHaveOneType checks that every column name has one type in all tables.
func TestColumnsHaveOneType(t *testing.T) {
	types := map[string]string{}
	where := map[string]string{}
	for _, s := range Schemas() {
		for _, c := range s.Columns {
			if old, ok := types[c.Name]; ok && old != c.Kind.String() {
				t.Errorf("%s is %s in %s and %s in %s", c.Name, old, where[c.Name], c.Kind, s.Name)
			}
			types[c.Name], where[c.Name] = c.Kind.String(), s.Name
			if strings.ToLower(c.Name) != c.Name || strings.ContainsAny(c.Name, " -.") {
				t.Errorf("%s.%s: want snake case", s.Name, c.Name)
			}
		}
	}
}
