package lines

import (
	"fmt"
	"testing"
)

func TestReply(t *testing.T) {
	for in, want := range map[string]string{
		"250-mail.example": "250 mail.example false true", "250 ok": "250 ok true true", "250": "250  true true",
		"25x ok": "0  false false", "250ok": "0  false false", "999 x": "0  false false", "": "0  false false",
	} {
		code, text, last, ok := Reply([]byte(in))
		if got := fmt.Sprintf("%d %s %v %v", code, text, last, ok); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestBeginsReply(t *testing.T) {
	for in, want := range map[string]bool{"220 mx.exam": true, "220-mx\r": true, "220": true, "22": false, "220 a\x00": false, "220 a\rb": false, "EHLO a": false} {
		if got := BeginsReply([]byte(in)); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestVerb(t *testing.T) {
	for in, want := range map[string]string{"mail FROM:<a>": "MAIL FROM:<a>", "QUIT": "QUIT ", "a1 LOGIN": " ", "": " ", "x-y": " "} {
		if verb, rest := Verb([]byte(in)); verb+" "+string(rest) != want {
			t.Errorf("%q: %q %q", in, verb, rest)
		}
	}
}

func TestNext(t *testing.T) {
	for in, want := range map[string]string{"a\r\nb": "a 3", "a\nb": "a 2", "a\r": " 0", "\r\n": " 2"} {
		if line, n := Next([]byte(in)); fmt.Sprintf("%s %d", line, n) != want {
			t.Errorf("%q: %q %d", in, line, n)
		}
	}
	if Plain([]byte("a\x00")) || !Plain([]byte("a\tb")) {
		t.Error("plain text")
	}
}
