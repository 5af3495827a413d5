package format

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Curl returns a writer of one curl command for each call, which sends its request again.
func Curl(s *console.Streams) Calls { return &curl{s: s} }

type curl struct {
	s    *console.Streams
	none int // calls whose request was not captured
}

// Call implements Calls.
func (w *curl) Call(x *forensics.Exchange) error {
	h := httpCall{x}
	if h.text("method") == "" {
		w.none++
		return nil
	}
	if ns, ok := x.Call.Get("ts_ns").(int64); ok {
		fmt.Fprintf(w.s.Out, "# %s %s\n", time.Unix(0, ns).UTC().Format(time.RFC3339Nano), console.Printable(h.text("summary"), 200))
	}
	headers, remarks := curlHeaders(h)
	body, remark := curlBody(x)
	for _, r := range append(remarks, remark...) {
		fmt.Fprintln(w.s.Out, "#", r)
	}
	parts := slices.Concat(curlRequest(h), headers, body)
	_, err := fmt.Fprintln(w.s.Out, strings.Join(parts, " "))
	return err
}

// curlRequest is the command up to the headers. It sends the request to the original server
// address, regardless of what its name resolves to today, and with the original URL: curl expands
// nothing in it and resolves no dots.
func curlRequest(h httpCall) []string {
	parts := []string{"curl", "--globoff", "--path-as-is"}
	switch v := h.version("http1_version"); {
	case v == "HTTP/1.0":
		parts = append(parts, "--http1.0")
	case v == "HTTP/2" && h.scheme() == "https":
		parts = append(parts, "--http2")
	case v == "HTTP/2":
		parts = append(parts, "--http2-prior-knowledge")
	case v == "HTTP/3":
		parts = append(parts, "--http3")
	default:
		parts = append(parts, "--http1.1")
	}
	if ip, err := netip.ParseAddr(h.text("dst_ip")); err == nil {
		parts = append(parts, "--connect-to", shellQuote("::"+netip.AddrPortFrom(ip, uint16(h.number("dst_port", 0))).String()))
	}
	if t := h.text("http1_target"); t == "*" {
		parts = append(parts, "--request-target", shellQuote(t))
	}
	if h.text("method") == "HEAD" { // with -X curl would wait for a body
		return append(parts, "--head", shellQuote(h.url()))
	}
	return append(parts, "-X", shellQuote(h.text("method")), shellQuote(h.url()))
}

// curlHeaders are the headers that were sent. It removes headers that curl would add but
// the client did not send.
func curlHeaders(h httpCall) (parts, remarks []string) {
	own := []string{"User-Agent", "Accept"}
	if h.x.Request != nil && len(h.x.Request.Data) > 0 {
		own = append(own, "Content-Type", "Expect")
	}
	sent := map[string]bool{}
	for _, l := range h.headers("request") {
		name := strings.ToLower(l.Name)
		sent[name] = true
		switch {
		case strings.HasPrefix(l.Name, "@"): // curl would read a file of that name and send it
			remarks = append(remarks, "left out, because curl would read it as a file name: header "+shellQuote(l.Name))
		case name == "content-encoding":
			remarks = append(remarks, "the body is sent decoded, so this is left out: header "+shellQuote(l.Name+": "+l.Value))
		case name == "accept-encoding": // --compressed makes curl decode the response
			parts = append(parts, "--compressed", "-H", shellQuote(l.Name+": "+l.Value))
		case name == "host", name == "content-length", name == "transfer-encoding", name == "connection": // curl sets its own
		case l.Value == "": // with a colon curl would not send the header
			parts = append(parts, "-H", shellQuote(l.Name+";"))
		default:
			parts = append(parts, "-H", shellQuote(l.Name+": "+l.Value))
		}
	}
	for _, name := range own {
		if !sent[strings.ToLower(name)] {
			parts = append(parts, "-H", shellQuote(name+":"))
		}
	}
	return parts, remarks
}

func curlBody(x *forensics.Exchange) (parts, remarks []string) {
	b := x.Request
	switch {
	case b == nil || len(b.Data) == 0:
		return nil, nil
	case b.IsText && !b.Truncated:
		// Not --data-binary, which reads a body that begins with @ as a file name.
		return []string{"--data-raw", shellQuote(string(b.Data))}, nil
	}
	return []string{"--data-binary", "@" + b.SHA256 + ".body"}, []string{"the body is not text: pcapsule show prints it, sha256 " + b.SHA256}
}

// End implements Calls.
func (w *curl) End() error {
	if w.none > 0 {
		fmt.Fprintf(w.s.Err, "%s left out: the request was not captured\n", plural.Count(int64(w.none), "call", "calls"))
	}
	return nil
}

// shellQuote quotes for a POSIX shell. A text with control characters is written in the
// form $'…', so that pasting the command cannot run anything else.
//
// LIMIT: a shell cannot pass a NUL; it is left out.
func shellQuote(s string) string {
	plain := s != ""
	control := false
	for _, c := range s {
		switch {
		case c == utf8.RuneError, unicode.IsControl(c), unicode.Is(unicode.Cf, c):
			control = true
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=@%+,", c):
		default:
			plain = false
		}
	}
	switch {
	case control:
		var b strings.Builder
		b.WriteString("$'")
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case c == '\'' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c == 0:
			case c < 0x20 || c >= 0x7f:
				fmt.Fprintf(&b, `\x%02x`, c)
			default:
				b.WriteByte(c)
			}
		}
		return b.String() + "'"
	case plain:
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
