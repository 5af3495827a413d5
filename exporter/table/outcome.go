package table

import "strings"

// Values of column outcome: how a call ended; docs/format/calls.md defines them.
const (
	OK          = "ok"           // the answer reports no error, or the message needs no answer
	ClientError = "client_error" // the answer blames the request
	ServerError = "server_error" // the answer reports a fault of the server
	Refused     = "refused"      // the server or the network declined the request
	NoAnswer    = "no_answer"    // no complete answer came, and the capture shows that none will
	Cancelled   = "cancelled"    // the client gave up the request before it could expect an answer; column error has it too
	Cut         = "cut"          // the capture has only a part: it began after the request or ended before the answer
	Skipped     = "skipped"      // the server did not execute it, because one before it in the same batch failed
	Unread      = "unread"       // the bytes were captured, but the answer's result cannot be decoded
)

// Undelivered is the value of column error of a call about whose request there is an ICMP error. status_text has that in
// words, and the error's packet is cited.
const Undelivered = "undelivered"

// Abandoned is the value of column error of a call whose caller had closed the connection before the response began, and
// rejected that. The FIN and RST are cited.
const Abandoned = "abandoned"

// Values of column request_delivered; docs/format/calls.md defines them.
const (
	Delivered       = "yes"     // its receiver acknowledged or answered it
	NotDelivered    = "no"      // the capture shows that its receiver did not
	DeliveryUnknown = "unknown" // the capture does not show it
)

// SkippedBatch is the value of column error of a call whose outcome is skipped.
const SkippedBatch = "skipped"

// Outcomes are all values of column outcome.
func Outcomes() []string {
	return []string{OK, ClientError, ServerError, Refused, NoAnswer, Cancelled, Skipped, Cut, Unread}
}

// Failed reports whether a call with this outcome counts as failed.
func Failed(outcome string) bool {
	switch outcome {
	case ClientError, ServerError, Refused, NoAnswer:
		return true
	}
	return false
}

// HTTPOutcome is the outcome for a status code (RFC 9110 section 15), or "" if it is not an error.
func HTTPOutcome(status int32) string {
	switch {
	case status >= 500:
		return ServerError
	case status >= 400:
		return ClientError
	}
	return ""
}

// maxEndpoint is the largest size of a path template in column endpoint, in bytes.
const maxEndpoint = 1024

// EndpointOf is the operation that a call requested, without the parts that differ between
// calls: method and path template, else the method, else the protocol.
func (c *Call) EndpointOf() string {
	if !c.Path.OK {
		if c.Method.OK {
			return c.Method.V
		}
		return c.Protocol
	}
	path := Template(c.Path.V)
	if len(path) > maxEndpoint {
		path = strings.ToValidUTF8(path[:maxEndpoint], "") + "…"
	}
	if c.Method.OK {
		return c.Method.V + " " + path
	}
	return path
}

// Template replaces the segments of a path that differ between calls with {id}: those that are a
// number, contain three digits in a row or an @, end with a number after - or _, are one or two
// letters and a number (but not v1), have 16 or more hexadecimal digits and dashes, or are a code such as HB1AC.
// After the name of a collection, such as labs, TSH and HbA1c are codes too.
func Template(path string) string {
	before := ""
	for at := 0; at <= len(path); {
		segment, _, _ := strings.Cut(path[at:], "/")
		if varies(segment) || code(before, segment) {
			return templated(path, at, before)
		}
		before = segment
		at += len(segment) + 1
	}
	return path
}

// TemplateSQL is Template as SQL for column path.
const TemplateSQL = `array_to_string(list_transform(string_split(path, '/'), (s, i) -> CASE
	WHEN regexp_matches(s, '[0-9]{3}|@|(^|[-_])[0-9]+$|^[a-uw-zA-UW-Z][0-9]+$|^[a-zA-Z]{2}[0-9]+$|^[0-9a-fA-F-]{16,}$') THEN '{id}'
	WHEN strlen(s) >= 5 AND regexp_matches(s, '^[0-9A-Z._-]*[0-9][A-Z][0-9A-Z._-]*$') THEN '{id}'
	WHEN i = 1 OR NOT regexp_matches(s, '^[0-9A-Za-z._-]*[A-Z]') OR regexp_matches(s, '^V[0-9]*$|[^0-9A-Za-z._-]') OR NOT regexp_matches(string_split(path, '/')[i - 1], '^[^A-Z]+[^A-Zs]s$') THEN s
	WHEN NOT regexp_matches(s, '[a-z]') AND regexp_matches(s, '[0-9A-Z].*[0-9A-Z]') OR strlen(s) >= 5 AND regexp_matches(s, '[0-9]') AND regexp_matches(s, '[a-z]') THEN '{id}'
	ELSE s END), '/')`

// templated is Template for a path in which the segment at from is the first that varies. before is the segment before it.
func templated(path string, from int, before string) string {
	var b strings.Builder
	b.Grow(len(path))
	b.WriteString(path[:from])
	for i, segment := range strings.Split(path[from:], "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		is := segment
		if varies(segment) || code(before, segment) {
			is = "{id}"
		}
		b.WriteString(is)
		before = segment
	}
	return b.String()
}

// leastCode is the length from which on a code is none of the words with a digit in them, such as B2B.
const leastCode = 5

// code reports whether a segment is a code: capitals and digits, of which one is followed by a capital. The segment before it
// may be the name of a collection, a plural in lower case: then capitals alone, or both cases and a digit, are one too.
func code(before, s string) bool {
	upper, lower, digits, inside := 0, 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z':
			upper++
			inside = inside || i > 0 && '0' <= s[i-1] && s[i-1] <= '9'
		case 'a' <= c && c <= 'z':
			lower++
		case '0' <= c && c <= '9':
			digits++
		case c != '-' && c != '_' && c != '.':
			return false
		}
	}
	switch {
	case upper == 0:
		return false
	case lower == 0 && inside && len(s) >= leastCode:
		return true
	case !plural(before) || s[0] == 'V' && digits == len(s)-1: // a version
		return false
	case lower == 0:
		return upper+digits > 1
	}
	return digits > 0 && len(s) >= leastCode
}

// plural reports whether a segment is lower case and ends with a single s.
func plural(s string) bool {
	n := len(s)
	return n >= 3 && s[n-1] == 's' && s[n-2] != 's' && s == strings.ToLower(s)
}

func varies(s string) bool {
	digits, hex := 0, len(s) >= 16 // digits: length of the run that ends here
	for i := range len(s) {
		c := s[i]
		if '0' <= c && c <= '9' {
			if digits++; digits == 3 {
				return true
			}
			continue
		}
		digits = 0
		if c == '@' {
			return true
		}
		if c != '-' && ('a' > c || c > 'f') && ('A' > c || c > 'F') {
			hex = false
		}
	}
	if digits == 0 {
		return hex
	}
	rest := s[:len(s)-digits]
	switch n := len(rest); {
	case n == 0 || rest[n-1] == '-' || rest[n-1] == '_':
		return true
	case n == 1:
		return letter(rest[0]) && rest[0] != 'v' && rest[0] != 'V'
	case n == 2:
		return letter(rest[0]) && letter(rest[1])
	}
	return hex
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
