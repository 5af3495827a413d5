package redact

import (
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// Classes of detectors.
const (
	Credential = "credential" // gives access to something
	Personal   = "personal"   // about a person
)

// Match is a place in a text that a detector recognizes. Masked can be shown instead: it
// distinguishes matches but reveals no secret.
type Match struct {
	Kind       string // kind of the detector
	Start, End int    // byte offsets in the text
	Masked     string
}

// Detector finds one kind of secret by its form.
type Detector struct {
	Kind  string // name in policies
	Class string // Credential or Personal
	Doc   string // one sentence
	scan  *scanner
}

// Find lists the detector's matches in the order of the text; they do not overlap. It takes time
// proportional to the length of any text.
func (d Detector) Find(text string) []Match { return d.scan.find(text) }

// Detectors lists every detector.
func Detectors() []Detector { return slices.Clone(detectors()) }

// FindBytes lists the matches of all detectors. If two overlap, it keeps the one that begins first. The result does not
// share the memory of text.
func FindBytes(text []byte) []Match {
	// Masked texts are built from pieces and a mask, so none of them refers to text.
	return everything().find(unsafe.String(unsafe.SliceData(text), len(text)))
}

// kinds is a set of detectors, by index in kindList.
type kinds uint32

const (
	kCard kinds = 1 << iota
	kSSN
	kIBAN
	kEmail
	kPhone
	kJWT
	kBearer
	kBasic
	kAWSKey
	kAWSSecret
	kGCP
	kAzure
	kGitHub
	kGitLab
	kSlack
	kStripe
	kPrivate
	kURL
	kTrack
	kCode
	kPIN
	kService
	kPath
	kSIP
	kCommand
	kGrant
	kHook
)

// kindList describes the kinds in the order of their bits.
var kindList = [...]struct{ kind, class, doc string }{
	{"card", Personal, "payment card number: prefix and length of an issuer, and Luhn's check digit"},
	{"ssn", Personal, "US social security number with dashes, in an assigned range"},
	{"iban", Personal, "bank account number: length of its country and check digits, ISO 13616"},
	{"email", Personal, "email address"},
	{"phone", Personal, "phone number with + and country code, or in the North American form"},
	{"jwt", Credential, "JSON Web Token, RFC 7519"},
	{"bearer", Credential, "bearer token after its word, RFC 6750"},
	{"basic", Credential, "user and password in base64 after the word Basic, RFC 7617"},
	{"aws_access_key", Credential, "AWS access key id"},
	{"aws_secret_key", Credential, "AWS secret access key after its name"},
	{"gcp_key", Credential, "Google API key or OAuth access token"},
	{"azure_key", Credential, "Azure storage or bus key after its name, or client secret"},
	{"github_token", Credential, "GitHub token"},
	{"gitlab_token", Credential, "GitLab token"},
	{"slack_token", Credential, "Slack token or webhook"},
	{"stripe_key", Credential, "Stripe live key"},
	{"private_key", Credential, "private key in PEM"},
	{"url_password", Credential, "password within a URL"},
	{"track_data", Personal, "magnetic stripe of a payment card: its number with expiry, service code and discretionary data, ISO/IEC 7813"},
	{"card_code", Personal, "card verification code of 3 or 4 digits after its name, such as cvv or security_code"},
	{"pin_block", Personal, "PIN block after its name: 16 hexadecimal digits, ISO 9564-1"},
	{"service_token", Credential, "token with a prefix of its issuer: npm, PyPI, OpenAI, Anthropic, SendGrid, Shopify, Vault, age and others"},
	{"path_token", Credential, "token in a path after a step such as reset, invite, verify or hooks"},
	{"sip_address", Personal, "address of a person or telephone after sip: or sips:, RFC 3261 section 19.1"},
	{"command_password", Credential, "password on a command line, after an option such as --password, or that of a known program such as mysql -p"},
	{"authorization_code", Credential, "code in a URL or form with which a client gets a token, RFC 6749 section 4.1.2"},
	{"webhook", Credential, "secret in the path of a webhook of Discord or Microsoft Teams"},
}

var detectors = sync.OnceValue(func() []Detector {
	var list []Detector
	for i, k := range kindList {
		list = append(list, Detector{Kind: k.kind, Class: k.class, Doc: k.doc, scan: newScanner(1 << i)})
	}
	return list
})

var everything = sync.OnceValue(func() *scanner { return newScanner(1<<len(kindList) - 1) })

// scanner finds some kinds in one pass. A table lists the bytes that need a closer check. Each check
// is bounded, or ends at the place where the pass continues.
type scanner struct {
	want kinds
	look [256]anchor
}

// anchor lists the detectors that may match at a byte, or after one.
type anchor uint8

const (
	numeral anchor = 1 << iota
	initial        // a word may begin
	sign           // something else may begin
)

// follows lists the kinds of text that may begin after a byte. A number cannot begin after a digit,
// a dot or a letter that is not part of a country code; a word cannot begin after a letter or a
// digit. Together with look this makes hexadecimal text, which is full of digits and b, as fast as
// any other.
var follows = func() (list [256]anchor) {
	for c := range 256 {
		list[c] = sign
		if classes[c]&(lower|digit|dot) == 0 {
			list[c] |= numeral
		}
		if classes[c]&alnum == 0 {
			list[c] |= initial
		}
	}
	return list
}()

// anchors are the bytes that trigger the check for a kind.
var anchors = map[kinds]string{
	kCard | kSSN | kIBAN | kPhone | kTrack: "0123456789", kPhone: "+(", kEmail | kSIP | kURL: "@", kJWT: "J", kBearer | kBasic: "Bb",
	kAWSKey: "KS", kAWSSecret | kAzure: "=:", kGrant: "=", kCode | kPIN: "=:>", kAzure: "~", kGCP: "z.", kGitHub | kStripe | kService: "_", kGitLab | kSlack | kService | kPrivate | kCommand: "-",
	kGitLab | kService: "dAESG", kSlack | kService: ".", kURL | kService: ":", kPath | kSlack | kHook: "/",
}

func newScanner(want kinds) *scanner {
	sc := &scanner{want: want}
	for of, bytes := range anchors {
		if of&want != 0 {
			for i := range len(bytes) {
				switch c := bytes[i]; {
				case isDigit(c):
					sc.look[c] = numeral
				case c|0x20 == 'b' || c == 'd' || c == 'A' || c == 'E' || c == 'G':
					sc.look[c] = initial
				default:
					sc.look[c] = sign
				}
			}
		}
	}
	return sc
}

func (sc *scanner) find(s string) (list []Match) {
	for m := sc.next(s, 0); m.End > 0; m = sc.next(s, m.End) {
		list = append(list, m)
	}
	return list
}

// next returns the first match that begins at done or later, in plain text or base64. Its End is 0
// if there is none.
func (sc *scanner) next(s string, done int) Match { return sc.within(s, done, 0) }

// within is next in text that was decoded from depth nested runs of base64.
func (sc *scanner) within(s string, done, depth int) Match {
	m := sc.open(s, done)
	to := len(s)
	if m.End > 0 {
		to = m.Start
	}
	if e := sc.encoded(s, done, to, depth); e.End > 0 {
		return e
	}
	return m
}

// open returns the first match in plain text that begins at done or later.
func (sc *scanner) open(s string, done int) Match {
	for i := sc.first(s, done); i < len(s); i = sc.first(s, i) {
		switch sc.look[s[i]] & follows[before(s, i)] {
		case 0:
			i++
			continue
		case numeral:
			end := i + 1
			for end < len(s) && classes[s[end]]&digit != 0 {
				end++
			}
			if !likelyNumber(s, i, end) {
				i = end
				continue
			}
		default:
			if !likely(s, i) {
				i++
				continue
			}
		}
		m, next := sc.at(s, i, done)
		if m.End > 0 {
			return m
		}
		i = max(next, i+1)
	}
	return Match{}
}

// first returns the place of the first byte from i on that needs a check, or the length of s.
func (sc *scanner) first(s string, i int) int {
	for i < len(s) && sc.look[s[i]] == 0 {
		i++
	}
	return i
}

// likelyNumber is a quick check whether the digits from i to end can be a match, by the bytes around
// them.
func likelyNumber(s string, i, end int) bool {
	prev := before(s, i)
	switch of := classes[prev]; {
	case of&upper != 0:
		return end-i > 1 && i > 1 && (classes[s[i-2]]&upper != 0 || stripeBefore(s, i))
	case of&(alnum|dot) != 0:
		return false
	}
	next, first := after(s, end), s[i]
	switch n := end - i; n {
	case 3:
		return (next == '-' || next == '.') && prev != '-' && isDigit(after(s, end+1))
	case 4:
		return first >= '2' && separates[next] && isDigit(after(s, end+separator(s, end)+2)) // two digits follow in dates
	case 6:
		return first >= '2' && (next == ' ' || next == '-') && isDigit(after(s, end+1))
	default:
		return n >= leastCard && n <= mostCard && first >= '2' && issuerRanges[first-'0'] != nil
	}
}

// separates are the first bytes of what may be between groups of digits, see separator.
var separates = [256]bool{' ': true, '-': true, '.': true, '_': true, '+': true, 0xC2: true, 0xE2: true}

// likely is a quick check whether the sign at i can belong to a match, by the bytes around it.
func likely(s string, i int) bool {
	prev, next := before(s, i), after(s, i+1)
	switch c := s[i]; c {
	case '-':
		if next == '-' && after(s, i+2) == '-' {
			return prev != '-'
		}
		return beginsOption(prev, next) || next == 'u' && after(s, i+2) == 's' && !isUpper(prev) && isAlnum(prev) || issuedSigns[prev]&dash != 0 && issuedBefore(s, i)
	case '_':
		return issuedSigns[prev]&underscore != 0 && issuedBefore(s, i)
	case '/':
		return (next == 's' || next == 'w' || next == 't' || prev <= '9' || prev == 'k') && mayHook(s, i) || classes[prev]&(lower|upper) != 0 && isAlnum(next) && span(s, i+1, leastStepToken, token) == leastStepToken
	case '.':
		return issuedSigns[prev]&dot != 0 && issuedBefore(s, i) || prev == 's' && next == 's' || after(s, i+7) == '.' && isToken(prev) && isToken(next)
	case ':', '=':
		return c == ':' && (next == '/' && after(s, i+2) == '/' || next == 'A' && isDigit(prev)) || afterKey(s, i) || afterCode(s, i) || c == '=' && prev|0x20 == 'e' && afterGrant(s, i)
	case '>':
		return afterCode(s, i)
	case 'B', 'b':
		third := after(s, i+2) | 0x20
		return next|0x20 == 'e' && third == 'a' || next|0x20 == 'a' && third == 's'
	case 'K':
		return prev == 'A' && next == 'I'
	case 'S':
		return prev == 'A' && next == 'I' || next == 'K' && !isAlnum(prev)
	case 'A':
		return next == 'T' || next == 'K' || next == 'B' && after(s, i+2) == 'S'
	case 'E':
		return next == 'A' || next == 'Z'
	case 'G':
		return next == 'R' && after(s, i+2) == '1'
	case 'd':
		return next == 'a' && after(s, i+2) == 'p'
	case 'J':
		return prev == 'y' && i >= 2 && s[i-2] == 'e'
	case 'z':
		return prev == 'I' && next == 'a'
	case '+':
		return next >= '1' && next <= '9' && classes[prev]&(alnum|dot|plus) == 0
	case '(':
		return next >= '2' && next <= '9' && classes[prev]&(alnum|dot|plus) == 0
	case '@':
		return prev > ' ' && (isAlnum(next) || next == '/' || next == '[')
	case '~':
		return prev == 'Q'
	}
	return true
}

// afterKey reports whether the name before the equals sign or colon at i may end with key.
func afterKey(s string, i int) bool {
	j := i
	for j > 0 && i-j < 3 && isQuote(s[j-1]) {
		j--
	}
	if before(s, j)|0x20 != 'y' {
		return false
	}
	c := before(s, j-1)
	return c|0x20 == 'e' || c == '_' || c == '-'
}

// afterCode reports whether the name before the equals sign, colon or bracket at i may be that of a
// card verification code or a PIN block.
func afterCode(s string, i int) bool {
	j := i
	for j > 0 && i-j < 3 && isQuote(s[j-1]) {
		j--
	}
	if j < 3 {
		return false
	}
	switch last := s[j-2] | 0x20; s[j-1] | 0x20 {
	case 'v', 'c', 'n', 'd':
		return last == 'v' && s[j-3]|0x20 == 'c'
	case '2':
		return (last == 'v' || last == 'c') && s[j-3]|0x20 == 'v'
	case 'e': // security_code, cardCode
		return last == 'd' && j > 6 && s[j-4]|0x20 == 'c' && strings.IndexByte("yd_-YD", s[j-5]) >= 0
	case 'k':
		return last == 'c' && s[j-3]|0x20 == 'o' && j > 7
	}
	return false
}

// isQuote reports whether a byte may occur between a name and its value.
func isQuote(c byte) bool { return c == ' ' || c == '\t' || c == '"' || c == '\'' || c == '\\' }

// at checks for a match around byte i, but not before byte done. It also returns where to continue.
func (sc *scanner) at(s string, i, done int) (Match, int) {
	hit := func(k kinds, start, end int, masked string) (Match, int) {
		if sc.want&k == 0 || start < done {
			return Match{}, i + 1
		}
		return Match{Kind: k.word(), Start: start, End: end, Masked: masked}, end
	}
	switch c := s[i]; c {
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		k, start, end, masked := number(s, i, sc.want)
		if k != 0 {
			return hit(k, start, end, masked)
		}
		return Match{}, end
	case '+', '(':
		if end, masked := phone(s, i); end > 0 {
			return hit(kPhone, i, end, masked)
		}
	case '@':
		if start := userinfo(s, i); start > 0 && sc.want&kURL != 0 {
			return hit(kURL, start, i, Mask)
		}
		if start, end := email(s, i); end > 0 {
			k := kEmail
			if sip(s[:start]) {
				k = kSIP
			}
			return hit(k, start, end, s[start:start+1]+"***"+s[i:end])
		}
	case '_':
		if k, start, end, masked := issuerToken(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	case '-':
		if k, start, end, masked := dashed(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	case '/':
		if k, start, end, masked := stepped(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	case ':', '=', '>':
		if k, start, end, masked := assigned(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	default:
		if k, start, end, masked := worded(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	}
	return Match{}, i + 1
}

// word returns the name of the kind.
func (k kinds) word() string {
	for i := range kindList {
		if k == 1<<i {
			return kindList[i].kind
		}
	}
	return ""
}

// kindsOf parses names of detectors.
func kindsOf(names []string) (k kinds, unknown string) {
	for _, n := range names {
		found := false
		for i, d := range kindList {
			if n == d.kind || n == d.class || n == "all" {
				k |= 1 << i
				found = true
			}
		}
		if !found {
			return k, n
		}
	}
	return k, ""
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
