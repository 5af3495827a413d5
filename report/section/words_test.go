package section

import "testing"

func TestCommonName(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"a certificate goes by its common name", commonName(`O=A\, CN=no,CN=www.example,C=US`), "www.example"},
		{"or by all of its name", commonName(`O=A\`), `O=A\`},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if floorDiv(-1, 10) != -1 || floorDiv(-10, 10) != -1 || floorDiv(9, 10) != 0 {
		t.Error("buckets before 1970 are cut to zero")
	}
}
