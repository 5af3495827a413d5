package table

import "testing"

func TestWeakPassword(t *testing.T) {
	for _, tt := range []struct{ user, password, want string }{
		{"root", "", "is empty"},
		{"ann", "Ann", "is the name of the user"},
		{"root", "xc3511", "is one that everybody knows"},
		{"ann", "Fj2!kdlq", ""},
		{"anonymous", "", ""},
		{"xxx", "xxx", ""},
	} {
		if got := WeakPassword(tt.user, tt.password); got != tt.want {
			t.Errorf("%s, %s: %q, want %q", tt.user, tt.password, got, tt.want)
		}
	}
}
