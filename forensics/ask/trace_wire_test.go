package ask_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	made "github.com/pcapsule/pcapsule/samples/traffic"
)

// traffic is made traffic with one connection per exchange.
type traffic struct {
	made.Capture
	t     *testing.T
	conns int
}

// dialog writes one connection on which the client sends the first text and every second one. An empty text is not sent.
func (w *traffic) dialog(at, took time.Duration, from, to, port string, texts ...string) {
	w.conns++
	name := strconv.Itoa(w.conns)
	for i := 0; i < len(texts); i += 2 {
		w.Exchange(at, took, name, from, to+":"+port, texts[i], texts[i+1])
		at += 2 * took
	}
	w.Close(at-took+20*time.Microsecond, name)
}

// http writes one exchange: the request at a time, the response after took. Without a response the
// client closes the connection then.
func (w *traffic) http(at, took time.Duration, from, to, request, answer string) {
	w.dialog(at, took, from, to, "8080", request, answer)
}

// open makes a case from the traffic.
func (w *traffic) open() *forensics.Case { return openCapture(w.t, &w.Capture) }

func get(path string, headers ...string) string {
	s := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
	for _, h := range headers {
		s += h + "\r\n"
	}
	return s + "\r\n"
}

func post(path, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

func answer(status, body string) string {
	return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

// mail writes a delivery by SMTP.
func (w *traffic) mail(at time.Duration, from, to, id string) {
	w.dialog(at, time.Millisecond, from, to, "25", "", "220 mx ESMTP\r\n", "EHLO c\r\n", "250 mx\r\n", "MAIL FROM:<ann@shop.example>\r\n", "250 ok\r\n", "RCPT TO:<bob@shop.example>\r\n", "250 ok\r\n", "DATA\r\n", "354 go\r\n",
		"From: ann@shop.example\r\nMessage-ID: <"+id+">\r\nSubject: order\r\n\r\nhello\r\n.\r\n", "250 2.0.0 queued\r\n", "QUIT\r\n", "221 bye\r\n")
}
