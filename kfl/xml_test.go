package kfl

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const order = `<?xml version="1.0" encoding="UTF-8"?>
<!-- an order -->
<s:order xmlns:s="urn:shop" id="o-17" paid="true">
  <item sku="a"><id>5</id><n>2</n></item>
  <item sku="b"><id> 7
  </id><n>1.5</n></item>
  <note>5 &lt; 7 &amp; <![CDATA[<b>]]> &#x41;&#66;</note>
  <s:total>1e2</s:total><gift/><ok>true</ok>
</s:order>`

// xmlMeanings are conditions with the rows that meet them: a is the order above, b its text in
// JSON, c a small answer, and d has no body.
var xmlMeanings = []struct{ why, src, rows string }{
	{"a body that is XML", `request.body.xml()`, "a c"},
	{"a body that is not XML", `!request.body.xml()`, "b d"},
	{"presence as a function", `has(request.body.xml().order.gift)`, "a"},
	{"the path of an element, from 0", `request.body.xml().order.item[1].id == "7"`, "a"},
	{"without an index any element", `request.body.xml().order.item.id == "7"`, "a"},
	{"another element", `request.body.xml().order.item[0].id == "7"`, ""},
	{"one past the last", `request.body.xml().order.item[2].id`, ""},
	{"text as a number", `request.body.xml().order.item[1].id == 7 && request.body.xml().order.item.n < 1.6 && request.body.xml().order.total == 100`, "a"},
	{"text that is not a number is absent", `request.body.xml().order.note > 1 || request.body.xml().order.note <= 1`, ""},
	{"text as a bool", `request.body.xml().order.ok == true && request.body.xml().order["@paid"] == true`, "a"},
	{"an attribute", `request.body.xml().order["@id"] == "o-17" && request.body.xml().order.item[1]["@sku"] == "b"`, "a"},
	{"a missing attribute", `request.body.xml().order["@none"] == "" || request.body.xml().order.item.sku`, ""},
	{"prefixes are ignored, in the query too", `request.body.xml()["x:order"].total && request.body.xml().order["s:total"]`, "a"},
	{"declarations of prefixes are not attributes", `request.body.xml().order["@s"] || request.body.xml().order["@xmlns"]`, ""},
	{"references and CDATA", `request.body.xml().order.note == "5 < 7 & <b> AB"`, "a"},
	{"the text of all descendants", `request.body.xml().order.item[0] == "52"`, "a"},
	{"an empty element is present", `request.body.xml().order.gift == ""`, "a"},
	{"search", `request.body.xml().order.note.contains("<b>") && request.body.xml().order.item["@sku"].matches("^[b-z]$")`, "a"},
	{"in a list", `request.body.xml().order.item.id in ["7", "8"] && "5" in request.body.xml().order.item.id`, "a"},
	{"elements of a list", `request.body.xml().order.item.exists(i, i.id == 7 && i.n == 1.5)`, "a"},
	{"all of a list", `request.body.xml().order.item.all(i, i["@sku"])`, "a c"},
	{"as a list of texts", `"7" in request.body.xml().order.item.map(i, i.id)`, "a"},
	{"counted", `size(request.body.xml().order.item) == 2`, "a"},
	{"a count of none", `size(request.body.xml().order.none) == 0`, "a c"},
	{"any name", `request.body.xml().*.item.id == "7" && request.body.xml().order[*].n == 2`, "a"},
	{"anywhere", `request.body.xml()..id == 7 && request.body.xml()..item.n == 2`, "a"},
	{"unlike", `request.body.xml().order.total != "5"`, "a"},
	{"negated", `!(request.body.xml().order.total == "5")`, "a b c d"},
	{"two elements compared", `request.body.xml().order.item[0].id < request.body.xml().order.item[1].id`, "a"},
	{"arithmetic", `request.body.xml().order.total / 2 == 50 && int(request.body.xml().order.item[1].id) + 1 == 8 && -request.body.xml().order.item.n == -2`, "a"},
	{"as text", `string(request.body.xml().order.total) + "x" == "1e2x"`, "a"},
	{"with other conditions", `http1 && (request.body.xml().order.total == 100 || request.body contains "5")`, "a b"},
	{"in the response", `response.body.xml().error.code == "E1"`, "c"},
	{"in both bodies", `request.body.xml().answer && response.body.xml().error`, "c"},
	{"JSON of the body is absent", `request.body.xml().order.item.exists(i, i.n == 2 && !request.body.json().order)`, "a"},
	{"nil", `request.body.xml().answer == nil`, "a b d"},
}

