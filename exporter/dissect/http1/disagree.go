package http1

import (
	"fmt"
	"math"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
)

// maxOdd is how many bytes of what a peer sent an anomaly shows.
const maxOdd = 60

// smuggling reports a message whose lines or end may differ between two readers.
func (k *conn) smuggling(what, detail string) {
	k.c.Anomaly("smuggling", what+": "+httpfield.ValidText(detail), 0)
}

// ambiguous reports a message in which two readers may see another method, target, host or field.
func (k *conn) ambiguous(what, detail string) {
	k.c.Anomaly("ambiguous", what+": "+httpfield.ValidText(detail), 0)
}

// disagree reports what of a block of header lines two readers may read differently. first has the quirks of the start
// line.
func (k *conn) disagree(what string, h *head, first quirks) {
	q := h.quirks | first
	if q&(quirkBareLF|quirkBareCR|quirkFold|quirkSpaceBeforeColon|quirkLeadingSpace|quirkNoColon|quirkName|quirkNUL|quirkTwoHosts) == 0 {
		return
	}
	if q&quirkBareLF != 0 {
		k.smuggling(what, "a line of the head, or before it, ends in LF alone; it was accepted as the end, and a reader that accepts CR LF only sees one line with the next (RFC 9112 section 2.2)")
	}
	if q&quirkBareCR != 0 && !h.disguised {
		k.smuggling(what, "a line of the head, or before it, has a CR without LF; it was read as part of the line, and a reader that ends lines there sees two (RFC 9112 section 2.2)")
	}
	if q&quirkFold != 0 && !h.folded && !h.disguised {
		k.ambiguous(what, fmt.Sprintf("field %q has more than one line; they were joined, and another reader sees fields of their own, or refuses it (RFC 9112 section 5.2)", shown(h.folding)))
	}
	if q&quirkLeadingSpace != 0 {
		k.ambiguous(what, "white space comes before the first field; it was read as part of its name, and another reader joins it with the start line or ignores it (RFC 9112 section 2.2)")
	}
	if q&(quirkSpaceBeforeColon|quirkNoColon|quirkName) != 0 && q&quirkLeadingSpace == 0 && !h.hidden && !h.disguised {
		odd := "a line has no colon" // it may be a secret
		if h.odd != "" {
			odd = fmt.Sprintf("%q is not a field name", shown(h.odd))
		}
		k.ambiguous(what, odd+"; it was kept, and another reader ignores the line or sees another name (RFC 9112 section 5.1, RFC 9110 section 5.1)")
	}
	if q&quirkNUL != 0 {
		k.ambiguous(what, "a field has a NUL; it was kept, and another reader ends the value there (RFC 9110 section 5.5)")
	}
	if h.hosts {
		k.ambiguous(what, "different Host fields; the first counts, and another reader uses the last or refuses it (RFC 9112 section 3.2)")
	} else if q&quirkTwoHosts != 0 {
		k.ambiguous(what, "Host is repeated with one value; it was accepted, and another reader refuses it or joins both (RFC 9112 section 3.2)")
	}
}

// disagreeTarget reports a request line and a Host that two readers may read differently.
func (k *conn) disagreeTarget(l *requestLine, h *head) {
	if l.quirks&quirkRequestLine != 0 && l.method != "" {
		k.ambiguous("request", fmt.Sprintf("a request line that is not a method, a target and a version with one space between them; read as %q with version %q, and another reader splits it at other places or refuses it (RFC 9112 section 3)", shown(l.method), shown(l.version)))
	}
	if why := httpfield.OddHost(h.authority); why != "" {
		k.ambiguous("request", fmt.Sprintf("Host has %s; it was kept, and another reader finds another host in it or refuses it (RFC 9112 section 3.2)", why))
		return
	}
	scheme, target := "", l.target
	if l.method != "CONNECT" {
		i := strings.Index(target, "://")
		if i <= 0 || strings.IndexByte(target[:i], '/') >= 0 {
			return
		}
		scheme, target = target[:i], target[i+3:]
		target = target[:len(target)-len(strings.TrimLeftFunc(target, func(r rune) bool { return r != '/' && r != '?' && r != '#' }))]
	}
	if h.host && !httpfield.SameAuthority(scheme, target, h.authority) {
		k.ambiguous("request", "Host differs from the host of the target; that of the target counts, and another reader uses Host (RFC 9112 section 3.2.2)")
	}
}

