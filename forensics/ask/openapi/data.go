package openapi

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// isData reports whether a part of a path or a field name is a value from the traffic, not a name
// from the design of the interface: a number, UUID, date, IP address, email address, token or sentence.
//
// LIMIT: a value that is a plain word, such as a person's name, counts as a name here; keysAreData
// recognizes objects with such field names.
func isData(s string) bool {
	digits := 0
	for _, r := range s {
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	if digits > 0 && digits == len(s) || digits >= 4 || digits >= 2 && len(s) >= 16 || len(s) > maxName || mixed(s) {
		return true
	}
	// No name needs these. Parameters of a part of a path follow ; or (.
	if strings.ContainsAny(s, "%\"'<> ;=(") || !utf8.ValidString(s) {
		return true
	}
	// JSON-LD has fields such as @type.
	if strings.LastIndexByte(s, '@') > 0 {
		return true
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil || uuidForm.MatchString(s)
}

// maxName is the length above which a text is data.
const maxName = 64

// mixed reports whether a long text changes between lower and upper case as often as random letters
// do. camelCase changes once in a word.
func mixed(s string) bool {
	changes := 0
	for i := 1; i < len(s); i++ {
		if lower := s[i-1]; lower >= 'a' && lower <= 'z' && s[i] >= 'A' && s[i] <= 'Z' {
			changes++
		}
	}
	return len(s) >= 16 && 6*changes >= len(s)
}

// generalized replaces each part of a path template that is data by {id}.
func generalized(template string) string {
	parts := strings.Split(template, "/")
	for i, p := range parts {
		if isData(p) || p != "{id}" && strings.ContainsAny(p, "{}") { // OpenAPI gives braces a meaning
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

// template is the SQL for the path of a call with {id} for the segments that differ between calls. It is the second word of the
// endpoint, unless the endpoint names an operation of the content, such as a GraphQL query: for OpenAPI that is one operation.
const template = `(CASE WHEN starts_with(endpoint, method || ' ' || left(path, 1)) AND NOT contains(substr(endpoint, length(method) + 2), ' ') THEN substr(endpoint, length(method) + 2)
	ELSE ` + table.TemplateSQL + ` END)`

// key is the SQL for the column that groups calls.
const key = `method || ' ' || ` + template + ` AS key`
