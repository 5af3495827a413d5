package dissect

import "testing"

func TestIDNamesForgetTheOldest(t *testing.T) {
	n := NewIDNames(3)
	for _, named := range []struct {
		id   byte
		name string
	}{{0, "a"}, {1, "b"}, {1, "b again"}, {2, "c"}, {3, "d"}, {4, "e"}} {
		n.Put(ID{named.id}, named.name)
	}
	for id, want := range []string{"", "", "c", "d", "e"} {
		if got := n.Name(ID{byte(id)}); got != want {
			t.Errorf("id %d is %q, want %q", id, got, want)
		}
	}
	if len(n.names) != 3 || len(n.ring) != 3 {
		t.Errorf("%d names and %d ids are kept, want 3", len(n.names), len(n.ring))
	}
}
