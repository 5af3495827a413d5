package sasl

import "testing"

func TestKind(t *testing.T) {
	for in, want := range map[string]string{"PLAIN": "password", "login": "password", "AMQPLAIN": "password", "XOAUTH2": "bearer", "SCRAM-SHA-256": "scram-sha-256", "GSS-SPNEGO": "gss-spnego"} {
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

func TestUser(t *testing.T) {
	for _, c := range []struct{ mechanism, token, want string }{
		{"PLAIN", "\x00ann\x00s3cret", "ann"}, {"plain", "admin\x00ann\x00s3\x00cret", "ann"}, {"PLAIN", "ann\x00s3cret", ""},
		{"SCRAM-SHA-256", "n,,n=a=2Cb=3Dc,r=nonce", "a,b=c"}, {"SCRAM-SHA-1", "c=biws,r=nonce,p=proof", ""}, {"GSSAPI", "n,,n=ann", ""}, {"", "\x00ann\x00s3cret", ""},
	} {
		if got := string(User(Nobody{}, c.mechanism, []byte(c.token))); got != c.want {
			t.Errorf("%s %q: user %q, want %q", c.mechanism, c.token, got, c.want)
		}
	}
}
