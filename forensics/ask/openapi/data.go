package openapi

import (
	"net/netip"
	"strings"
	"time"
)

// isData reports whether a part of a path or a field name is a value from the traffic, not a name
// from the design of the interface: a number, UUID, date, IP address, email address or token.
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
	if digits > 0 && digits == len(s) || digits >= 4 || digits >= 2 && len(s) >= 16 {
		return true
	}
	// JSON-LD has fields such as @type.
	if strings.LastIndexByte(s, '@') > 0 || strings.Contains(s, "%40") {
		return true
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil || uuidForm.MatchString(s)
}

// generalized replaces each part of a path template that is data by {id}.
func generalized(template string) string {
	parts := strings.Split(template, "/")
	for i, p := range parts {
		if isData(p) {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}
