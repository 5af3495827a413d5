package thrift

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// everyKind has a value of each type, as Apache Thrift for Python writes it.
const (
	everyKind = `[1,"S:m",1,7,{"1":{"tf":1},"2":{"i8":-5},"3":{"i16":300},"-4":{"i32":-77},"5":{"i64":1099511627776},"6":{"dbl":1.5},"7":{"dbl":"NaN"},` +
		`"8":{"str":"a\"é, ]"},"9":{"rec":{"1":{"rec":{"1":{"rec":{"1":{"rec":{"1":{"lst":["i32",2,1,-2]},"2":{"i32":6}}}}}}}}},"10":{"lst":["i64",2,1,-2]},"11":{"set":["str",1,"x"]},` +
		`"12":{"map":["i32","lst",2,{"5":["tf",1,0],"6":["i8",0]}]},"13":{"uid":"00112233-4455-6677-8899-aabbccddeeff"}}]`
	everyText = `1: true, 2: -5, 3: 300, -4: -77, 5: 1099511627776, 6: 1.5, 7: NaN, 8: "a\"é, ]", 9: {1: {1: {1: {1: [1, -2], 2: 6}}}}, 10: [1, -2], 11: {"x"}, ` +
		`12: {5: [false], 6: []}, 13: 00112233-4455-6677-8899-aabbccddeeff`
)

func readJSON(text string, lost bool) (head, *values, bool) {
	x := content.NewExchange(&table.Call{}, content.Body{Lost: lost, Get: func() []byte { return []byte(text) }}, content.Body{})
	return readBody(&x.Request)
}

func TestJSON(t *testing.T) {
	h, v, ok := readJSON(everyKind, false)
	if !ok || h.name != "S:m" || h.kind != kindCall || h.sequence != 7 || !h.json || string(v.text) != everyText {
		t.Errorf("%v %+v\n got %s\nwant %s", ok, h, v.text, everyText)
	}
	for _, c := range []struct{ name, text string }{
		{"another version", `[2,"m",1,1,{}]`},
		{"a name that is not one", `[1,5,1,1,{}]`},
		{"a part too many", `[1,"m",1,1,{},0]`},
		{"a part too few", `[1,"m",1,1]`},
		{"an array instead of arguments", `[1,"m",1,1,[]]`},
		{"a field without a number", `[1,"m",1,1,{"a":{"i32":1}}]`},
		{"a field without a value", `[1,"m",1,1,{"1":{}}]`},
		{"an unknown type", `[1,"m",1,1,{"1":{"int":1}}]`},
		{"a number that its type cannot have", `[1,"m",1,1,{"1":{"i8":128}}]`},
		{"a text as a number", `[1,"m",1,1,{"1":{"i32":"x"}}]`},
		{"an object as a text", `[1,"m",1,1,{"1":{"str":{}}}]`},
		{"a map without its pairs", `[1,"m",1,1,{"1":{"map":["i32","i32",0]}}]`},
		{"a list without its type", `[1,"m",1,1,{"1":{"lst":[]}}]`},
		{"elements beyond the announced one, which are a field in TBinaryProtocol", `[1,"m",1,1,{"1":{"lst":["i8",1,1,3,0,5,9]}}]`},
		{"such pairs", `[1,"m",1,1,{"1":{"map":["i8","i8",0,{"3":0,"5":9}]}}]`},
		{"the end is missing", `[1,"m",1,1,{"1":{"i32":1}}`},
		{"too many nested structs", `[1,"m",1,1,` + strings.Repeat(`{"1":{"rec":`, maxDepth) + `{}` + strings.Repeat(`}}`, maxDepth) + `]`},
	} {
		if _, v, ok := readJSON(c.text, false); ok {
			t.Errorf("%s: read as %s", c.name, v.text)
		}
	}
}

// TestCutJSON cuts a message everywhere: what is shown of it must be the beginning of what the whole says.
func TestCutJSON(t *testing.T) {
	read := 0
	for n := range len(everyKind) {
		_, v, ok := readJSON(everyKind[:n], true)
		if !ok {
			continue
		}
		read++
		if text := string(v.text); !strings.HasPrefix(everyText, text) {
			t.Errorf("of %s:\n got %s\nwant the beginning of %s", everyKind[:n], text, everyText)
		}
	}
	if read != len(everyKind)-len(`[1,"S:m",1,7,`) {
		t.Errorf("%d of %d beginnings were read", read, len(everyKind))
	}
}