// testBodies searches rows for XML.
type testBodies struct {
	rows  []*testRow
	keys  []string
	fault error
}

func (b *testBodies) XML(key string, with []string, test func(string) bool) (out [][]byte, err error) {
	b.keys = append(b.keys, key)
	for _, r := range b.rows {
		for side, parts := range r.bodies {
			if len(parts) != 1 || !parts[0].isText {
				continue
			}
			text := parts[0].data
			if slices.ContainsFunc(with, func(s string) bool { return !strings.Contains(text, s) }) || !test(text) {
				continue
			}
			out = append(out, r.columns[side+"_body_sha256"].([]byte))
		}
	}
	return out, b.fault
}

func TestXMLMeaning(t *testing.T) {
	var rows []*testRow
	for range 4 {
		rows = append(rows, row(map[string]any{"protocol": "http1"}))
	}
	rows[0].body("request", order)
	rows[1].body("request", `{"order":{"item":[{"id":"5"}]}}`)
	rows[2].body("request", "\ufeff <answer>7</answer> ")
	rows[2].body("response", `<error><code>E1</code></error>`)
	db := duck(t, rows)
	env := Env{Bodies: &testBodies{rows: rows}}
	for _, m := range xmlMeanings {
		t.Run(m.why, func(t *testing.T) {
			q, err := Compile(m.src, env)
			if err != nil {
				t.Fatalf("%s\n%v", m.src, err)
			}
			var got []string
			for i, yes := range matching(t, db, rows, q) {
				if yes {
					got = append(got, string(rune('a'+i)))
				}
			}
			if strings.Join(got, " ") != m.rows {
				where, args := q.SQL()
				t.Errorf("%s\ngot  %v\nwant %s\nSQL %s\nwith %q", m.src, got, m.rows, where, args)
			}
		})
	}
}

func TestXMLNeedsBodies(t *testing.T) {
	const src = `request.body.xml().a.b == "x"`
	q, err := Compile(src, Env{})
	if err != nil || len(q.Notes()) != 1 || !strings.Contains(q.Notes()[0], "bodies of a bundle") {
		t.Fatalf("without bodies: %v, %q", err, q.Notes())
	}
	r := row(map[string]any{})
	r.body("request", "<a><b>x</b></a>")
	if _, err := answers(duck(t, []*testRow{r}), 1, q); err == nil || !strings.Contains(err.Error(), "bodies of a bundle") {
		t.Errorf("SQL without bodies: %v, want an error", err)
	}
	b := &testBodies{rows: []*testRow{r}}
	for _, s := range []string{src, src, `request.body.xml().a.b == "y"`, `response.body.xml().a.b == "x"`, `request.body.xml()["a"].b == "x"`} {
		if _, err := Compile(s, Env{Bodies: b}); err != nil {
			t.Fatal(err)
		}
	}
	if k := b.keys; len(k) != 5 || k[0] != k[1] || k[0] == k[2] || k[0] == k[3] || k[0] != k[4] {
		t.Errorf("keys %q", k)
	}
	b.fault = errors.New("the disk is away")
	if _, err := Compile(src, Env{Bodies: b}); !errors.Is(err, b.fault) {
		t.Errorf("error %v, want %v", err, b.fault)
	}
}
