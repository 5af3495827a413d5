package format

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/forensics"
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
	body, remark := curlBody(h)
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
	if h.text("method") == "HEAD" && !h.hasBody() { // with -X curl would wait for the body of the response
		parts = append(parts, "--head")
	} else {
		parts = append(parts, "-X", shellQuote(h.text("method")))
	}
	target, root := h.target(), h.scheme()+"://"+h.host()
	if h.text("http1_target") != "" || !plainTarget.MatchString(target) {
		return append(parts, "--request-target", shellQuote(target), shellQuote(root+"/"))
	}
	return append(parts, shellQuote(root+target))
}

// plainHost is a host with or without a port, and plainTarget a target that curl sends as it is: it
// cuts one at #, and refuses or encodes other bytes.
var (
	plainHost   = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)
	plainTarget = regexp.MustCompile(`^/[!-"$-~]*$`)
)

// maxArgument is the length of a text that a command can have as one argument, on Linux 128 KiB.
const maxArgument = 100 << 10

// curlHeaders are the headers that were sent. It removes headers that curl would add but
// the client did not send.
func curlHeaders(h httpCall) (parts, remarks []string) {
	own := []string{"Host", "User-Agent", "Accept"}
	body := h.hasBody()
	if body {
		own = append(own, "Content-Type", "Expect")
	}
	sent := map[string]bool{"host": h.text("http2_authority") != ""}
	for _, l := range h.headers("request") {
		name := strings.ToLower(l.Name)
		sent[name] = true
		switch {
		case strings.HasPrefix(l.Name, "@"): // curl would read a file of that name and send it
			remarks = append(remarks, "left out, because curl would read it as a file name: header "+shellQuote(l.Name))
			continue
		case name == "content-encoding":
			remarks = append(remarks, "the body is sent decoded, so this is left out: header "+shellQuote(l.Name+": "+l.Value))
			continue
		case name == "accept-encoding":
			parts = append(parts, "--compressed") // decodes the response
		case name == "host" && plainHost.MatchString(l.Value) && !strings.HasSuffix(l.Value, ":80") && !strings.HasSuffix(l.Value, ":443"):
			continue // the URL has it; curl removes the default port
		case name == "content-length" && (body || l.Value != "0"), name == "transfer-encoding" && (!body || !strings.EqualFold(l.Value, "chunked")):
			continue // curl counts the bytes of a body; without one it sends no length
		}
		if l.Value == "" { // with a colon curl would not send the header
			parts = append(parts, "-H", shellQuote(l.Name+";"))
		} else {
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

// curlBody is the body that was sent.
func curlBody(h httpCall) (parts, remarks []string) {
	if !h.hasBody() {
		return nil, nil
	}
	b := h.x.Request
	if b.Truncated || !b.Complete {
		remarks = append(remarks, plural.Sprintf("the body is incomplete: %d of %d {byte|bytes}", int64(len(b.Data)), b.Size))
	}
	if b.IsText && len(b.Data) <= maxArgument && !bytes.Contains(b.Data, []byte{0}) {
		// Not --data-binary, which reads a body that begins with @ as a file name.
		return []string{"--data-raw", shellQuote(string(b.Data))}, remarks
	}
	return []string{"--data-binary", "@<(printf %s '" + base64.StdEncoding.EncodeToString(b.Data) + "' | base64 -d)"}, remarks
}

// End implements Calls.
func (w *curl) End() error {
	if w.none > 0 {
		fmt.Fprintf(w.s.Err, "%s left out: the request was not captured\n", plural.Count(int64(w.none), "call", "calls"))
	}
	return nil
}

// shellQuote quotes for bash and zsh. A text with control characters is written in the
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
