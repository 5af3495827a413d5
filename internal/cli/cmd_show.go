package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
)

func (e *env) cmdShow() *cobra.Command {
	var asJSON bool
	var maxBody string
	c := &cobra.Command{
		Use:   "show BUNDLE|CAPTURE... CALL",
		Short: "Show one call: client and server, request, response, bodies, times, packets",
		Long: `Show one call. CALL is its number (call_no), its call_id, or at least the first 4 digits of its
call_id.`,
		Example: `  pcapsule show incident.pcapsule 42
  pcapsule show incident.pcapsule 4f2a91c07be3 --json | jq .response`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeCalls,
		RunE: func(c *cobra.Command, args []string) error {
			most, err := parseSize(maxBody)
			if err != nil {
				return exit.With(fmt.Errorf("--max-body: %w", err), exit.Usage, "")
			}
			cs, err := e.openCase(c.Context(), args[:len(args)-1])
			if err != nil {
				return err
			}
			defer cs.Close()
			x, err := cs.Call(c.Context(), args[len(args)-1], forensics.CallOptions{MaxBody: int(min(max(most, 1), 1<<30))})
			if err != nil {
				return e.questionError(err)
			}
			if asJSON {
				return e.showJSON(x)
			}
			return e.show(x)
		},
	}
	e.maskFlag(c)
	e.captureFlags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&maxBody, "max-body", "16KiB", "maximum size of each body to show")
	return c
}

