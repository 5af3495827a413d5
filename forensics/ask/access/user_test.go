package access

import "testing"

func TestUserOfHeader(t *testing.T) {
	for header, want := range map[string]string{
		"Basic dXNlcjpwYXNz": "user",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.x": "alice (claimed by the token)",
		"Bearer abc": "", "Basic %%%": "", "": "",
	} {
		if got := userOf(header); got != want {
			t.Errorf("user of %q: %q, want %q", header, got, want)
		}
	}
}

func FuzzUserOfHeader(f *testing.F) {
	f.Add("dXNlcjpwYXNz")
	f.Fuzz(func(t *testing.T, s string) {
		userOf("Bearer " + s)
		userOf("Basic " + s)
	})
}
