// Package redact masks credentials and personal data in values that leave for people or
// programs who need not know them.
//
// A Policy says what: names of headers, paths of keys in JSON, forms, XML, SQL and command
// lines, detectors that know a secret by its form, and patterns. It changes values on
// their way out, never a bundle, and takes time in proportion to a value whatever stands
// in it. It promises no more than its lists say: a secret in free text that has neither a
// name nor a form of its own is not found.
package redact

import "strings"

// Mask stands where a secret was, if a policy does not say otherwise.
const Mask = "[masked]"

// Header is the value of a header masked by the default policy.
func Header(name, value string) string { return Default().Header(name, value) }

// Query is a URL query masked by the default policy.
func Query(q string) string { return Default().Query(q) }

// SecretHeader reports whether the policy masks a header whatever its value.
func (p *Policy) SecretHeader(name string) bool {
	if len(name) > maxName {
		name = name[:maxName]
	}
	return p.headers.has(strings.ToLower(name))
}

// Header is the value of a header as the policy wants it. Of a masked one the scheme of
// Authorization and the names of cookies stay; others are searched as text.
func (p *Policy) Header(name, value string) string {
	if !p.SecretHeader(name) {
		t := task{p: p}
		return t.header(name, value)
	}
	if value == "" {
		return ""
	}
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization":
		if scheme, _, ok := strings.Cut(value, " "); ok && len(scheme) <= 20 {
			return scheme + " " + p.mask
		}
	case "cookie":
		parts := strings.Split(value, ";")
		for i, part := range parts {
			if name, _, ok := strings.Cut(part, "="); ok {
				parts[i] = name + "=" + p.mask
			} else {
				parts[i] = p.mask
			}
		}
		return strings.Join(parts, ";")
	}
	return p.mask
}

// header masks the value of a header that is not secret as a whole.
func (t *task) header(name, value string) string {
	if strings.EqualFold(name, "referer") || strings.EqualFold(name, "location") || strings.EqualFold(name, ":path") {
		value = t.form(value)
	}
	if strings.IndexByte(value, '=') >= 0 { // a link, or fields with names
		return t.plain(value)
	}
	return t.words(value)
}

// Query is a URL query, or a form, with the values of secret names masked and the others
// searched. A path or a whole URL may stand before a question mark.
func (p *Policy) Query(q string) string {
	t := task{p: p}
	return t.form(q)
}

// Text is a text with what the policy names masked, and how many places were. The content
// type says how to read it: JSON, XML, a form, SQL ("sql"), a command line ("command") or
// plain; an empty or unknown one is guessed from the text.
func (p *Policy) Text(contentType, s string) (masked string, n int) {
	t := task{p: p}
	masked = t.text(contentType, s, 0)
	return masked, t.n
}