// showJSON prints the exchange as one object, with the same names as other answers.
func (e *env) showJSON(x *forensics.Exchange) error {
	b := []byte(`{"call":`)
	b = forensics.AppendJSON(b, x.Call)
	for _, part := range []struct {
		name string
		row  forensics.Struct
	}{{"client", x.Client}, {"server", x.Server}, {"flow", x.Flow}, {"connection", x.Connection}, {"tls", x.TLS}} {
		if part.row != nil {
			b = append(append(append(b, `,"`...), part.name...), `":`...)
			b = forensics.AppendJSON(b, part.row)
		}
	}
	for _, part := range []struct {
		name string
		body *forensics.Body
	}{{"request", x.Request}, {"response", x.Response}} {
		if part.body != nil {
			b = append(append(append(b, `,"`...), part.name...), `":`...)
			b = appendJSON(b, bodyJSON(part.body))
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
		refs = append(refs, ref{p.PacketNo, p.File, p.Frame, stamp(p.TsNs), p.Len, side(p.FromDst)})
	}
	b = append(b, `,"packets":`...)
	b = appendJSON(b, refs)
	b = append(b, `,"anomalies":[`...)
	for i, a := range x.Anomalies {
		if i > 0 {
			b = append(b, ',')
		}
		b = forensics.AppendJSON(b, a)
	}
	_, err := e.out.Write(append(b, "]}\n"...))
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
		if _, err := fmt.Fprintln(f.w, console.Hanging(0, text, infoIndent, f.width)); f.err == nil {
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

// styled returns s in a colour, if colours are on.
func (e *env) styled(style, s string) string {
	if style == "" || !e.coloured(e.out) {
		return s
	}
	return style + s + console.Plain
}

// show prints a call for a person in lines that fit the screen.
func (e *env) show(x *forensics.Exchange) error {
	w := &filled{w: e.out, width: e.pageWidth()}
	get := func(name string) string { return valueText(name, x.Call.Get(name)) }
	fmt.Fprintf(w, "%s\n", e.styled(outcomeStyle(get("outcome")), printable(get("summary"), 300)))
	fmt.Fprintf(w, "  call       %s  #%s  %s\n", get("call_id"), get("call_no"), get("protocol"))
	fmt.Fprintf(w, "  from       %s\n", endText(x.Client, get("src_ip"), get("src_port")))
	fmt.Fprintf(w, "  to         %s\n", endText(x.Server, get("dst_ip"), get("dst_port")))
	if layer := get("decrypted_by"); layer != "" {
		fmt.Fprintf(w, "  encrypted  %s, decrypted with keys\n", layer)
	}
	if ns, ok := x.Call.Get("ts_ns").(int64); ok {
		fmt.Fprintf(w, "  time       %s\n", stamp(ns))
	}
	var parts []string
	for _, name := range []string{"dns_us", "connect_us", "tls_us", "send_us", "wait_us", "receive_us", "elapsed_us"} {
		if n, ok := x.Call.Get(name).(int64); ok {
			parts = append(parts, strings.TrimSuffix(name, "_us")+" "+micros(n))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "             %s\n", strings.Join(parts, ", "))
	}
	if s := get("error"); s != "" {
		fmt.Fprintf(w, "  error      %s\n", s)
	}
	showOwn(w, x)
	e.showMessage(w, x, x.Request, "request")
	e.showMessage(w, x, x.Response, "response")
	fmt.Fprintf(w, "\npackets (%s cited)\n", plural.Thousands(x.Cites.Count()))
	for i, p := range x.Packets {
		if i == 20 {
			fmt.Fprintf(w, "  … %s more: pcapsule packets BUNDLE --call %s -o call.pcapng\n", plural.Thousands(int64(len(x.Packets)-i)+x.MoreRefs), get("call_id"))
			break
		}
		fmt.Fprintf(w, "  %8d  %s frame %d  %s  %d bytes from the %s\n", p.PacketNo, path.Base(p.File), p.Frame, stamp(p.TsNs), p.Len, side(p.FromDst))
	}
	for _, a := range x.Anomalies {
		fmt.Fprintf(w, "anomaly: %s %s: %s\n", text(a.Get("source")), text(a.Get("kind")), printable(text(a.Get("detail")), 200))
	}
	return w.err
}

// showOwn prints the protocol's own columns.
func showOwn(w io.Writer, x *forensics.Exchange) {
	prefix := text(x.Call.Get("protocol")) + "_"
	for _, f := range x.Call {
		if strings.HasPrefix(f.Name, prefix) && f.Value != nil {
			if s := valueText(f.Name, f.Value); s != "" && s != "[]" {
				fmt.Fprintf(w, "  %-24s %s\n", f.Name, printable(s, 400))
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
	if name := text(end.Get("name")); name != ip && name != "" {
		if ns := text(end.Get("namespace")); ns != "" {
			name = ns + "/" + name
		}
		s = name + " (" + s + ")"
	}
	for _, f := range []string{"workload", "service", "node", "process"} {
		if v := text(end.Get(f)); v != "" {
			s += ", " + f + " " + v
		}
	}
	if how := text(end.Get("how_known")); how != "none" && how != "" {
		s += ", known by " + how
	}
	return printable(s, 300)
}

func (e *env) showMessage(w io.Writer, x *forensics.Exchange, b *forensics.Body, side string) {
	var lines []string
	list, _ := x.Call.Get("headers").([]any)
	for _, h := range list {
		if f, ok := h.(forensics.Struct); ok && strings.HasPrefix(text(f.Get("kind")), side) {
			lines = append(lines, text(f.Get("name"))+": "+text(f.Get("value")))
		}
	}
	if len(lines) == 0 && b == nil {
		return
	}
	fmt.Fprintf(w, "\n%s\n", e.styled(sideStyle(side == "response"), side))
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\n", printable(l, 2000))
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
	fmt.Fprintf(w, "  -- body: %s%s, sha256 %s\n", byteSize(b.Size), how, b.SHA256)
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
		fmt.Fprintf(w, "  %s\n", printable(strings.ReplaceAll(line, "\t", "    "), 1<<20))
	}
}

func writeIndented(w io.Writer, s string) {
	for _, line := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		fmt.Fprintf(w, "  %s\n", line)
	}
}

func (e *env) cmdFollow() *cobra.Command {
	var maxBytes string
	var raw bool
	c := &cobra.Command{
		Use:   "follow BUNDLE|CAPTURE... CALL",
		Short: "Print what both sides of a call's connection sent",
		Example: `  pcapsule follow incident.pcapsule 4f2a91c07be3
  pcapsule follow incident.pcapsule '#42' --raw > stream.bin`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeCalls,
		RunE: func(c *cobra.Command, args []string) error {
			most, err := parseSize(maxBytes)
			if err != nil {
				return exit.With(fmt.Errorf("--max: %w", err), exit.Usage, "")
			}
			cs, err := e.openCase(c.Context(), args[:len(args)-1])
			if err != nil {
				return err
			}
			defer cs.Close()
			s, err := cs.Follow(c.Context(), args[len(args)-1], forensics.FollowOptions{MaxBytes: int(min(max(most, 1), 1<<30))})
			if err != nil {
				return e.questionError(err)
			}
			return e.follow(s, raw)
		},
	}
	e.captureFlags(c)
	c.Flags().StringVar(&maxBytes, "max", "1MiB", "maximum size to print")
	c.Flags().BoolVar(&raw, "raw", false, "print the bytes unchanged, both directions in the order of time")
	return c
}

func (e *env) follow(s *forensics.Stream, raw bool) error {
	for _, p := range s.Pieces {
		if raw {
			if _, err := e.exact().Write(p.Data); err != nil {
				return err
			}
			continue
		}
		if p.Gap > 0 {
			fmt.Fprintf(e.out, "-- %s: %s bytes were not captured\n", side(p.FromServer), plural.Thousands(p.Gap))
		}
		if len(p.Data) == 0 {
			continue
		}
		head := fmt.Sprintf("-- %s, %s, packet %d", side(p.FromServer), time.Unix(0, p.TsNs).UTC().Format("15:04:05.000000"), p.PacketNo)
		fmt.Fprintln(e.out, e.styled(sideStyle(p.FromServer), head))
		if isText(p.Data) {
			writeText(e.out, strings.ReplaceAll(string(p.Data), "\r\n", "\n"))
		} else {
			writeIndented(e.out, hex.Dump(p.Data))
		}
	}
	if s.Truncated && !raw {
		fmt.Fprintln(e.out, "-- truncated; --max shows more")
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
