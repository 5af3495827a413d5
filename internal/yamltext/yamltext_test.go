package yamltext

import (
	"errors"
	"testing"

	"go.yaml.in/yaml/v4"
)

func TestEmptyFile(t *testing.T) {
	var v struct{}
	if err := Error(yaml.Load([]byte(""), &v)); err == nil || err.Error() != "the file is empty" {
		t.Error(err)
	}
}

func TestError(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"hello", `line 1: found text "hello" instead of a mapping`},
		{"foo: 1", `line 1: unknown field "foo"`},
		{"n: 1\nn: 2", `line 2: mapping key "n" already defined at line 1`},
		{"n: x", `line 1: found text "x" instead of a number`},
		{"n: 99999999999999999999", `line 1: 9999999... is out of range`},
		{"\nlist: x", `line 2: found text "x" instead of a list`},
		{"words: [1]", `line 1: found a list instead of a mapping`},
		{"yes: 3\nfoo: 2", `line 1: found a number "3" instead of true or false; line 2: unknown field "foo"`},
		{"a: 1\nb: 1\nc: 1\nd: 1\ne: 1", `line 1: unknown field "a"; line 2: unknown field "b"; line 3: unknown field "c"; and 2 more`},
		{"n: [1\n", `line 2: a list in brackets needs , or ] here`},
		{"\t- x", "line 1: a tab, @, ` or % cannot begin a value; indent with spaces, and put the value in quotes"},
		{"n: 1\n--- x\n}", `only one document is allowed: remove ---`},
		{"{n: 1}\n{n: 2}", `line 2: text after the end of the document: check the indentation`},
		{"list: - a", `line 1: a - cannot begin an item here: put it on a line of its own`},
		{"list: [!<x", `line 1: a tag needs > here`},
		{"list: ,", `line 1: expected a value`},
		{"\xff\xd8\xff\xe0", "the file is not text in UTF-8"},
		{"n: \x00", "the file is not text in UTF-8"},
		{"n: 1", ""},
	} {
		var into struct {
			N     int            `yaml:"n"`
			List  []string       `yaml:"list"`
			Words map[string]int `yaml:"words"`
			Yes   bool           `yaml:"yes"`
		}
		got := ""
		if err := Error(yaml.Load([]byte(c.text), &into, yaml.WithKnownFields())); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if other := errors.New("other"); Error(other) != other {
		t.Error("another error is changed")
	}
}
