package format

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

const labelWidth = 13 // columns before the text that follows a label

// CallJSON prints a call as one object, with the same names as other answers.
func CallJSON(s *console.Streams, x *forensics.Exchange) error {
	b := []byte(`{"call":`)
	b = encode.JSON(b, x.Call)
	for _, part := range []struct {
		name string
		row  forensics.Struct
	}{{"client", x.Client}, {"server", x.Server}, {"flow", x.Flow}, {"connection", x.Connection}, {"tls", x.TLS}} {
		if part.row != nil {
			b = append(append(append(b, `,"`...), part.name...), `":`...)
			b = encode.JSON(b, part.row)
		}
	}
	for _, part := range []struct {
		name string
		body *forensics.Body
	}{{"request", x.Request}, {"response", x.Response}} {
		if part.body != nil {
			b = append(append(append(b, `,"`...), part.name...), `":`...)
			b = AppendJSON(b, bodyJSON(part.body))
		}
	}
	type ref struct {
		PacketNo int64  `json:"packet_no"`
		File     string `json:"file"`
		Frame    int64  `json:"frame"`
		Ts       string `json:"ts"`
		Len      int64  `json:"len"`
		From     string `json:"from"`
	}
	refs := []ref{}
	for _, p := range x.Packets {
		refs = append(refs, ref{p.PacketNo, p.File, p.Frame, when.Stamp(p.TsNs), p.Len, p.From})
	}
	b = append(b, `,"packets":`...)
	b = AppendJSON(b, refs)
	b = append(b, `,"anomalies":[`...)
	for i, a := range x.Anomalies {
		if i > 0 {
			b = append(b, ',')
		}
		b = encode.JSON(b, a)
	}
	_, err := s.Out.Write(append(b, "]}\n"...))
	return err
}

