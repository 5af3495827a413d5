package sasl

import (
	"encoding/base64"
	"testing"
)

func TestAnswer(t *testing.T) {
	coded := func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s))) }
	for _, c := range []struct {
		name, mechanism string
		answer          []byte
		want            string
	}{
		{"PLAIN", "PLAIN", coded("\x00ann\x00secret"), "ann"},
		{"PLAIN for another identity", "PLAIN", coded("bob\x00ann\x00secret"), "ann"},
		{"PLAIN without a password", "PLAIN", coded("ann\x00secret"), ""},
		{"the user of LOGIN", "login", coded("ann"), "ann"},
		{"SCRAM", "SCRAM-SHA-256", coded("n,,n=ann,r=x"), "ann"},
		{"another mechanism", "CRAM-MD5", coded("ann 0123"), ""},
		{"no base64", "LOGIN", []byte("secret"), ""},
	} {
		if got := string(userOf(Nobody{}, c.mechanism, c.answer)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOnlyTheFirstAnswerNames checks that the password of LOGIN, the second answer, is never a user.
func TestOnlyTheFirstAnswerNames(t *testing.T) {
	ann, secret := []byte("YW5u"), []byte("c2VjcmV0")
	var a Answers
	for _, c := range []struct {
		why    string
		do     func()
		answer []byte
		want   string
	}{
		{"the first answer", func() {}, ann, "ann"},
		{"the second", func() {}, secret, ""},
		{"the second after one that is no base64", func() { a.Begin(); a.User(Nobody{}, "LOGIN", []byte("%")) }, secret, ""},
		{"the first that was captured, after one that was not", func() { a.Begin(); a.Lose() }, secret, ""},
		{"the first of another login", a.Begin, ann, "ann"},
	} {
		c.do()
		if got := string(a.User(Nobody{}, "LOGIN", c.answer)); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}
