package redact

import (
	"encoding/base64"
	"slices"
	"strings"
)

// email checks for an email address around the @ at i; RFC 5321 limits its parts.
func email(s string, i int) (start, end int) {
	n := back(s, i, 65, local)
	for n > 0 && !isAlnum(s[i-n]) {
		n--
	}
	if n == 0 || n > 64 {
		return 0, 0
	}
	m := span(s, i+1, 254, label)
	if m > 253 {
		return 0, 0
	}
	domain := strings.TrimRight(s[i+1:i+1+m], ".-")
	dot := strings.LastIndexByte(domain, '.')
	if dot <= 0 || domain[0] == '-' || domain[0] == '.' || len(domain)-dot-1 < 2 || strings.Contains(domain, "..") {
		return 0, 0
	}
	for j := dot + 1; j < len(domain); j++ {
		if !isAlpha(domain[j]) {
			return 0, 0
		}
	}
	return i - n, i + 1 + len(domain)
}

// sip reports whether an address with these bytes before it is one of SIP.
func sip(before string) bool {
	for _, scheme := range [...]string{"sip:", "sips:"} {
		if n := len(before) - len(scheme); n >= 0 && strings.EqualFold(before[n:], scheme) && (n == 0 || !isAlnum(before[n-1])) {
			return true
		}
	}
	return false
}

// maxPEM is the largest private key in bytes; an RSA key of 16,384 bits has about 13,000.
const maxPEM = 32 << 10

// dashed checks for a match around the dash at i.
func dashed(s string, i int) (k kinds, start, end int, masked string) {
	if beginsOption(before(s, i), after(s, i+1)) && after(s, i+2) != '-' {
		return optioned(s, i)
	}
	if after(s, i+1) == 'u' && after(s, i+2) == 's' {
		if k, start, end, masked := mailchimp(s, i); k != 0 {
			return k, start, end, masked
		}
	}
	if after(s, i+1) != '-' {
		return issuerToken(s, i)
	}
	if !strings.HasPrefix(s[i:], "-----BEGIN ") || before(s, i) == '-' {
		return 0, 0, 0, ""
	}
	label := s[i+11 : min(len(s), i+11+64)]
	cut := strings.Index(label, "-----")
	if cut < 0 || !strings.HasSuffix(label[:cut], "PRIVATE KEY") && !strings.HasSuffix(label[:cut], "PRIVATE KEY BLOCK") {
		return 0, 0, 0, ""
	}
	head := i + 11 + cut + 5
	// A key that is cut or too long is masked up to maxPEM.
	end = min(len(s), i+maxPEM)
	if at := strings.Index(s[head:end], "-----END "); at >= 0 {
		foot := head + at + 9
		if close := strings.Index(s[foot:min(len(s), foot+64)], "-----"); close >= 0 {
			end = foot + close + 5
		}
	}
	return kPrivate, i, end, s[i:head] + Mask
}

// worded checks for a match around the letter, dot or tilde at i.
func worded(s string, i int) (k kinds, start, end int, masked string) {
	switch s[i] {
	case 'J':
		if i >= 2 && s[i-2:i] == "ey" && !isToken(before(s, i-2)) {
			if end := jwt(s, i-2); end > 0 {
				return kJWT, i - 2, end, "eyJ" + Mask
			}
		}
	case 'B', 'b':
		return schemed(s, i)
	case 'K', 'S': // AKIA and ASIA with 16 more
		if i >= 1 && s[i-1] == 'A' && strings.HasPrefix(s[i+1:], "IA") && !isAlnum(before(s, i-1)) {
			n := span(s, i+3, 17, upper|digit)
			if n == 16 && !isAlnum(after(s, i+19)) {
				return kAWSKey, i - 1, i + 19, s[i-1:i+3] + "************" + s[i+15:i+19]
			}
		}
		return beginToken(s, i)
	case 'z': // AIza with 35 more
		if i >= 2 && s[i-2:i] == "AI" && after(s, i+1) == 'a' && !isAlnum(before(s, i-2)) {
			if n := span(s, i+2, 36, token); n == 35 {
				return kGCP, i - 2, i + 2 + n, "AIza" + Mask
			}
		}
	case 'A', 'E', 'G', 'd':
		return beginToken(s, i)
	case '.':
		if k, start, end, masked := issuerToken(s, i); k != 0 {
			return k, start, end, masked
		}
		for _, host := range [...]string{".slack.com/", ".slack-gov.com/"} {
			if !strings.HasPrefix(s[i:], host) || !strings.HasSuffix(s[:i], "hooks") {
				continue
			}
			for _, p := range slackPaths {
				from := i + len(host) + len(p.path)
				if !strings.HasPrefix(s[i+len(host):], p.path) {
					continue
				}
				if n := span(s, from, 256, alnum|slash); n >= 20 {
					return kSlack, i - len("hooks"), from + n, s[i-len("hooks"):from] + Mask
				}
			}
		}
		return botToken(s, i)
	case '~': // three characters, a digit, Q~ and 31 to 34 more
		const of = token | dot | tilde
		if i >= 5 && s[i-1] == 'Q' && isDigit(s[i-2]) && back(s, i-2, 4, of) == 3 {
			if n := span(s, i+1, 35, of); n >= 31 && n <= 34 {
				return kAzure, i - 5, i + 1 + n, Mask
			}
		}
	}
	return 0, 0, 0, ""
}

