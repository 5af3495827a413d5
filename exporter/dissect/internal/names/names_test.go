package names

import "testing"

func TestRead(t *testing.T) {
	all := Read("# comment\n[a]\n1 one\n0x10 sixteen words\n-1 none\n\n[b]\n1 eins\n")
	for _, c := range []struct {
		table  string
		number int64
		want   string
	}{{"a", 1, "one"}, {"a", 16, "sixteen words"}, {"a", -1, "none"}, {"b", 1, "eins"}, {"b", 2, "b_2"}} {
		if got := all[c.table].Name(c.number, c.table+"_"); got != c.want {
			t.Errorf("%s %d: %q, want %q", c.table, c.number, got, c.want)
		}
	}
	for _, bad := range []string{"1 one\n", "[a]\none 1\n", "[a]\n1\n", "[a]\n1 one\n1 two\n"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was accepted", bad)
				}
			}()
			Read(bad)
		}()
	}
}
