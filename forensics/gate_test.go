package forensics_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestSQLThatPassedTheGateIsRemembered(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	const text = "SELECT count(*) FROM calls WHERE call_no < ?"
	for no := range int64(3) {
		if r := query(t, c, forensics.Query{SQL: text, Args: []any{no}}); r.Rows[0][0] != no {
			t.Errorf("%v calls, want %d", r.Rows[0][0], no)
		}
	}
	if n := forensics.Gated(c, 0); n != 1 {
		t.Errorf("%d texts are remembered, want 1", n)
	}
	for range 2 {
		if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT * FROM read_text('/etc/passwd')"}); !errors.Is(err, forensics.ErrRefused) {
			t.Errorf("%v, want a refusal", err)
		}
	}
	query(t, c, forensics.Query{SQL: "SELECT 1 -- " + strings.Repeat("x", 20_000)})
	if n := forensics.Gated(c, 0); n != 1 {
		t.Errorf("%d texts are remembered after one that was refused and a long one, want 1", n)
	}
	aside, end, err := c.Aside(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if err := aside.Keep(ctx, "few", forensics.Query{SQL: "SELECT call_no FROM calls LIMIT 2"}); err != nil {
		t.Fatal(err)
	}
	before := forensics.Gated(c, 0)
	if r := query(t, aside, forensics.Query{SQL: "SELECT * FROM few"}); len(r.Rows) != 2 {
		t.Errorf("%d rows, want 2", len(r.Rows))
	}
	if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT * FROM few"}); err == nil {
		t.Error("a table of a case aside is one of the case")
	}
	if n := forensics.Gated(c, 0); n != before+1 {
		t.Errorf("%d texts are remembered, want %d: a case aside has other tables", n, before+1)
	}
	if n := forensics.Gated(c, 2000); n > 1000 {
		t.Errorf("%d texts are remembered", n)
	}
}

// TestTablesThatAreNotOfTheCase asks for each table that the database has and the case does not list,
// such as those that join overlapping bundles. They have texts as they were sent.
func TestTablesThatAreNotOfTheCase(t *testing.T) {
	client, server, _ := aCall(t, "http1.pcapng")
	paths := []string{told(t, "http1.pcapng", false, map[int64]string{client: exactly("a", "n1", 1)}), told(t, "http1.pcapng", false, map[int64]string{server: exactly("b", "n2", 2)})}
	c, err := forensics.Open(ctx, paths, forensics.Options{MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hidden := 0
	for _, row := range query(t, c, forensics.Query{SQL: "SELECT table_name, table_schema, table_catalog FROM information_schema.tables ORDER BY ALL"}).Rows {
		name, _ := row[0].(string)
		if forensics.IsTable(c, name) {
			continue
		}
		hidden++
		for _, from := range []string{name, strings.ToUpper(name), `"` + name + `"`, "main." + name, "memory.main." + name, "memory." + name, "(SELECT * FROM " + name + ")", "calls, " + name} {
			if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT count(*) FROM " + from, Alone: true}); err == nil {
				t.Errorf("FROM %s is answered", from)
			}
		}
	}
	if hidden < 3 {
		t.Errorf("%d tables of the database are not those of the case, want at least 3", hidden)
	}
	var bad *forensics.SyntaxError
	_, err = c.Query(ctx, forensics.Query{SQL: "SELECT 1\nFROM nothing"})
	if !errors.As(err, &bad) || bad.Line != 2 || bad.Col != 6 || !strings.Contains(err.Error(), "there is no table nothing") {
		t.Errorf("a table that does not exist: %v", err)
	}
}

// TestTheCatalogListsEveryTable lists tables and columns before any query has named a table.
func TestTheCatalogListsEveryTable(t *testing.T) {
	path := sample(t, "http1.pcapng")
	for _, sql := range []string{"SHOW TABLES", "SELECT name FROM (SHOW TABLES)", "SELECT table_name FROM information_schema.tables", "SELECT table_name FROM information_schema.columns"} {
		for _, mask := range []bool{false, true} {
			c, err := forensics.Open(ctx, []string{path}, forensics.Options{MaskSecrets: mask})
			if err != nil {
				t.Fatal(err)
			}
			listed := map[any]bool{}
			for _, row := range query(t, c, forensics.Query{SQL: sql, Alone: true, Limit: 10_000}).Rows {
				listed[row[0]] = true
			}
			tables, err := c.Tables()
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range tables {
				if !listed[table.Name] {
					t.Errorf("%s (masked: %v) lacks table %s", sql, mask, table.Name)
				}
			}
			c.Close()
		}
	}
}

// TestUnknownNames: an error about a name that SQL does not know says what was most likely meant, without DuckDB's words.
func TestUnknownNames(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	for sql, want := range map[string]string{
		"SELECT * FROM callz":                                  "line 1, column 15: there is no table callz in this case; did you mean calls?",
		"SELECT * FROM Connection":                             "there is no table Connection in this case; did you mean connections?",
		"SELECT * FROM xyzzy":                                  "there is no table xyzzy in this case",
		"SELECT lenght(path) FROM calls":                       "there is no function lenght; the most similar is length",
		"SELECT c.pth FROM calls c":                            `table "c" has no column "pth"`,
		"SELECT path::strng FROM calls":                        "there is no type strng; the most similar is string",
		"SELECT pth FROM calls":                                `there is no column "pth"; the most similar are "path"`,
		"SELECT 1 FROM calls WHERE protocol = dns":             `there is no column "dns" (text is in single quotes: 'dns')`,
		`SELECT 1 FROM calls WHERE "path" LIKE "/a%"`:          `there is no column "/a%" (text is in single quotes: '/a%')`,
		"SELECT 1 FROM calls WHERE protocol IN (http1, 'dns')": `there is no column "http1" (text is in single quotes: 'http1')`,
	} {
		_, err := c.Query(ctx, forensics.Query{SQL: sql})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "does not") {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
}
