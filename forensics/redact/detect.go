package redact

import (
	"slices"
	"strings"
	"sync"
)

// Classes of detectors.
const (
	Credential = "credential" // opens something
	Personal   = "personal"   // says something of a person
)

// Match is a place in a text that a detector knows. Masked may be shown in its stead: it
// keeps what tells one hit from another and nothing that is worth stealing.
type Match struct {
	Kind       string // of the detector
	Start, End int    // bytes of the text
	Masked     string
}

// Detector finds one kind of secret by its form.
type Detector struct {
	Kind  string // as policies name it
	Class string // Credential or Personal
	Doc   string // one sentence
	scan  *scanner
}

// Find lists the detector's hits in the order of the text; they do not overlap. It takes
// time in proportion to the text whatever stands there.
func (d Detector) Find(text string) []Match { return d.scan.find(text) }

// Detectors lists every detector.
func Detectors() []Detector { return slices.Clone(detectors()) }

// Find lists the hits of all detectors at once; where two would overlap the one that
// begins first is taken.
func Find(text string) []Match { return everything().find(text) }

// kinds is a set of detectors, by their place in kindList.
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
)

// kindList describes the kinds in the order of their bits.
var kindList = [...]struct{ kind, class, doc string }{
	{"card", Personal, "payment card number: prefix and length of an issuer, and Luhn's check digit"},
	{"ssn", Personal, "US social security number with dashes, of a range that is given out"},
	{"iban", Personal, "bank account number: length of its country and check digits, ISO 13616"},
	{"email", Personal, "mail address"},
	{"phone", Personal, "telephone number with + and country code, or in the North American form"},
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
}

var detectors = sync.OnceValue(func() []Detector {
	var list []Detector
	for i, k := range kindList {
		list = append(list, Detector{Kind: k.kind, Class: k.class, Doc: k.doc, scan: newScanner(1 << i)})
	}
	return list
})

var everything = sync.OnceValue(func() *scanner { return newScanner(1<<len(kindList) - 1) })

// scanner looks for some kinds in one pass. A table says at which bytes it is worth to
// look closer; each closer look is bounded, or ends where the pass goes on.
type scanner struct {
	want kinds
	look [256]bool
}

// anchors are the bytes at which a kind is told.
var anchors = map[kinds]string{
	kCard | kSSN | kIBAN | kPhone: "0123456789", kPhone: "+(", kEmail: "@", kJWT: "J", kBearer | kBasic: "Bb",
	kAWSKey: "KS", kAWSSecret | kAzure: "=:", kAzure: "~", kGCP: "z.", kGitHub | kStripe: "_", kGitLab | kSlack | kPrivate: "-",
	kSlack: ".", kURL: ":",
}

func newScanner(want kinds) *scanner {
	sc := &scanner{want: want}
	for of, bytes := range anchors {
		if of&want != 0 {
			for i := range len(bytes) {
				sc.look[bytes[i]] = true
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

// next is the first hit that begins at done or later; its End is 0 where there is none.
func (sc *scanner) next(s string, done int) Match {
	for i := done; i < len(s); {
		if !sc.look[s[i]] {
			i++
			continue
		}
		if on := unlikely(s, i); on > i {
			i = on
			continue
		}
		m, next := sc.at(s, i, done)
		if m.End > 0 {
			return m
		}
		i = max(next, i+1)
	}
	return Match{}
}

// unlikely is where to go on where a glance at what stands around byte i tells that
// nothing is there, else i.
func unlikely(s string, i int) int {
	switch c := s[i]; {
	case isDigit(c):
		end := i + 1
		for end < len(s) && isDigit(s[end]) {
			end++
		}
		next := after(s, end)
		if n := end - i; n > 12 || n > 1 && i > 1 && isUpper(s[i-1]) || (n == 3 || n == 4) && (next == '-' || next == '.' || next == ' ') {
			return i
		}
		return end
	case c == 'B' || c == 'b':
		if next := after(s, i+1) | 0x20; next == 'e' || next == 'a' {
			return i
		}
	case c == 'K' || c == 'S':
		if before(s, i) == 'A' {
			return i
		}
	case c == 'J':
		if before(s, i) == 'y' {
			return i
		}
	case c == ':' || c == '=':
		if next, last := after(s, i+1), before(s, i); next == '/' || last|0x20 == 'y' || last == '"' || last == '\'' || last == ' ' || last == '\\' || last == '\t' {
			return i
		}
	default:
		return i
	}
	return i + 1
}

// at looks closer at byte i, not before byte done, and says where to go on.
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
		if start, end := email(s, i); end > 0 {
			return hit(kEmail, start, end, s[start:start+1]+"***"+s[i:end])
		}
	case '_':
		if k, start, end, masked := underscored(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	case '-':
		if k, start, end, masked := dashed(s, i); k != 0 {
			return hit(k, start, end, masked)
		}
	case ':', '=':
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

// word is the kind's name.
func (k kinds) word() string {
	for i := range kindList {
		if k == 1<<i {
			return kindList[i].kind
		}
	}
	return ""
}

// kindsOf reads names of detectors.
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

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isToken(c byte) bool { return isAlnum(c) || c == '-' || c == '_' } // base64url

// before is the byte before i, or 0.
func before(s string, i int) byte {
	if i > 0 && i <= len(s) {
		return s[i-1]
	}
	return 0
}

// after is the byte at i, or 0.
func after(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// span is how many bytes from i on are of a class, at most most.
func span(s string, i, most int, of func(byte) bool) int {
	n := 0
	for n < most && i+n < len(s) && of(s[i+n]) {
		n++
	}
	return n
}

// back is how many bytes before i are of a class, at most most.
func back(s string, i, most int, of func(byte) bool) int {
	n := 0
	for n < most && i-n > 0 && of(s[i-n-1]) {
		n++
	}
	return n
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
