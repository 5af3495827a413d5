package cursor

import "testing"

func TestNothingIsLeftOnceShort(t *testing.T) {
	c := New([]byte{0, 9, 1, 2})
	rounds := 0
	for ; c.Left() > 0; rounds++ { // a list whose second entry is announced too long
		if c.Skip(int(c.Uint8())); rounds > 4 {
			t.Fatal("the loop does not end")
		}
	}
	if !c.Short() || rounds != 2 || c.Used() != 2 || len(c.Rest()) != 2 {
		t.Errorf("short %v after %d rounds, %d bytes used, %d unread", c.Short(), rounds, c.Used(), len(c.Rest()))
	}
	if whole := New([]byte{1}); whole.Left() != 1 || whole.Uint8() != 1 || whole.Left() != 0 || whole.Short() {
		t.Error("a cursor that is read to its end is not short")
	}
}
