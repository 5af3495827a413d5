package httpfield

import "strings"

// maxScheme is the longest unknown authentication scheme that is accepted as one.
const maxScheme = 32

// AuthKind is the scheme of an Authorization value in lower case. A value without credentials
// that is not a known scheme may itself be the secret, so its kind is "other"; an empty value
// has no kind.
func AuthKind(value string) string {
	value = Trim(value)
	if value == "" {
		return ""
	}
	scheme, credentials := value, ""
	if i := strings.IndexByte(value, ' '); i >= 0 {
		scheme, credentials = value[:i], Trim(value[i:])
	}
	if known := knownScheme(scheme); known != "" {
		return known
	}
	if credentials == "" || len(scheme) > maxScheme || !wordLike(scheme) {
		return "other"
	}
	return strings.ToLower(scheme)
}

// knownScheme matches the schemes of IANA's registry and those in wide use.
func knownScheme(s string) string {
	for _, k := range [...]string{"bearer", "basic", "digest", "negotiate", "ntlm", "token", "aws4-hmac-sha256",
		"apikey", "oauth", "dpop", "hoba", "mutual", "scram-sha-1", "scram-sha-256", "vapid", "privatetoken", "gnap",
		"concealed", "hawk", "hmac", "signature", "kerberos", "sharedkey", "sharedaccesssignature", "splunk", "key",
		"googlelogin", "goog4-rsa-sha256", "goog4-hmac-sha256", "aws", "jwt", "wsse"} {
		if Is(s, k) {
			return k
		}
	}
	return ""
}

// wordLike reports whether s looks like a scheme: a letter, then letters, digits, - and _, with
// few digits, as in "scram-sha-512".
func wordLike(s string) bool {
	digits := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z':
		case i > 0 && (c == '-' || c == '_'):
		case i > 0 && c >= '0' && c <= '9':
			digits++
		default:
			return false
		}
	}
	return s != "" && digits <= 4
}