// jwt returns the end of the token that begins at i: three parts, or five if it is encrypted.
func jwt(s string, i int) (end int) {
	for range 2 {
		n := span(s, i, len(s), token)
		if n < 5 || after(s, i+n) != '.' {
			return 0
		}
		i += n + 1
	}
	i += span(s, i, len(s), token) // empty if the token is not signed
	for range 2 {
		if after(s, i) == '.' && isToken(after(s, i+1)) {
			i += 1 + span(s, i+1, len(s), token)
		}
	}
	return i
}

// schemed checks for a bearer token or basic credentials after the scheme at i.
func schemed(s string, i int) (k kinds, start, end int, masked string) {
	if isAlnum(before(s, i)) {
		return 0, 0, 0, ""
	}
	switch next := after(s, i+1) | 0x20; {
	case next == 'e' && hasFold(s[i:], "bearer") && (after(s, i+6) == ' ' || after(s, i+6) == '\t'):
		n := span(s, i+7, len(s), token68)
		if n >= 16 && strings.ContainsAny(s[i+7:i+7+n], "0123456789") {
			return kBearer, i, i + 7 + n, s[i:i+7] + Mask
		}
	case next == 'a' && hasFold(s[i:], "basic "):
		n := span(s, i+6, 4096, base64s)
		if n < 4 {
			return 0, 0, 0, ""
		}
		plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s[i+6:i+6+n], "="))
		if err == nil && strings.IndexByte(string(plain), ':') > 0 {
			return kBasic, i, i + 6 + n, s[i:i+6] + Mask
		}
	}
	return 0, 0, 0, ""
}

// assigned checks for a secret after the equals sign or colon at i: a key after its name, or a URL
// with a password.
func assigned(s string, i int) (k kinds, start, end int, masked string) {
	if s[i] == ':' && after(s, i+1) == '/' && after(s, i+2) == '/' {
		return authority(s, i+3)
	}
	if s[i] == ':' && isDigit(before(s, i)) {
		return bot(s, i)
	}
	j := i // end of the name
	for j > 0 && i-j < 3 && isQuote(s[j-1]) {
		j--
	}
	if afterCode(s, i) {
		return code(s, i, j)
	}
	if s[i] == '=' && afterGrant(s, i) {
		return grant(s, i)
	}
	if c := before(s, j); c != 'y' && c != 'Y' {
		return 0, 0, 0, ""
	}
	name := normal(s[j-back(s, j, 64, token) : j])
	var least, most int
	switch {
	case strings.Contains(name, "secret") && strings.HasSuffix(name, "key") && (strings.Contains(name, "aws") || name == "secretaccesskey"):
		k, least, most = kAWSSecret, 40, 40
	case strings.HasSuffix(name, "accountkey") || strings.HasSuffix(name, "sharedaccesskey"):
		k, least, most = kAzure, 40, 128
	default:
		return 0, 0, 0, ""
	}
	v := i + 1
	for v < len(s) && v-i < 5 && isQuote(s[v]) {
		v++
	}
	if n := span(s, v, most+1, base64s); n >= least && n <= most {
		return k, v, v + n, Mask
	}
	return 0, 0, 0, ""
}

