package redact

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestAGlanceHidesNothing compares the quick check of statements and commands with full parsing.
func TestAGlanceHidesNothing(t *testing.T) {
	own, err := Parse([]byte("version: 1\nextends: none\nkeys: [pin, 'x_*', user.card]\nexcept: [x_y]\ndetectors: [email]\n"))
	if err != nil {
		t.Fatal(err)
	}
	pieces := []string{"SELECT", "INSERT INTO users (name, password) VALUES", "('a', 'b')", "(1, 'hunter')", "password", "pass_word", "api-key", "api key", "pin", "a-pin", "x_1", "x-y", "user", ".", "card", "= 'abc'", "=", "'", "IDENTIFIED BY 'x'",
		"AUTH", "HELLO 3", "--token", "-p", "SET user:7:session_token", "abc", "x", ":", "/", " ", " ", "\n", ";", "é", "\u212a", "pass%77ord", "{\"pin\":1}", "<pin>", "$1", "4111111111111111", "a@example.com", "Bearer abc.def", "→", "(", ")", ",", "[", "\\", "&", "12"}
	r := rand.New(rand.NewPCG(1, 2))
	quick := 0
	for range 40_000 {
		var b strings.Builder
		for range 1 + r.IntN(8) {
			b.WriteString(pieces[r.IntN(len(pieces))])
			if r.IntN(2) == 0 {
				b.WriteByte(' ')
			}
		}
		s := b.String()
		for _, p := range []*Policy{Default(), own} {
			if (&task{p: p}).nameless(s) {
				quick++
			}
			if got, want := (&task{p: p}).sql(s), (&task{p: p}).statement(s); got != want {
				t.Fatalf("statement %q: %q, want %q", s, got, want)
			}
			if got, want := (&task{p: p}).command(s), (&task{p: p}).commandLine(s); got != want {
				t.Fatalf("command %q: %q, want %q", s, got, want)
			}
		}
	}
	if quick < 2_000 {
		t.Errorf("the quick check skips only %d of the texts", quick)
	}
}
