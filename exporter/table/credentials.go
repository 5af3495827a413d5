package table

import (
	"slices"
	"strings"
)

// KeyHeaders are the names of HTTP request headers that carry a key or a token, in lower case:
// the complete name, or a pattern in which * matches the rest. HTTP has no registry for them;
// these are the headers that API gateways and cloud services use.
var KeyHeaders = []string{"api-key", "apikey", "*-api-key", "x-auth-*", "x-authorization", "*-token", "*-subscription-key", "x-functions-key", "x-clickhouse-key"}

// notKeys are parts of header names that match KeyHeaders but carry no credentials: tokens that
// protect a form or continue a list.
var notKeys = []string{"csrf", "xsrf", "page-", "next-", "continuation-", "sync-", "device-"}

// IsKeyHeader reports whether a request header of this name carries a key or a token.
func IsKeyHeader(name string) bool {
	// Nearly all names end here: this runs for every header.
	if len(name) < len("api-key") {
		return false
	}
	switch last := name[len(name)-1] | 0x20; {
	case last == 'y' || last == 'n':
	case len(name) > 7 && strings.EqualFold(name[:7], "x-auth-"):
	default:
		return false
	}
	name = strings.ToLower(name)
	for _, p := range KeyHeaders {
		rest, suffix := strings.CutPrefix(p, "*")
		rest, prefix := strings.CutSuffix(rest, "*")
		if name == rest || suffix && strings.HasSuffix(name, rest) || prefix && strings.HasPrefix(name, rest) {
			return !slices.ContainsFunc(notKeys, func(word string) bool { return strings.Contains(name, word) })
		}
	}
	return false
}