// framesNothing reports a message that has no body and announces one. readings says how it was read, and how it may be.
func (k *conn) framesNothing(what, seen, readings string, h *head) {
	if h.hasTE || h.length > 0 {
		k.smuggling(what, seen+"; "+readings)
	}
}

// asBody reports a request in the body of a request whose method gives a body no meaning: a server that does not read
// it sees the next request there.
func (k *conn) asBody(c *call, b []byte) {
	switch method, _, _ := strings.Cut(c.head, " "); method {
	case "GET", "HEAD", "DELETE", "OPTIONS", "TRACE":
		if detectRequest(b) == dissect.Yes {
			k.smuggling("request", "the body of "+method+" begins like a request; it was read as a body, and a reader that expects none sees another request (RFC 9110 section 9.3.1)")
		}
	}
}

func shown(s string) string { return s[:min(len(s), maxOdd)] }

// disagreeTrailer reports a trailer with a field that decides about the message: a reader that merges trailers into the
// head applies it.
func (k *conn) disagreeTrailer(what string, h *head) {
	k.disagree(what, h, 0)
	if h.hasTE || h.length >= 0 || h.badLength || h.host {
		k.smuggling(what, "the trailer has Content-Length, Transfer-Encoding or Host; it was not applied, and a reader that merges it into the head applies it (RFC 9110 section 6.5.1)")
	}
}

// message names the message that s reads.
func (k *conn) message(s *side) string {
	if s == &k.req {
		return "request"
	}
	return "response"
}

// disagreeChunk reports a chunk line whose size two readers may read differently. extension is what follows the size.
func (k *conn) disagreeChunk(s *side, size int64, spaced bool, extension string) {
	what := k.message(s)
	if spaced && s.call.quirks&quirkChunkSpace == 0 {
		s.call.quirks |= quirkChunkSpace
		k.smuggling(what, "white space around a chunk size; it was ignored, and another reader refuses it or reads another size (RFC 9112 section 7.1)")
	}
	if size > math.MaxUint32 {
		k.smuggling(what, fmt.Sprintf("a chunk size of %d; it was applied, and a reader of 32 bits reads %d (RFC 9112 section 7.1)", size, uint32(size)))
	}
	if !properExtensions(extension) && s.call.quirks&quirkChunkExtension == 0 {
		s.call.quirks |= quirkChunkExtension
		k.smuggling(what, fmt.Sprintf("%q is not a chunk extension; it was skipped up to the line end, and another reader ends the line elsewhere or refuses it (RFC 9112 section 7.1.1)", shown(extension)))
	}
}

// properExtensions reports whether s is *( BWS ";" BWS name [ BWS "=" BWS value ] ), RFC 9112 section 7.1.1.
func properExtensions(s string) bool {
	token := func() bool {
		i := 0
		for i < len(s) && isToken(s[i]) {
			i++
		}
		ok := i > 0
		s = strings.TrimLeft(s[i:], " \t")
		return ok
	}
	for s = strings.TrimLeft(s, " \t"); s != ""; {
		if s[0] != ';' {
			return false
		}
		s = strings.TrimLeft(s[1:], " \t")
		if !token() {
			return false
		}
		if s == "" || s[0] != '=' {
			continue
		}
		if s = strings.TrimLeft(s[1:], " \t"); s == "" || s[0] != '"' {
			if !token() {
				return false
			}
			continue
		}
		i := 1
		for i < len(s) && s[i] != '"' {
			if s[i] == '\\' {
				i++
			}
			if i < len(s) && (s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f) {
				return false
			}
			i++
		}
		if i >= len(s) {
			return false
		}
		s = strings.TrimLeft(s[i+1:], " \t")
	}
	return true
}

// leadingQuirks are those of the empty lines before a start line.
func leadingQuirks(b []byte) (q quirks) {
	for len(b) > 0 {
		q |= quirkLeadingLines
		switch {
		case b[0] == '\n':
			q |= quirkBareLF
		case len(b) > 1 && b[1] == '\n':
			b = b[1:]
		default:
			q |= quirkBareCR
		}
		b = b[1:]
	}
	return q
}
