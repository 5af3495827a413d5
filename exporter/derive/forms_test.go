package derive

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestFormsAreRemembered: a remembered list is the list, for any value after any other, and the memory of all is bounded.
func TestFormsAreRemembered(t *testing.T) {
	var m formsMemo
	for round := range 3 {
		for i := range 400 {
			value, whole := fmt.Sprint("value-", i, strings.Repeat("x", i)), fmt.Sprint("Cookie: value-", i%3)
			if i%5 == 0 {
				whole = ""
			}
			if got, want := m.of(value, whole), formsOf(value, whole); !reflect.DeepEqual(got, want) {
				t.Fatalf("round %d, %q in %q: %d forms, want %d", round, value, whole, len(got), len(want))
			}
			if m.size > maxMemo {
				t.Fatalf("%d bytes are kept", m.size)
			}
		}
	}
	first := m.of("again", "")
	if second := m.of("again", ""); &first[0] != &second[0] {
		t.Error("the second list was made again")
	}
}

// TestFormsAreWrittenAsOthersDo has every form of a value, as the standards write it, with its replacement.
func TestFormsAreWrittenAsOthersDo(t *testing.T) {
	got := map[string]form{}
	for _, f := range formsOf("Ab/z\n+k~9", "") {
		if _, has := got[f.text]; !has {
			got[f.text] = f
		}
	}
	for _, tt := range []struct {
		name, text, with string
		pre, post        int
	}{
		{"hexadecimal", "41622f7a0a2b6b7e39", strings.Repeat("xx", 9), 0, 0},
		{"in capitals", "41622F7A0A2B6B7E39", strings.Repeat("xx", 9), 0, 0},
		{"percent", "%41%62%2f%7a%0a%2b%6b%7e%39", strings.Repeat("xxx", 9), 0, 0},
		{"percent, in capitals", "%41%62%2F%7A%0A%2B%6B%7E%39", strings.Repeat("xxx", 9), 0, 0},
		{"slash", `\x41\x62\x2f\x7a\x0a\x2b\x6b\x7e\x39`, strings.Repeat("xxxx", 9), 0, 0},
		{"UTF-16, little endian", "A\x00b\x00/\x00z\x00\n\x00+\x00k\x00~\x009\x00", strings.Repeat("x\x00", 9), 0, 0},
		{"UTF-16, big endian", "\x00A\x00b\x00/\x00z\x00\n\x00+\x00k\x00~\x009", strings.Repeat("\x00x", 9), 0, 0},
		{"small", "ab/z\n+k~9", "xxxxxxxxx", 0, 0},
		{"capitals", "AB/Z\n+K~9", "xxxxxxxxx", 0, 0},
		{"base64", "QWIveg", "", 0, 0},
		{"base64, aligned", "QWIvegora345", strings.Repeat("x", 12), 0, 0},
		{"base64 after 1 byte", "FiL3oKK2t+O", strings.Repeat("x", 11), 1, 1},
		{"base64 after 2 bytes", "BYi96Citrfj", strings.Repeat("x", 11), 1, 1},
		{"base64 of URLs, after 1 byte", "FiL3oKK2t-O", strings.Repeat("x", 11), 1, 1},
	} {
		f, ok := got[tt.text]
		if ok != (tt.with != "") || ok && (f.with != tt.with || f.pre != tt.pre || f.post != tt.post) {
			t.Errorf("%s, %q: %v %+v", tt.name, tt.text, ok, f)
		}
	}
}

// TestValuesAddedLater: tables that were made are made again if a value came to them.
func TestValuesAddedLater(t *testing.T) {
	s := newSearcher()
	for _, value := range []string{"first-Value.1", "other-Value.2"} {
		s.add(value, "", 0)
		s.finish()
		if _, n := s.next([]byte("of "+value), 0); n == nil || n.text != value {
			t.Errorf("%s is not found", value)
		}
	}
}
