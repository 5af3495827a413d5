package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
)

// curlWriter prints a command for each call that would send its request again.
type curlWriter struct {
	e    *env
	none int // calls whose request was not captured
}

func (w *curlWriter) call(x *forensics.Exchange) error {
	h := httpCall{x}
	if h.text("method") == "" {
		w.none++
		return nil
	}
	if ns, ok := x.Call.Get("ts_ns").(int64); ok {
		fmt.Fprintf(w.e.out, "# %s %s\n", time.Unix(0, ns).UTC().Format(time.RFC3339Nano), printable(h.text("summary"), 200))
	}
	// The request goes out as it came: no globbing in the address, no dots resolved.
	parts := []string{"curl", "--globoff", "--path-as-is", "-X", shellQuote(h.text("method")), shellQuote(h.url())}
	if h.text("method") == "HEAD" { // with -X curl would wait for a body
		parts = []string{"curl", "--globoff", "--path-as-is", "--head", shellQuote(h.url())}
	}
	for _, l := range h.headers("request") {
		// curl would read a file of that name and send it.
		if strings.HasPrefix(l.Name, "@") {
			fmt.Fprintf(w.e.out, "# left out, since curl takes it for a file: header %s\n", shellQuote(l.Name))
			continue
		}
		switch strings.ToLower(l.Name) {
		case "host", "content-length", "transfer-encoding", "connection", "accept-encoding": // curl sets its own
		default:
			parts = append(parts, "-H", shellQuote(l.Name+": "+l.Value))
		}
	}
	if b := x.Request; b != nil && len(b.Data) > 0 {
		if b.IsText && !b.Truncated {
			// Not --data-binary, for which a body that begins with @ names a file to send.
			parts = append(parts, "--data-raw", shellQuote(string(b.Data)))
		} else {
			parts = append(parts, "--data-binary", "@"+b.SHA256+".body")
			fmt.Fprintf(w.e.out, "# the body is not text: pcapsule show has it, sha256 %s\n", b.SHA256)
		}
	}
	_, err := fmt.Fprintln(w.e.out, strings.Join(parts, " "))
	return err
}

func (w *curlWriter) end() error {
	if w.none > 0 {
		fmt.Fprintf(w.e.err, "the request of %s was not captured; they were left out\n", thousands(int64(w.none))+" calls")
	}
	return nil
}

// shellQuote quotes for a POSIX shell. A text with anything a terminal would act on is
// written in the form $'…', so that pasting a command runs nothing but the command.
//
// LIMIT: no shell can pass a NUL; it is left out.
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
