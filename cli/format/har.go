package format

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Calls writes whole calls, for formats that need headers and bodies: Call for each, then End.
type Calls interface {
	Call(x *forensics.Exchange) error
	End() error
}

// HAR returns a writer of an HTTP Archive 1.2, http://www.softwareishard.com/blog/har-12-spec/.
func HAR(s *console.Streams) Calls { return &har{w: bufio.NewWriterSize(s.Out, 64<<10)} }

type har struct {
	w *bufio.Writer
	n int
}

type harNV struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// harCookie is a cookie of a request or response. In a request it has only name and value.
type harCookie struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Path     string `json:"path,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Expires  string `json:"expires,omitempty"`
	HTTPOnly bool   `json:"httpOnly,omitempty"`
	Secure   bool   `json:"secure,omitempty"`
}

type harEntry struct {
	Started    string      `json:"startedDateTime"`
	Time       float64     `json:"time"`
	Request    harRequest  `json:"request"`
	Response   harResponse `json:"response"`
	Cache      struct{}    `json:"cache"`
	Timings    harTimings  `json:"timings"`
	ServerIP   string      `json:"serverIPAddress,omitempty"`
	Connection string      `json:"connection,omitempty"`
	Comment    string      `json:"comment"`
	CallID     string      `json:"_call_id"`
	Packets    string      `json:"_packets"`
}

type harRequest struct {
	Method      string       `json:"method"`
	URL         string       `json:"url"`
	HTTPVersion string       `json:"httpVersion"`
	Cookies     []harCookie  `json:"cookies"`
	Headers     []harNV      `json:"headers"`
	Query       []harNV      `json:"queryString"`
	PostData    *harPostData `json:"postData,omitempty"`
	HeadersSize int64        `json:"headersSize"`
	BodySize    int64        `json:"bodySize"`
}

type harPostData struct {
	MimeType string  `json:"mimeType"`
	Params   []harNV `json:"params"`
	Text     string  `json:"text"`
	Encoding string  `json:"_encoding,omitempty"`
	Comment  string  `json:"comment,omitempty"`
}

type harResponse struct {
	Status      int64       `json:"status"`
	StatusText  string      `json:"statusText"`
	HTTPVersion string      `json:"httpVersion"`
	Cookies     []harCookie `json:"cookies"`
	Headers     []harNV     `json:"headers"`
	Content     harContent  `json:"content"`
	RedirectURL string      `json:"redirectURL"`
	HeadersSize int64       `json:"headersSize"`
	BodySize    int64       `json:"bodySize"`
}

type harContent struct {
	Size     int64  `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
	Comment  string `json:"comment,omitempty"`
}

type harTimings struct {
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"`
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
	SSL     float64 `json:"ssl"`
}

// httpCall reads the parts of a call that HAR and curl need.
type httpCall struct{ x *forensics.Exchange }

func (h httpCall) text(name string) string { return Text(h.x.Call.Get(name)) }

func (h httpCall) number(name string, absent int64) int64 {
	if n, ok := h.x.Call.Get(name).(int64); ok {
		return n
	}
	return absent
}

// bodySize is the size of a message's body: -1, which is unknown in HAR, if the message was not
// captured and so lacks the column first.
func (h httpCall) bodySize(column, first string) int64 {
	if h.x.Call.Get(first) == nil {
		return h.number(column, -1)
	}
	return h.number(column, 0)
}

func (h httpCall) headers(side string) []harNV {
	out := []harNV{}
	list, _ := h.x.Call.Get("headers").([]any)
	for _, v := range list {
		if f, ok := v.(forensics.Struct); ok && Text(f.Get("kind")) == side {
			out = append(out, harNV{Text(f.Get("name")), Text(f.Get("value"))})
		}
	}
	return out
}

// url is the requested URL. It is a URI (RFC 3986) even if the target was not.
func (h httpCall) url() string {
	host, target := h.host(), h.target()
	switch {
	case h.text("method") == http.MethodConnect && plainHost.MatchString(target):
		host, target = target, "/"
	case strings.Contains(target, "://") && !strings.HasPrefix(target, "/"):
		return escaped(target)
	case !strings.HasPrefix(target, "/"): // of the whole server
		target = "/"
	}
	return h.scheme() + "://" + host + escaped(target)
}

