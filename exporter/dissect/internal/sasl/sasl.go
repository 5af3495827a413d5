// Package sasl names what a mechanism of SASL (RFC 4422) sends, as column auth_kind has it. It never
// sees the credentials.
package sasl

import "strings"

// Kind is the value of auth_kind for a mechanism: password if it sends one as it is, bearer for a
// token, else the mechanism in lower case.
func Kind(mechanism string) string {
	switch m := strings.ToLower(mechanism); m {
	case "plain", "login":
		return "password"
	case "xoauth2", "oauthbearer":
		return "bearer"
	default:
		return m
	}
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
