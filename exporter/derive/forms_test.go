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
