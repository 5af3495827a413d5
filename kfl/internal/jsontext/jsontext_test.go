package jsontext

import (
	"fmt"
	"testing"
)

func TestValues(t *testing.T) {
	const doc = `{"a": [1, {"b": "x\u00e9"}, null,], "a": 2, "c": {"b": true, "d": NaN}, "b": {"b": -1.5}}`
	if !Valid(" " + doc + "\n") {
		t.Fatal("the text is refused")
	}
	at := func(path ...string) string {
		s, ok := At(doc, path)
		return fmt.Sprintf("%s %v", s, ok)
	}
	list, _ := At(doc, []string{"a"})
	object, _ := At(doc, []string{"c"})
	members, ok := Members(object)
	text, _ := Text(`"x\u00e9\n"`)
	for _, tt := range []struct{ what, got, want string }{
		{"the first of two equal keys", at("a"), `[1, {"b": "x\u00e9"}, null,] true`},
		{"an element", at("a", "1", "b"), `"x\u00e9" true`},
		{"one past the last", at("a", "3"), " false"},
		{"a missing key", at("c", "x"), " false"},
		{"elements", fmt.Sprint(Elements(list)), `[1 {"b": "x\u00e9"} null]`},
		{"values of an object", fmt.Sprint(members, ok), "[true NaN] true"},
		{"a key anywhere", fmt.Sprint(Deep(doc, "b")), `["x\u00e9" true -1.5]`},
		{"a text", text, "xé\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if _, ok := Members("1"); ok {
		t.Error("a number has members")
	}
	for _, s := range []string{"", "{", `{"a" 1}`, `["a]`, "1 2", `{"a":1}}`, "\"\x01\"", "+1", "nul"} {
		if Valid(s) {
			t.Errorf("%q counts as JSON", s)
		}
	}
}
