package traffic

import "time"

// Fates is a capture of the same request without an answer in four ways: it was not delivered, delivered and not answered, of
// unknown delivery, and answered too late. Two more were answered; of one, the answer did not arrive.
func Fates() *Capture {
	var w Capture
	const client, server, request, answer = "10.0.0.1", "10.0.0.2:80", "GET /a HTTP/1.1\r\nHost: b\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for i, name := range []string{"lost", "silent", "hasty"} {
		w.Exchange(time.Duration(i)*time.Second, 0, name, client, server, request, "")
	}
	w.Acknowledge(time.Second+time.Millisecond, "silent")
	w.Reset(2*time.Second+100*time.Millisecond, "hasty")
	w.Exchange(3*time.Second, 0, "late", client, server, request, "")
	w.Reset(8*time.Second, "late")
	w.Exchange(3*time.Second, 5*time.Second+time.Millisecond, "late", client, server, "", answer)
	w.Reset(9*time.Second, "lost")
	w.Reset(9*time.Second, "silent")
	w.Exchange(10*time.Second, time.Millisecond, "good", client, server, request, answer)
	w.Exchange(11*time.Second, time.Millisecond, "unheard", client, server, request, answer)
	w.Acknowledge(15*time.Second, "unheard")
	return &w
}
