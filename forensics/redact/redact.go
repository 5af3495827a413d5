// Package redact masks credentials and personal data in values before people or programs see them.
//
// A Policy defines what is masked: names of headers, paths of keys in JSON, forms, XML, SQL and
// command lines, detectors that recognize a secret by its form, and patterns. It changes values in
// answers, never a bundle, and takes time proportional to the length of a value. It cannot find a
// secret in free text that has neither a name nor a recognizable form.
package redact

import (
	"net/url"
	"strings"
)

// Mask is the default text that replaces a secret.
const Mask = "[masked]"

// SecretHeader reports whether the policy masks all values of a header: one in its list, or one named like a secret value, with or
// without the prefix "x-".
func (p *Policy) SecretHeader(name string) bool {
	v, known := p.headerVerdicts.get(name)
	if !known {
		if v = no; p.secretHeader(name) {
			v = yes
		}
		p.headerVerdicts.put(name, v)
	}
	return v == yes
}

func (p *Policy) secretHeader(name string) bool {
	name = strings.ToLower(name[:min(len(name), maxName)])
	name = strings.TrimSuffix(strings.TrimPrefix(name, "grpc-metadata-"), "-bin") // as gateways and gRPC name them
	t := task{p: p}
	return p.headers.has(name) || t.secret(nil, name) || t.secret(nil, strings.TrimPrefix(name, "x-"))
}

// Header masks the value of a header. In a secret header the scheme of Authorization and the names
// of cookies stay. Other headers are searched as text.
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

// header masks the value of a header that is not entirely secret.
func (t *task) header(name, value string) string {
	if t.guess(nil, strings.TrimPrefix(strings.ToLower(name), "x-"), value) {
		return t.value(value)
	}
	if user, _, ok := strings.Cut(value, "@"); ok && (strings.EqualFold(name, "host") || strings.EqualFold(name, ":authority")) && t.p.scan.want&kURL != 0 {
		if _, password, ok := strings.Cut(user, ":"); ok && password != t.p.mask {
			value = user[:len(user)-len(password)] + t.value(password) + value[len(user):]
		}
	}
	if at := strings.IndexAny(value, "?#"); at >= 0 && strings.IndexByte(value[at:], '=') > 0 {
		value = t.urls(value)
	}
	if strings.EqualFold(name, "grpc-message") {
		value = t.escapedMessage(value)
	}
	if strings.EqualFold(name, "sec-websocket-protocol") {
		value = t.protocols(value)
	}
	if at := strings.Index(value, bearerProtocol); at >= 0 {
		_, end := literal(value, at)
		value = value[:at] + t.value(value[at:end]) + value[end:]
	}
	if strings.ContainsAny(value, "=:{'`") || strings.Contains(value, is) { // a link, JSON, or fields with names
		return t.text("", value, 1)
	}
	return t.words(value)
}

// urls masks the URLs in the value of a header, which may be in angle brackets or quotes.
func (t *task) urls(value string) string {
	const ends = `<>"`
	var out strings.Builder
	for value != "" {
		end := strings.IndexAny(value, ends)
		if end < 0 {
			end = len(value)
		}
		if strings.ContainsAny(value[:end], "?#") {
			out.WriteString(t.form(value[:end]))
		} else {
			out.WriteString(value[:end])
		}
		bare := len(value) - len(strings.TrimLeft(value[end:], ends))
		out.WriteString(value[end:bare])
		value = value[bare:]
	}
	return out.String()
}

// escapedMessage masks a message that gRPC writes with percent signs.
func (t *task) escapedMessage(value string) string {
	had := t.n
	plain, err := url.PathUnescape(value)
	if err != nil || plain == value {
		return value
	}
	if plain = t.plain(plain); t.n == had {
		return value
	}
	return strings.ReplaceAll(url.PathEscape(plain), url.PathEscape(t.p.mask), t.p.mask)
}

// protocols masks the item after one that announces a token, in a list of WebSocket protocols (RFC 6455, section 11.3.4).
func (t *task) protocols(value string) string {
	items := strings.Split(value, ",")
	for i := 1; i < len(items); i++ {
		if name := strings.TrimSpace(items[i-1]); t.secret(nil, name) || isScheme(strings.ToLower(name)) && t.passwords() {
			blank := len(items[i]) - len(strings.TrimLeft(items[i], " "))
			items[i] = items[i][:blank] + t.value(items[i][blank:])
		}
	}
	return strings.Join(items, ",")
}

// bearerProtocol is before a token in Sec-WebSocket-Protocol, with which browsers log in to Kubernetes.
const bearerProtocol = "base64url.bearer.authorization.k8s.io."

// Query masks the values of secret names in a URL query or form, and searches the others. A path or
// a whole URL with a question mark may precede it.
func (p *Policy) Query(q string) string {
	t := task{p: p}
	return t.form(q)
}

// Sentence masks what is secret by its form in a text that the program wrote itself. Names in it are words of the program,
// so they make nothing secret.
func (p *Policy) Sentence(s string) string {
	t := task{p: p}
	return t.words(s)
}

// Text masks a text and returns the number of masked places. The content type defines how to read
// it: JSON, XML, a form, SQL ("sql"), a command line ("command") or plain text. An empty or unknown
// type is guessed from the text.
func (p *Policy) Text(contentType, s string) (masked string, n int) {
	t := task{p: p}
	masked = t.text(contentType, s, 0)
	return masked, t.n
}
