// Package sasl names the credentials that a SASL mechanism (RFC 4422) sends, as in column
// auth_kind, and finds the user's name in its messages. It returns nothing else of the credentials.
package sasl

import (
	"bytes"
	"strings"
)

// Kind is the value of auth_kind for a mechanism: password if it sends one as it is, bearer for a
// token, else the mechanism in lower case.
func Kind(mechanism string) string {
	switch m := strings.ToLower(mechanism); m {
	case "plain", "login", "amqplain":
		return "password"
	case "xoauth2", "oauthbearer":
		return "bearer"
	default:
		return m
	}
}

// Judge gets passwords that are sent as they are; a connection is one.
type Judge interface {
	Password(user, password string)
}

// Nobody is a Judge for guesses, whose bytes may be something else.
type Nobody struct{}

// Password implements Judge.
func (Nobody) Password(string, string) {}

// User is the name of the user in the client's first message of a mechanism: PLAIN (RFC 4616) or
// SCRAM (RFC 5802 section 7). It is empty if the message does not have one. The password of PLAIN is passed to a judge.
func User(to Judge, mechanism string, token []byte) []byte {
	switch m := strings.ToUpper(mechanism); {
	case m == "PLAIN": // authzid NUL authcid NUL passwd
		if parts := bytes.SplitN(token, []byte{0}, 3); len(parts) == 3 {
			to.Password(string(parts[1]), string(parts[2]))
			return parts[1]
		}
	case strings.HasPrefix(m, "SCRAM-"): // n,,n=user,r=nonce
		for part := range bytes.SplitSeq(token, []byte(",")) {
			if name, ok := bytes.CutPrefix(part, []byte("n=")); ok {
				return bytes.ReplaceAll(bytes.ReplaceAll(name, []byte("=2C"), []byte(",")), []byte("=3D"), []byte("="))
			}
		}
	}
	return nil
}

// Valid reports whether b is the name of a mechanism: at most 20 capital letters, digits, hyphens
// and underscores (RFC 4422 section 3.1), in any case because servers accept that.
func Valid(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 20
}
