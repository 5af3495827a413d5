package ask_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// traffic writes packets one by one, with one connection per exchange.
type traffic struct {
	t       *testing.T
	packets []trafficPacket
	port    uint16
}

type trafficPacket struct {
	at   time.Duration
	data []byte
}

// begun is the time of the first packet.
var begun = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	fin, syn, rst, psh, ack = 0x01, 0x02, 0x04, 0x08, 0x10
	webPort                 = 8080
)

func (w *traffic) tcp(at time.Duration, from, to string, sport, dport uint16, seq, ackNo uint32, flags byte, payload string) {
	src, dst := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	seg := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(seg, sport)
	binary.BigEndian.PutUint16(seg[2:], dport)
	binary.BigEndian.PutUint32(seg[4:], seq)
	binary.BigEndian.PutUint32(seg[8:], ackNo)
	seg[12], seg[13] = 5<<4, flags
	binary.BigEndian.PutUint16(seg[14:], 65535)
	seg = append(seg, payload...)
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(seg)))
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	frame := slices.Concat([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, ip, seg)
	w.packets = append(w.packets, trafficPacket{at, frame})
}

// http writes one exchange: the request at a time, the response after took. Without a response the
// client closes the connection then.
func (w *traffic) http(at, took time.Duration, from, to, request, answer string) {
	w.port++
	p := 20000 + w.port
	const us = time.Microsecond
	x := uint32(w.port) * 10_000 // sequence numbers identify a call, so each exchange has its own
	w.tcp(at-30*us, from, to, p, webPort, x, 0, syn, "")
	w.tcp(at-20*us, to, from, webPort, p, x+500, x+1, syn|ack, "")
	w.tcp(at-10*us, from, to, p, webPort, x+1, x+501, ack, "")
	w.tcp(at, from, to, p, webPort, x+1, x+501, psh|ack, request)
	n, m := x+1+uint32(len(request)), x+501
	if answer != "" {
		w.tcp(at+took, to, from, webPort, p, m, n, psh|ack, answer)
		m += uint32(len(answer))
		took += 10 * us
	}
	w.tcp(at+took+10*us, from, to, p, webPort, n, m, fin|ack, "")
	w.tcp(at+took+20*us, to, from, webPort, p, m, n+1, fin|ack, "")
	w.tcp(at+took+30*us, from, to, p, webPort, n+1, m+1, ack, "")
}

// refused writes a refused connection.
func (w *traffic) refused(at time.Duration, from, to string, port uint16) {
	w.port++
	w.tcp(at, from, to, 20000+w.port, port, 100, 0, syn, "")
	w.tcp(at+50*time.Microsecond, to, from, port, 20000+w.port, 0, 101, rst|ack, "")
}

// open makes a case from the traffic.
func (w *traffic) open() *forensics.Case {
	slices.SortStableFunc(w.packets, func(a, b trafficPacket) int { return int(a.at - b.at) })
	file := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // nanoseconds
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for _, p := range w.packets {
		at := begun.Add(p.at)
		for _, n := range []int{int(at.Unix()), at.Nanosecond(), len(p.data), len(p.data)} {
			file = binary.LittleEndian.AppendUint32(file, uint32(n))
		}
		file = append(file, p.data...)
	}
	top := w.t.TempDir()
	path, dir := filepath.Join(top, "w.pcap"), filepath.Join(top, "w.pcapsule")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if _, err := exporter.Run(ctx, []string{path}, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
		w.t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

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

// dialog writes one connection whose two sides speak in turn, the client first unless the server
// greets: then its first text is empty.
func (w *traffic) dialog(at time.Duration, from, to string, port uint16, turns ...string) {
	w.port++
	p := 20000 + w.port
	const ms = time.Millisecond
	x, y := uint32(w.port)*10_000, uint32(w.port)*10_000+5000
	w.tcp(at, from, to, p, port, x, 0, syn, "")
	w.tcp(at+ms/10, to, from, port, p, y, x+1, syn|ack, "")
	w.tcp(at+ms/5, from, to, p, port, x+1, y+1, ack, "")
	x, y = x+1, y+1
	for i, text := range turns {
		at += ms
		switch {
		case text == "":
		case i%2 == 0:
			w.tcp(at, from, to, p, port, x, y, psh|ack, text)
			x += uint32(len(text))
		default:
			w.tcp(at, to, from, port, p, y, x, psh|ack, text)
			y += uint32(len(text))
		}
	}
	w.tcp(at+ms, from, to, p, port, x, y, fin|ack, "")
	w.tcp(at+2*ms, to, from, port, p, y, x+1, fin|ack, "")
	w.tcp(at+3*ms, from, to, p, port, x+1, y+1, ack, "")
}

// mail writes a delivery by SMTP.
func (w *traffic) mail(at time.Duration, from, to, id string) {
	w.dialog(at, from, to, 25, "", "220 mx ESMTP\r\n", "EHLO c\r\n", "250 mx\r\n", "MAIL FROM:<ann@shop.example>\r\n", "250 ok\r\n", "RCPT TO:<bob@shop.example>\r\n", "250 ok\r\n", "DATA\r\n", "354 go\r\n",
		"From: ann@shop.example\r\nMessage-ID: <"+id+">\r\nSubject: order\r\n\r\nhello\r\n.\r\n", "250 2.0.0 queued\r\n", "QUIT\r\n", "221 bye\r\n")
}