// escaped encodes the bytes that a URI must not have in its path and query, and #, which would begin
// a fragment.
func escaped(s string) string {
	isHex := func(i int) bool { return i < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[i]) >= 0 }
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '%' && !(isHex(i+1) && isHex(i+2)), c <= ' ', c >= 0x7f, strings.IndexByte("\"#<>\\^`{|}", c) >= 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// host is the host that the client named, or else the server's address.
func (h httpCall) host() string {
	host := h.text("http2_authority")
	for _, l := range h.headers("request") {
		if host == "" && strings.EqualFold(l.Name, "host") {
			host = l.Value
		}
	}
	if plainHost.MatchString(host) {
		return host
	}
	return net.JoinHostPort(h.text("dst_ip"), strconv.FormatInt(h.number("dst_port", 0), 10))
}

// target is the target of the request as it was sent.
func (h httpCall) target() string {
	if t := h.text("http1_target"); t != "" {
		return t
	}
	target := cmp.Or(h.text("path"), "/")
	if h.x.Call.Get("query_string") != nil {
		target += "?" + h.text("query_string")
	}
	return target
}

// hasBody reports whether the request has a body of which bytes were captured.
func (h httpCall) hasBody() bool { return h.x.Request != nil && len(h.x.Request.Data) > 0 }

// scheme is the scheme that the client named, or else https if the call was encrypted.
func (h httpCall) scheme() string {
	switch s := h.text("http2_scheme"); {
	case s != "":
		return s
	case h.text("decrypted_by") != "", h.text("transport") == "quic":
		return "https"
	}
	return "http"
}

// version is the HTTP version of a message. column contains it for HTTP/1.
func (h httpCall) version(column string) string {
	switch v := h.text(column); {
	case v != "":
		return v
	case h.text("transport") == "quic":
		return "HTTP/3"
	case h.text("protocol") == "http1":
		return "HTTP/1.1"
	}
	return "HTTP/2"
}

// requestCookies are the cookies of the Cookie headers (RFC 6265 section 5.4).
func (h httpCall) requestCookies() []harCookie {
	out := []harCookie{}
	for _, l := range h.headers("request") {
		if !strings.EqualFold(l.Name, "cookie") {
			continue
		}
		for pair := range strings.SplitSeq(l.Value, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
				out = append(out, harCookie{Name: name, Value: value})
			}
		}
	}
	return out
}

