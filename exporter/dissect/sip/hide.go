package sip

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// harmless are the parameters of Digest that prove nothing, RFC 3261 section 25.1 and RFC 8760.
var harmless = map[string]bool{"username": true, "realm": true, "uri": true, "algorithm": true, "qop": true, "nc": true, "stale": true, "domain": true}

// hide records what no row shows of a message, in.Data[:n], whose head is in.Data[:head]: what answers a challenge,
// passwords in URIs, keys of media, and bodies.
func (m *message) hide(in *dissect.Input, x *dissect.Exchange, head, n int) {
	if !in.Tracing() {
		return
	}
	x.Hide(in, 0, 0) // it may have none
	name, digest := "", false
	lines(in.Data, 0, head, func(from, to int) {
		hidePasswords(in, x, from, to)
		line := in.Data[from:to]
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if !folded {
			before, _, ok := bytes.Cut(line, []byte(":"))
			if name = ""; ok {
				name = strings.ToLower(string(bytes.TrimSpace(before)))
				from += len(before) + 1
			}
		}
		switch name {
		case "authorization", "proxy-authorization":
			if !folded {
				value := bytes.TrimLeft(in.Data[from:to], " \t")
				scheme, rest, _ := bytes.Cut(value, []byte(" "))
				digest = strings.EqualFold(string(scheme), "digest")
				from = to - len(rest)
			}
			if digest {
				hideParameters(in, x, from, to)
			} else {
				x.Hide(in, from, to)
			}
		case "authentication-info", "proxy-authentication-info": // RFC 8760 section 2
			hideParameters(in, x, from, to)
		case "identity": // RFC 8224; a token
			x.Hide(in, from, to)
		}
	})
	if !m.sdp {
		x.HideRest(in, head, n)
		return
	}
	lines(in.Data, head, n, func(from, to int) {
		for _, prefix := range [...]string{"k=", "a=crypto:", "a=key-mgmt:", "a=ice-pwd:"} { // RFC 8866, 4568, 4567, 8839
			if bytes.HasPrefix(in.Data[from:to], []byte(prefix)) {
				x.Hide(in, from+len(prefix), to)
			}
		}
	})
}

// lines calls f with each line of b[at:end].
func lines(b []byte, at, end int, f func(from, to int)) {
	for at < end {
		next := end
		if i := bytes.IndexByte(b[at:end], '\n'); i >= 0 {
			next = at + i + 1
		}
		f(at, at+len(bytes.TrimRight(b[at:next], "\r\n")))
		at = next
	}
}

// hideParameters records the values in a list, in.Data[from:to], that are not harmless.
func hideParameters(in *dissect.Input, x *dissect.Exchange, from, to int) {
	quoted := false
	for at, start := from, from; at <= to; at++ {
		switch {
		case at < to && in.Data[at] == '"':
			quoted = !quoted
		case at < to && in.Data[at] == '\\' && quoted:
			at++
		case at >= to || in.Data[at] == ',' && !quoted:
			end := min(at, to)
			key, value, ok := bytes.Cut(in.Data[start:end], []byte("="))
			if !ok { // the rest of a folded one
				key, value = nil, in.Data[start:end]
			}
			if !harmless[strings.ToLower(string(bytes.TrimSpace(key)))] {
				value = bytes.TrimLeft(value, ` "`)
				x.Hide(in, end-len(value), end-len(value)+len(bytes.TrimRight(value, ` "`)))
			}
			start = at + 1
		}
	}
}

// hidePasswords records the passwords of SIP URIs in a line, in.Data[from:to], RFC 3261 section 19.1.1.
func hidePasswords(in *dissect.Input, x *dissect.Exchange, from, to int) {
	for {
		i := bytes.IndexByte(in.Data[from:to], '@')
		if i < 0 {
			return
		}
		user := in.Data[from : from+i]
		user = user[bytes.LastIndexAny(user, " \t<\",")+1:]
		if scheme := max(bytes.LastIndex(user, []byte("sip:")), bytes.LastIndex(user, []byte("sips:"))); scheme >= 0 {
			_, user, _ = bytes.Cut(user[scheme:], []byte(":"))
			if _, password, ok := bytes.Cut(user, []byte(":")); ok {
				x.Hide(in, from+i-len(password), from+i)
			}
		}
		from += i + 1
	}
}
