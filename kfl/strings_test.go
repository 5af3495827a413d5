package kfl

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

//go:embed testdata/cel-spec.tsv
var celSpec string

// TestCELSpec runs cases of CEL's conformance suite. docs/kfl.md lists the differences: a float that
// is not a number is absent, and int() of a time returns nanoseconds.
func TestCELSpec(t *testing.T) {
	n := 0
	var queries []*Query
	var about []string
	for line := range strings.Lines(celSpec) {
		c := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(c) != 3 {
			continue // header
		}
		n++
		src := "(" + c[1] + ") == " + c[2]
		switch c[2] {
		case "true":
			src = c[1]
		case "false":
			src = "!(" + c[1] + ")"
		}
		q, err := Compile(src, Env{})
		if err != nil {
			t.Errorf("%s: %v", c[0], err)
			continue
		}
		queries, about = append(queries, q), append(about, fmt.Sprintf("%s: %s is not %s", c[0], c[1], c[2]))
	}
	got, err := answers(duck(t, []*testRow{row(map[string]any{})}), 1, queries...)
	if err != nil {
		t.Fatal(err)
	}
	for i, yes := range got {
		if !yes[0] {
			t.Error(about[i])
		}
	}
	if n < 430 {
		t.Errorf("%d cases, want 430 or more", n)
	}
}

// TestStrings tests string functions for which CEL and databases often differ.
func TestStrings(t *testing.T) {
	rows := []*testRow{row(map[string]any{"host": "Shop.Example.É", "path": "/a/b/c", "summary": "\u00a0 x \u2003", "elapsed_us": 1500})}
	db := duck(t, rows)
	for src, want := range map[string]bool{
		`host.lowerAscii() == "shop.example.É"`:           true, // only ASCII
		`host.upperAscii().endsWith("EXAMPLE.É")`:         true,
		`host.indexOf("É") == 13`:                         true, // characters, not bytes
		`host.indexOf("x.") == -1`:                        true,
		`host.substring(5, 12) == "Example"`:              true,
		`host.substring(13) == "É"`:                       true,
		`host.substring(14) == ""`:                        true,
		`host.substring(15) == ""`:                        false, // absent
		`host.substring(3, 2) == ""`:                      false,
		`path.split("/")[1] == "a"`:                       true,
		`path.split("/").join("-") == "-a-b-c"`:           true,
		`path.split("/").join() == "abc"`:                 true,
		`path.replace("/", ".") == ".a.b.c"`:              true,
		`summary.trim() == "x"`:                           true,
		`method.lowerAscii() == "get"`:                    false, // absent
		`host =~ "(?i)^shop"`:                             true,
		`elapsed > 1ms && elapsed < 2ms`:                  true,
		`cookies["session"] == "x"`:                       false,
		`size(path.split("/")) == 4 && !(host =~ "x{3}")`: true,
	} {
		q, err := Compile(src, Env{})
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := matching(t, db, rows, q)[0]; got != want {
			t.Errorf("%s is %v", src, got)
		}
	}
	for src, want := range map[string]string{
		`host.split("") == "x"`:      "expected quoted text that is not empty",
		`host.replace("a") == "x"`:   "wrong number of arguments (1) for replace",
		`host.substring("a") == "x"`: "text, expected a",
		`status_code.trim() == "x"`:  "expected text",
	} {
		if _, err := Compile(src, Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}
