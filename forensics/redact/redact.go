// Package redact masks credentials in values that leave for people or programs who need
// not know them.
//
// It changes values on their way out, never a bundle. What it masks it masks whole but
// for the scheme of Authorization; it promises no more than its lists say, so a secret in
// a free text or under a name of its own is not found.
package redact

import "strings"

// Mask stands where a secret was.
const Mask = "[masked]"

// Headers are the names, in lower case, whose values are credentials.
var headers = [...]string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "apikey", "x-auth-token",
	"x-access-token", "x-csrf-token", "x-xsrf-token", "x-amz-security-token", "x-goog-api-key", "x-vault-token", "x-gitlab-token", "x-hub-signature",
	"private-token", "x-session-token", "x-forwarded-client-cert"}

// params are parts of parameter names, in lower case, whose values are credentials.
var params = [...]string{"password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "access_key", "signature", "credential", "session", "auth"}

// SecretHeader reports whether a header's value is a credential.
func SecretHeader(name string) bool {
	name = strings.ToLower(name)
	for _, h := range headers {
		if name == h {
			return true
		}
	}
	return false
}

// Header is the value of a header with a credential masked; the scheme of Authorization
// and the names of cookies stay.
func Header(name, value string) string {
	if !SecretHeader(name) {
		return value
	}
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization":
		if scheme, _, ok := strings.Cut(value, " "); ok && len(scheme) <= 20 {
			return scheme + " " + Mask
		}
	case "cookie":
		parts := strings.Split(value, ";")
		for i, p := range parts {
			if name, _, ok := strings.Cut(p, "="); ok {
				parts[i] = name + "=" + Mask
			} else {
				parts[i] = Mask
			}
		}
		return strings.Join(parts, ";")
	}
	return Mask
}

// secretParam reports whether a parameter of that name holds a credential.
func secretParam(name string) bool {
	name = strings.ToLower(name)
	for _, p := range params {
		if strings.Contains(name, p) {
			return true
		}
	}
	return false
}

// Query is a URL query with the values of credentials masked.
func Query(q string) string {
	parts := strings.Split(q, "&")
	for i, p := range parts {
		if name, value, ok := strings.Cut(p, "="); ok && value != "" && secretParam(name) {
			parts[i] = name + "=" + Mask
		}
	}
	return strings.Join(parts, "&")
}

// HeadersSQL is a DuckDB expression for a column of headers with credentials masked.
func HeadersSQL(column string) string {
	return "list_transform(" + column + ", h -> CASE WHEN lower(h.name) IN (" + quoted(headers[:]) + ") THEN struct_pack(name := h.name, value := " +
		"CASE WHEN lower(h.name) IN ('authorization', 'proxy-authorization') AND strpos(h.value, ' ') BETWEEN 2 AND 21 THEN split_part(h.value, ' ', 1) || ' ' ELSE '' END || '" +
		Mask + "', kind := h.kind) ELSE h END)"
}

// QuerySQL is a DuckDB expression for a URL query with credentials masked.
func QuerySQL(column string) string {
	return "regexp_replace(" + column + ", '(?i)([^&=]*(?:" + strings.Join(params[:], "|") + ")[^&=]*=)[^&]+', '\\1" + Mask + "', 'g')"
}

func quoted(list []string) string { return "'" + strings.Join(list, "', '") + "'" }
