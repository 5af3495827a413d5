package sasl

import "testing"

func TestKind(t *testing.T) {
	for in, want := range map[string]string{"PLAIN": "password", "login": "password", "XOAUTH2": "bearer", "SCRAM-SHA-256": "scram-sha-256", "GSS-SPNEGO": "gss-spnego"} {
		if got := Kind(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]bool{"SCRAM-SHA-256-PLUS": true, "": false, "PLAIN AGE": false, "A-NAME-THAT-IS-TOO-LONG": false} {
		if got := Valid([]byte(in)); got != want {
			t.Errorf("%q: valid %v", in, got)
		}
	}
}