// code checks for a card verification code or a PIN block after the sign at i; its name ends at j.
func code(s string, i, j int) (k kinds, start, end int, masked string) {
	v := i + 1
	for v < len(s) && v-i < 5 && isQuote(s[v]) {
		v++
	}
	switch name := normal(s[j-back(s, j, 64, token) : j]); strings.TrimPrefix(name, "card") {
	case "cvv", "cvv2", "cvc", "cvc2", "cvn", "cvd", "code", "securitycode":
		n := span(s, v, 5, digit)
		if next := after(s, v+n); (n == 3 || n == 4) && !isAlpha(next) && next != '.' && name != "code" {
			return kCode, v, v + n, Mask
		}
	case "pinblock", "encryptedpinblock":
		n := span(s, v, 17, base64s)
		if n == 16 && strings.Trim(s[v:v+n], "0123456789abcdefABCDEF") == "" {
			return kPIN, v, v + n, Mask
		}
	}
	return 0, 0, 0, ""
}

// authority checks for a password in the URL authority that begins at i. People write passwords without the escapes that
// RFC 3986 demands: the last @ that can be part of the password ends it, and a / after a colon without a port is in it.
func authority(s string, i int) (k kinds, start, end int, masked string) {
	if after(s, i) == '[' {
		return 0, 0, 0, "" // an IPv6 address: the colon is no end of a user
	}
	colon, at, path := -1, -1, false
scan:
	for j := i; j < len(s) && j < i+512; j++ {
		switch c := s[j]; {
		case c == ':' && colon < 0:
			colon = j
		case c == '@' && colon < 0:
			return 0, 0, 0, ""
		case c == '@':
			at = j
		case at >= 0 && (c <= ' ' || c == 0x7f || strings.IndexByte("\"'<>/?#,;()|&=\\", c) >= 0): // the host ends
			break scan
		case c <= ' ' || c == '"' || c == '<' || c == '>' || c == 0x7f || path && strings.IndexByte("',;()", c) >= 0:
			return 0, 0, 0, ""
		case !path && (c == '/' || c == '?' || c == '#'):
			if colon < 0 || isPort(s[colon+1:j]) {
				return 0, 0, 0, ""
			}
			path = true
		}
	}
	if at <= colon+1 || s[colon+1:at] == Mask || isDigest(s[at+1:]) {
		return 0, 0, 0, ""
	}
	return kURL, colon + 1, at, Mask
}

// isPort reports whether the text after the colon of a host is a port, or stands for one, as in examples.
func isPort(s string) bool {
	return s == "" || len(s) < 6 && strings.Trim(s, "0123456789") == "" || strings.IndexByte("{<$%[:*", s[0]) >= 0 || strings.EqualFold(s, "port")
}

// isDigest reports whether a text begins with the digest of a container image, which follows an @.
func isDigest(s string) bool {
	return strings.HasPrefix(s, "sha256:") || strings.HasPrefix(s, "sha512:")
}

// endsUser are the bytes that a user and password before an @ do not have.
var endsUser = func() (list [256]bool) {
	for c := range list {
		list[c] = c <= ' ' || c == 0x7f || strings.IndexByte("\"'<>", byte(c)) >= 0
	}
	return list
}()

// userinfo checks for a password before the @ at i in an address without a scheme, as of CONNECT and of drivers:
// user:password@host:port, user:password@tcp(host:port)/name and user:password@/name, and one of SIP, sip:user:password@host.
// It returns its start, or 0.
func userinfo(s string, i int) int {
	from, colon := i, -1
	for from > 0 && i-from < 256 && !endsUser[s[from-1]] {
		if from--; s[from] == ':' {
			colon = from
		}
	}
	if colon < 0 {
		return 0
	}
	for j := colon; j < i; j++ {
		if s[j] != ':' || !sip(s[:j+1]) {
			continue
		}
		user, password, _ := strings.Cut(s[j+1:i], ":")
		if user == "" || password == "" || password == Mask {
			return 0
		}
		return i - len(password)
	}
	n := span(s, i+1, 254, label)
	switch next := after(s, i+1+n); {
	case n > 0 && next == '(' || n == 0 && (next == '/' || next == '['):
	case n > 0 && next == ':' && after(s, i+2+n) == ':': // a module of rsync
	case n > 0 && next == ':':
		port := span(s, i+2+n, 6, digit)
		if port == 0 || port > 5 || isAlnum(after(s, i+2+n+port)) {
			return 0
		}
	default:
		return 0
	}
	user := s[colon-back(s, colon, colon-from, local) : colon]
	if colon+1 >= i || s[colon+1:i] == Mask || strings.HasPrefix(s[colon:i], "://") || strings.Trim(user, "0123456789.-") == "" {
		return 0
	}
	if slices.Contains([]string{"tel", "mailto", "acct", "xmpp"}, strings.ToLower(user)) {
		return 0 // a scheme, not a user
	}
	return colon + 1
}
