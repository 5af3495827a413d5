package sasl

import (
	"encoding/base64"
	"strings"
)

// Answers are a client's answers to the challenges of one authentication.
type Answers struct {
	n    int
	user string // of LOGIN
	lost bool   // some may not have been captured
}

// Begin begins another authentication.
func (a *Answers) Begin() { *a = Answers{} }

// Lose records that an answer may not have been captured.
func (a *Answers) Lose() { a.lost = true }

// None reports whether no answer was captured.
func (a *Answers) None() bool { return a.n == 0 }

// User records an answer, in base64, and returns the name of the user in it. Only the answer that
// is certainly the first one has it, because the next answer of LOGIN is the password, which is passed to a judge.
func (a *Answers) User(to Judge, mechanism string, coded []byte) []byte {
	a.n++
	switch login := strings.EqualFold(mechanism, "LOGIN"); {
	case a.lost || a.n > 2 || a.n == 2 && !login:
		return nil
	case a.n == 2:
		if password, err := base64.StdEncoding.DecodeString(string(coded)); err == nil && len(coded) <= maxAnswer {
			to.Password(a.user, string(password))
		}
		return nil
	}
	user := userOf(to, mechanism, coded)
	a.user = string(user)
	return user
}

const maxAnswer = 1024 // bytes of an answer that are decoded

// userOf is the name of the user in the client's first answer to a mechanism, in base64: as User, and
// the whole answer of LOGIN.
func userOf(to Judge, mechanism string, coded []byte) []byte {
	b, err := base64.StdEncoding.DecodeString(string(coded[:min(len(coded), maxAnswer)]))
	if err != nil {
		return nil
	}
	if strings.EqualFold(mechanism, "LOGIN") {
		return b
	}
	return User(to, mechanism, b)
}