// responseCookies are the cookies of the Set-Cookie headers that can be parsed.
func (h httpCall) responseCookies() []harCookie {
	out := []harCookie{}
	for _, l := range h.headers("response") {
		if !strings.EqualFold(l.Name, "set-cookie") {
			continue
		}
		c, err := http.ParseSetCookie(l.Value)
		if err != nil {
			continue
		}
		k := harCookie{Name: c.Name, Value: c.Value, Path: c.Path, Domain: c.Domain, HTTPOnly: c.HttpOnly, Secure: c.Secure}
		if !c.Expires.IsZero() {
			k.Expires = c.Expires.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		out = append(out, k)
	}
	return out
}

// query are the parameters in the order in which they were sent.
func (h httpCall) query() []harNV {
	out := []harNV{}
	plain := func(s string) string {
		if text, err := url.QueryUnescape(s); err == nil {
			return text
		}
		return s
	}
	for pair := range strings.SplitSeq(h.text("query_string"), "&") {
		if name, value, _ := strings.Cut(pair, "="); name != "" {
			out = append(out, harNV{plain(name), plain(value)})
		}
	}
	return out
}

// timings returns the parts of a call's time in ms, the time before the first byte of the
// request, and the total, both in µs. In HAR, connect includes the TLS handshake, and the
// parts without ssl add up to the entry's time.
func (h httpCall) timings() (t harTimings, before, total int64) {
	millis := func(us int64) float64 {
		if us < 0 {
			return -1 // does not apply
		}
		return float64(us) / 1000
	}
	dns, connect, tls := h.number("dns_us", -1), h.number("connect_us", -1), h.number("tls_us", -1)
	if connect >= 0 && tls >= 0 {
		connect += tls
	}
	send, wait, receive := h.number("send_us", -1), h.number("wait_us", -1), h.number("receive_us", -1)
	elapsed := max(h.number("elapsed_us", 0), 0)
	if send < 0 || wait < 0 || receive < 0 || send+wait+receive != elapsed {
		// The response began before the request ended, or a part was not captured.
		send, wait, receive = 0, elapsed, 0
	}
	before = max(dns, 0) + max(connect, 0)
	return harTimings{DNS: millis(dns), Connect: millis(connect), SSL: millis(tls), Send: millis(send), Wait: millis(wait), Receive: millis(receive)}, before, before + elapsed
}

// Call implements Calls.
func (w *har) Call(x *forensics.Exchange) error {
	h := httpCall{x}
	id, _ := x.Call.Get("call_id").([]byte)
	timings, before, total := h.timings()
	en := harEntry{Started: when.Stamp(h.number("ts_ns", 0) - before*1000), Time: float64(total) / 1000, Timings: timings, ServerIP: h.text("dst_ip"),
		Connection: fmt.Sprint(h.number("conn_id", 0)), Comment: h.text("error"), CallID: hex.EncodeToString(id), Packets: x.Frames}
	en.Request = harRequest{Method: h.text("method"), URL: h.url(), HTTPVersion: h.version("http1_version"), Cookies: h.requestCookies(), Headers: h.headers("request"), Query: h.query(),
		HeadersSize: h.number("request_headers_size", -1), BodySize: h.bodySize("request_body_wire_size", "method")}
	if b := x.Request; b != nil {
		en.Request.PostData = &harPostData{MimeType: b.ContentType, Params: []harNV{}}
		en.Request.PostData.Text, en.Request.PostData.Encoding = bodyText(b)
		en.Request.PostData.Comment = incomplete(b)
	}
	en.Response = harResponse{Status: h.number("status_code", 0), StatusText: h.text("status_text"), HTTPVersion: h.version("http1_response_version"), Cookies: h.responseCookies(),
		Headers: h.headers("response"), HeadersSize: h.number("response_headers_size", -1), BodySize: h.bodySize("response_body_wire_size", "status_code")}
	for _, l := range en.Response.Headers {
		if strings.EqualFold(l.Name, "location") {
			en.Response.RedirectURL = l.Value
		}
	}
	if b := x.Response; b != nil {
		en.Response.Content = harContent{Size: b.Size, MimeType: b.ContentType}
		en.Response.Content.Text, en.Response.Content.Encoding = bodyText(b)
		en.Response.Content.Comment = incomplete(b)
	}
	if w.n == 0 {
		if err := w.begin(); err != nil {
			return err
		}
	} else {
		w.w.WriteByte(',')
	}
	w.n++
	w.w.WriteString("\n  ")
	_, err := w.w.Write(AppendJSON(nil, en))
	return err
}

func (w *har) begin() error {
	_, err := fmt.Fprintf(w.w, "{\"log\": {\n \"version\": \"1.2\",\n \"creator\": %s,\n \"entries\": [", AppendJSON(nil, harCreator{"pcapsule", version.Release}))
	return err
}

func bodyText(b *forensics.Body) (s, encoding string) {
	if b.IsText {
		return string(b.Data), ""
	}
	return base64.StdEncoding.EncodeToString(b.Data), "base64"
}

// incomplete is the comment on a body of which bytes are missing.
func incomplete(b *forensics.Body) string {
	if b.Truncated || !b.Complete {
		return "incomplete"
	}
	return ""
}

// End implements Calls.
func (w *har) End() error {
	if w.n == 0 {
		if err := w.begin(); err != nil {
			return err
		}
	}
	w.w.WriteString("]\n}}\n")
	return w.w.Flush()
}

type harCreator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}
