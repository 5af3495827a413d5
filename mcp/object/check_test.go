package object

import (
	"strings"
	"testing"
)

// TestCheck gives objects of clients. Go's decoder accepts those with two members of one name, and replaces what is no
// character.
func TestCheck(t *testing.T) {
	for _, good := range []string{`{}`, ` {"a":{"b":[1,{"a":2}],"a":[]},"b":"a"} `, `{"a":"\ud83d\ude00 \ufffd \uFFFD � "}`, `{"a":["a","a"],"n":-1e308}`, `{"a":null,"b":{"a":null}}`} {
		if err := Check([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`{"a":1,"a":2}`: `member "a" is given twice`, `{"a":1,"\u0061":2}`: "twice", `{"x":[{"a":{},"b":[],"a":1}]}`: "twice",
		`{"a":"\ud800"}`: "half of a surrogate pair", `{"\udfff\ud83d":1}`: "half", `{"a":"� \ude00"}`: "half",
		"{\"a\":\"\xff\"}": "UTF-8", `{"a":1e400}`: "1e400 is too large",
		`[]`: "must be a JSON object", `"a"`: "must be a JSON object", `null`: "must be a JSON object", `1`: "must be a JSON object",
		``: "malformed", `{`: "malformed", `{"a":1,}`: "malformed", `{"a":NaN}`: "malformed", `{"a" 1}`: "malformed", `{"a":1}x`: "malformed", `{}{}`: "more text follows",
		strings.Repeat(`{"a":`, 1001): "more than 1000 objects", `{"a":` + strings.Repeat(`[`, 1000): "more than 1000",
	} {
		if err := Check([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", bad, err, want)
		}
	}
}
