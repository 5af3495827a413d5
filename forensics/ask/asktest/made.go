package asktest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// JSON is the media type of JSON (RFC 8259).
const JSON = "application/json"

// Made is made traffic, and the exchanges that tests need often. Its zero value is ready.
type Made struct {
	traffic.Capture
	conns int
}

// Open opens a bundle of the traffic.
func (w *Made) Open(t testing.TB) *forensics.Case {
	t.Helper()
	return OpenMade(t, &w.Capture)
}

// OpenAll opens bundles of several captures as one case.
func OpenAll(t testing.TB, list ...*traffic.Capture) *forensics.Case {
	t.Helper()
	var dirs []string
	for _, w := range list {
		dirs = append(dirs, ExportMade(t, w))
	}
	return Bundles(t, forensics.Options{}, dirs...)
}

// Ms is a time in milliseconds.
func Ms(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// Call sends a request on a named connection at a time in milliseconds, and its response after took
// milliseconds. The ends are the last numbers of addresses in 10.0.0.0/24.
func (w *Made) Call(ms, took float64, conn string, client, server byte, port uint16, request, response string) {
	w.Exchange(Ms(ms), Ms(took), conn, fmt.Sprintf("10.0.0.%d", client), fmt.Sprintf("10.0.0.%d:%d", server, port), request, response)
}

// HTTP is Call with HTTP/1.1: "GET /a", lines of headers, a body.
func (w *Made) HTTP(ms, took float64, conn string, client, server byte, line, headers, body, status, kind, answer string) {
	w.Call(ms, took, conn, client, server, 8080, traffic.HTTP(line+" HTTP/1.1\r\nHost: svc", strings.TrimSuffix(headers, "\r\n"), body), traffic.HTTP("HTTP/1.1 "+status, "Content-Type: "+kind, answer))
}

// Dialog writes one connection on which the client sends the first text and every second one. An
// empty text is not sent.
func (w *Made) Dialog(at, took time.Duration, from, to, port string, texts ...string) {
	w.conns++
	name := "dialog " + strconv.Itoa(w.conns)
	for i := 0; i < len(texts); i += 2 {
		w.Exchange(at, took, name, from, to+":"+port, texts[i], texts[i+1])
		at += 2 * took
	}
	w.Close(at-took+20*time.Microsecond, name)
}

// Single writes an exchange on a connection of its own: the request at a time, the response after took.
// Without a response the client closes the connection then.
func (w *Made) Single(at, took time.Duration, from, to, request, answer string) {
	w.Dialog(at, took, from, to, "8080", request, answer)
}

// Get is a GET request with lines of headers.
func Get(path string, headers ...string) string {
	s := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
	for _, h := range headers {
		s += h + "\r\n"
	}
	return s + "\r\n"
}

// Post is a POST request with a body of JSON.
func Post(path, body string) string {
	return traffic.HTTP("POST "+path+" HTTP/1.1\r\nHost: x", "Content-Type: "+JSON, body)
}

// Answer is a response with a body of JSON.
func Answer(status, body string) string {
	return traffic.HTTP("HTTP/1.1 "+status, "Content-Type: "+JSON, body)
}
