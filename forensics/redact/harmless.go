package redact

import (
	"strings"
	"unicode"
)

// placeholders are values that say something about a secret or stand for one.
var placeholders = setOf("true false yes no on off null nil none undefined unset missing present absent empty required optional enabled disabled hidden valid invalid expired revoked unknown string text redacted masked removed n/a")

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// maxWord is the longest value, in bytes, that may be words.
const maxWord = 40

// harmless reports whether a value is no secret although its name is that of one: a placeholder, a variable, or a word
// after a name such as auth and session, which also stand before words ("auth": "ldap").
func (t *task) harmless(name, value string) bool {
	value = strings.TrimSpace(value)
	if len(value) > 4*maxWord {
		return false
	}
	if placeholders[strings.ToLower(value)] || len(value) > 2 && strings.Trim(value, "*•") == "" || isVariable(value) {
		return true
	}
	if strings.HasPrefix(value, "/") && len(value) > 4 && span(value, 1, maxWord, lower|slash|dash) == len(value)-1 { // PWD=/home/ann
		return true
	}
	return !t.strict && t.p.words.has(normal(name)) && isWords(value)
}

// isVariable reports whether a text stands for a value from elsewhere: ${NAME} or a template.
func isVariable(s string) bool {
	name, ok := strings.CutPrefix(s, "${")
	if !ok {
		return strings.HasPrefix(s, "{{")
	}
	name = strings.TrimSuffix(name, "}")
	return name != "" && span(name, 0, len(name), word) == len(name)
}

// schemes are words with digits that name a way to log in or sign.
var schemes = setOf("oauth1 oauth2 oauth2.0 ntlmv1 ntlmv2 saml2 http2 md5 sha1 sha256 sha384 sha512 hmac-sha256 hs256 hs384 hs512 rs256 rs384 rs512 es256 es384 es512 ps256 sha256_password scram-sha-1 scram-sha-256 kerberos5 tls1.2 tls1.3")

// isWords reports whether a value is words without digits, the name of a scheme, or a small number. No generated secret is.
func isWords(value string) bool {
	if len(value) > maxWord || value == "" {
		return false
	}
	if schemes[strings.ToLower(value)] || len(value) < 5 && span(value, 0, len(value), digit) == len(value) {
		return true
	}
	changes := 0 // between small letters and capitals
	var last rune
	for _, r := range value {
		if !unicode.IsLetter(r) && (r != ' ' && r != '-' && r != '_' || !unicode.IsLetter(last)) {
			return false
		}
		if unicode.IsUpper(r) && unicode.IsLower(last) || unicode.IsLower(r) && unicode.IsUpper(last) {
			changes++
		}
		last = r
	}
	return changes*4 <= len(value) || changes <= 1
}