type shownBody struct {
	SHA256      string `json:"sha256"`
	Size        int64  `json:"size"`
	WireSize    int64  `json:"wire_size"`
	ContentType string `json:"content_type,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	Complete    bool   `json:"complete"`
	Text        string `json:"text,omitempty"`
	Hex         string `json:"hex,omitempty"`
	Truncated   bool   `json:"truncated"`
}

func bodyJSON(b *forensics.Body) shownBody {
	s := shownBody{SHA256: b.SHA256, Size: b.Size, WireSize: b.WireSize, ContentType: b.ContentType, Encoding: b.Encoding, Complete: b.Complete, Truncated: b.Truncated}
	if b.IsText {
		s.Text = string(b.Data)
	} else {
		s.Hex = hex.EncodeToString(b.Data)
	}
	return s
}

// side names the end of a connection that sent a packet.
func side(server bool) string {
	if server {
		return "server"
	}
	return "client"
}

// filled wraps lines between words. Each Write must end with a complete line.
type filled struct {
	w     io.Writer
	width int
	err   error
}

// Write implements io.Writer.
func (f *filled) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		text := strings.TrimRight(line, "\n")
		if _, err := fmt.Fprintln(f.w, console.Hanging(0, text, labelWidth, f.width)); f.err == nil {
			f.err = err
		}
	}
	return len(p), f.err
}

// sideStyle returns the colour of a direction.
func sideStyle(server bool) string {
	if server {
		return console.Blue
	}
	return console.Bold
}

// Call prints a call for a person in lines that fit the screen.
func Call(s *console.Streams, x *forensics.Exchange) error {
	w := &filled{w: s.Out, width: s.PageWidth()}
	get := func(name string) string { return Value(name, x.Call.Get(name)) }
	fmt.Fprintf(w, "%s\n", s.Styled(outcomeStyle(get("outcome")), console.Printable(get("summary"), 300)))
	fmt.Fprintf(w, "  call       %s  #%s  %s\n", get("call_id"), get("call_no"), get("protocol"))
	fmt.Fprintf(w, "  from       %s\n", endText(x.Client, get("src_ip"), get("src_port")))
	fmt.Fprintf(w, "  to         %s\n", endText(x.Server, get("dst_ip"), get("dst_port")))
	if layer := get("decrypted_by"); layer != "" {
		fmt.Fprintf(w, "  encrypted  %s, decrypted with keys\n", layer)
	}
	if ns, ok := x.Call.Get("ts_ns").(int64); ok {
		fmt.Fprintf(w, "  time       %s UTC\n", Moment(ns))
	}
	var parts []string
	for _, name := range []string{"dns_us", "connect_us", "tls_us", "send_us", "wait_us", "receive_us", "elapsed_us"} {
		if n, ok := x.Call.Get(name).(int64); ok {
			parts = append(parts, strings.TrimSuffix(name, "_us")+" "+Micros(n))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "             %s\n", strings.Join(parts, ", "))
	}
	if s := get("error"); s != "" {
		if x.Undelivered() {
			s += ": " + get("status_text")
		}
		fmt.Fprintf(w, "  error      %s\n", s)
	}
	if x.Delivery != "" {
		fmt.Fprintf(w, "  delivered  %s\n", console.Printable(x.Delivery, 600))
	}
	showOwn(w, x)
	showMessage(s, w, x, x.Request, "request")
	showMessage(s, w, x, x.Response, "response")
	fmt.Fprintf(w, "\npackets (%s cited)\n", plural.Thousands(x.Cites.Count()))
	for i, p := range x.Packets {
		if i == 20 {
			fmt.Fprintf(w, "  … %s more: pcapsule packets BUNDLE --call %s -o call.pcapng\n", plural.Thousands(int64(len(x.Packets)-i)+x.MoreRefs), get("call_id"))
			break
		}
		fmt.Fprintf(w, "  %s  %s  %d bytes from the %s\n", console.Printable(p.Cited, 300), Moment(p.TsNs), p.Len, p.From)
	}
	for _, a := range x.Anomalies {
		fmt.Fprintf(w, "anomaly: %s %s: %s\n", Text(a.Get("source")), Text(a.Get("kind")), console.Printable(Text(a.Get("detail")), 200))
	}
	return w.err
}

// showOwn prints the protocol's own columns.
func showOwn(w io.Writer, x *forensics.Exchange) {
	prefix := Text(x.Call.Get("protocol")) + "_"
	for _, f := range x.Call {
		if strings.HasPrefix(f.Name, prefix) && f.Value != nil {
			if s := Value(f.Name, f.Value); s != "" && s != "[]" {
				fmt.Fprintf(w, "  %-24s %s\n", f.Name, console.Printable(s, 400))
			}
		}
	}
}

func endText(end forensics.Struct, ip, port string) string {
	s := ip
	if port != "0" && port != "" {
		s += " port " + port
	}
	if end == nil {
		return s
	}
	if name := Text(end.Get("name")); name != ip && name != "" {
		if ns := Text(end.Get("namespace")); ns != "" {
			name = ns + "/" + name
		}
		s = name + " (" + s + ")"
	}
	for _, f := range []string{"workload", "service", "node", "process"} {
		if v := Text(end.Get(f)); v != "" {
			s += ", " + f + " " + v
		}
	}
	if how := Text(end.Get("how_known")); how != "none" && how != "" {
		s += ", known by " + how
	}
	return console.Printable(s, 300)
}

func showMessage(s *console.Streams, w io.Writer, x *forensics.Exchange, b *forensics.Body, side string) {
	var lines []string
	list, _ := x.Call.Get("headers").([]any)
	for _, h := range list {
		if f, ok := h.(forensics.Struct); ok && strings.HasPrefix(Text(f.Get("kind")), side) {
			lines = append(lines, Text(f.Get("name"))+": "+Text(f.Get("value")))
		}
	}
	if len(lines) == 0 && b == nil {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.Styled(sideStyle(side == "response"), side))
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\n", console.Printable(l, 2000))
	}
	if b == nil {
		return
	}
	how := ""
	if b.Encoding != "" {
		how = ", decoded from " + b.Encoding
	}
	if !b.Complete {
		how += ", incomplete"
	}
	fmt.Fprintf(w, "  -- body: %s%s, sha256 %s\n", console.ByteSize(b.Size), how, b.SHA256)
	switch {
	case b.Object:
		fmt.Fprintln(w, "  too large for a separate copy: its packets contain it")
	case b.IsText:
		writeText(w, string(b.Data))
	default:
		writeIndented(w, hex.Dump(b.Data[:min(len(b.Data), 512)]))
	}
	if b.Truncated {
		fmt.Fprintln(w, "  … (--max-body shows more)")
	}
}

// writeText prints a text without control characters, which a terminal would act on.
func writeText(w io.Writer, s string) {
	for _, line := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		fmt.Fprintf(w, "  %s\n", console.Printable(strings.ReplaceAll(line, "\t", "    "), 1<<20))
	}
}

func writeIndented(w io.Writer, s string) {
	for _, line := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		fmt.Fprintf(w, "  %s\n", line)
	}
}

// Conversation prints the data of both sides of a connection, or with raw only the bytes.
func Conversation(s *console.Streams, conn *forensics.Stream, raw bool) error {
	for _, p := range conn.Pieces {
		if raw {
			if _, err := s.Exact().Write(p.Data); err != nil {
				return err
			}
			continue
		}
		if p.Gap > 0 {
			fmt.Fprintf(s.Out, "-- %s: %s bytes were not captured\n", side(p.FromServer), plural.Thousands(p.Gap))
		}
		if len(p.Data) == 0 {
			continue
		}
		head := fmt.Sprintf("-- %s, %s, %s", side(p.FromServer), time.Unix(0, p.TsNs).UTC().Format("15:04:05.000000"), console.Printable(p.Cited, 300))
		fmt.Fprintln(s.Out, s.Styled(sideStyle(p.FromServer), head))
		if isText(p.Data) {
			writeText(s.Out, strings.ReplaceAll(string(p.Data), "\r\n", "\n"))
		} else {
			writeIndented(s.Out, hex.Dump(p.Data))
		}
	}
	if conn.Truncated && !raw {
		fmt.Fprintln(s.Out, "-- truncated; --max shows more")
	}
	return nil
}

// isText reports whether at least 90 % of p is text.
func isText(p []byte) bool {
	odd := 0
	for rest := p; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 || r != '\n' && r != '\r' && r != '\t' && unicode.IsControl(r) {
			odd += n
		}
		rest = rest[n:]
	}
	return odd*10 <= len(p)
}
