package all_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// every returns the times of n events, with each of the pauses in turn.
func every(n int, pauses ...time.Duration) (at []time.Duration) {
	now := time.Duration(0)
	for i := range n {
		at = append(at, now)
		now += pauses[i%len(pauses)]
	}
	return at
}

// TestBeacons has clients at and below each threshold, connections and calls on one connection.
func TestBeacons(t *testing.T) {
	const s = time.Second
	connect := func(client, server string, at []time.Duration) func(*traffic.Capture) {
		return func(w *traffic.Capture) {
			for i, a := range at {
				w.Exchange(a, ms, fmt.Sprint(client, server, i), client, server, hello(1, 3, "\xc0\x2f"), hello(2, 3, "\xc0\x2f"))
			}
		}
	}
	call := func(host, path string, at []time.Duration) func(*traffic.Capture) {
		return func(w *traffic.Capture) {
			for i, a := range at {
				w.Exchange(a, ms, "stays open "+path, "10.0.0.1", "203.0.113.9:80", traffic.HTTP("GET "+strings.ReplaceAll(path, "#", fmt.Sprint(i%2))+" HTTP/1.1", "Host: "+host, ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
			}
		}
	}
	for _, tt := range []struct {
		name string
		make func(*traffic.Capture)
		want []string
	}{
		{"8 connections", connect("10.0.0.1", "203.0.113.1:443", every(8, 10*s)),
			[]string{"high: 10.0.0.1 calls 203.0.113.1 (no name, tcp/443) every 10s, 8 times; the interquartile range of the pauses is 0s 170 bytes sent each time"}},
		{"7 connections", connect("10.0.0.1", "203.0.113.1:443", every(7, 10*s)), nil},
		{"connections to another port between them", func(w *traffic.Capture) {
			connect("10.0.0.1", "203.0.113.1:443", every(8, 10*s))(w)
			connect("10.0.0.1", "203.0.113.1:444", every(7, 3*s, 14*s))(w)
		}, []string{"high: 10.0.0.1 calls 203.0.113.1 (no name, tcp/443) every 10s, 8 times"}},
		{"4 connections to each of 2 ports", func(w *traffic.Capture) {
			connect("10.0.0.1", "203.0.113.1:443", every(4, 10*s))(w)
			connect("10.0.0.1", "203.0.113.1:444", every(4, 10*s))(w)
		}, nil},
		{"4 connections of each of 2 clients", func(w *traffic.Capture) {
			connect("10.0.0.1", "203.0.113.1:443", every(4, 10*s))(w)
			connect("10.0.0.2", "203.0.113.1:443", every(4, 10*s))(w)
		}, nil},
		{"4 connections to each of 2 addresses", func(w *traffic.Capture) {
			connect("10.0.0.1", "203.0.113.1:443", every(4, 10*s))(w)
			connect("10.0.0.1", "203.0.113.2:443", every(4, 10*s))(w)
		}, nil},
		{"pauses of half a second", connect("10.0.0.1", "203.0.113.1:443", every(8, s/2)), []string{"high: 10.0.0.1 calls 203.0.113.1 (no name, tcp/443) every 500ms, 8 times"}},
		{"shorter pauses", connect("10.0.0.1", "203.0.113.1:443", every(8, s*4/10)), nil},
		{"pauses that differ by 8 percent", connect("10.0.0.1", "203.0.113.1:443", every(8, 10*s, 10*s+800*ms)),
			[]string{"high: 10.0.0.1 calls 203.0.113.1 (no name, tcp/443) every 10s, 8 times; the interquartile range of the pauses is 800ms"}},
		{"pauses that differ by 20 percent", connect("10.0.0.1", "203.0.113.1:443", every(8, 10*s, 12*s)), nil},
		{"to the inside", connect("10.0.0.1", "10.0.0.2:443", every(8, 10*s)), nil},
		{"from the outside", connect("203.0.113.2", "203.0.113.1:443", every(8, 10*s)), nil},
		{"calls to a name", call("updates.example.org", "/check", every(8, 10*s)),
			[]string{"medium: 10.0.0.1 calls 203.0.113.9 (updates.example.org, calls of http1 GET /check) every 10s, 8 times; the interquartile range of the pauses is 0s 69 bytes sent each time"}},
		{"calls to a name, less regular", call("updates.example.org", "/check", every(8, 10*s, 10*s+500*ms)),
			[]string{"low: 10.0.0.1 calls 203.0.113.9 (updates.example.org, calls of http1 GET /check) every 10s, 8 times"}},
		{"calls to an address", call("203.0.113.9", "/check", every(8, 10*s)), []string{"high: 10.0.0.1 calls 203.0.113.9 (no name, calls of http1 GET /check) every 10s, 8 times"}},
		{"calls from the outside", func(w *traffic.Capture) {
			for _, at := range every(8, 10*s) {
				w.Exchange(at, ms, "outside", "203.0.113.2", "203.0.113.9:80", traffic.HTTP("GET / HTTP/1.1", "Host: a.example.org", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
			}
		}, nil},
		{"calls to the inside", func(w *traffic.Capture) {
			for _, at := range every(8, 10*s) {
				w.Exchange(at, ms, "inside", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a.example.org", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
			}
		}, nil},
		{"calls of another path between them", func(w *traffic.Capture) {
			call("updates.example.org", "/check", every(8, 10*s))(w)
			call("updates.example.org", "/other", every(7, 3*s, 14*s))(w)
		}, []string{"medium: 10.0.0.1 calls 203.0.113.9 (updates.example.org, calls of http1 GET /check) every 10s, 8 times"}},
		{"frequent calls", call("updates.example.org", "/check", every(20, s*4/10)), nil},
		{"7 calls", call("updates.example.org", "/check", every(7, 10*s)), nil},
		{"4 calls of each of 2 paths", call("updates.example.org", "/check/a#", every(8, 10*s)), nil},
		{"questions for the time", func(w *traffic.Capture) {
			for i, at := range every(8, 64*s) {
				request := "\x23\x00\x06\xec" + strings.Repeat("\x00", 36) + fmt.Sprintf("%08d", i)
				w.Datagram(at, "10.0.0.1", "203.0.113.123:123", request, "\x24\x01\x06\xec"+strings.Repeat("\x00", 20)+request[40:]+strings.Repeat("t", 16))
			}
		}, []string{"low: 10.0.0.1 calls 203.0.113.123 (no name, calls of ntp) every 1m4s, 8 times"}},
		{"echo requests", func(w *traffic.Capture) {
			for _, at := range every(8, s) {
				w.Ping(at, "10.0.0.1", "203.0.113.9", true)
			}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			tt.make(&w)
			hold(t, of(t, openTraffic(t, &w), "beacon"), tt.want...)
		})
	}
}

// TestWhatABeaconCites has one of connections and one of calls.
func TestWhatABeaconCites(t *testing.T) {
	var w traffic.Capture
	for i, at := range every(9, 10*time.Second) {
		w.Exchange(at, ms, fmt.Sprint(i), "10.0.0.1", "203.0.113.1:443", hello(1, 3, "\xc0\x2f"), hello(2, 3, "\xc0\x2f"))
		w.Exchange(at+ms, ms, "one", "10.0.0.1", "203.0.113.9:80", traffic.HTTP("GET / HTTP/1.1", "Host: a.example.org", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	list := find(t, openTraffic(t, &w), finding.In{Names: []string{"beacon"}})
	if len(list) != 2 || len(list[0].FlowIDs) != 3 || len(list[0].CallIDs) != 0 || len(list[1].FlowIDs) != 0 || len(list[1].CallIDs) != 3 {
		t.Errorf("%+v", list)
	}
}

// TestDataInNames has names at and below each threshold.
func TestDataInNames(t *testing.T) {
	// label is text of a number that looks like encoded data.
	label := func(i, size int) string {
		out := ""
		for n := uint64(i+1) * 0x9e3779b97f4a7c15; len(out) < size; n = n*6364136223846793005 + 1442695040888963407 {
			out += string("abcdefghijklmnopqrstuvwxyz234567"[n>>59])
		}
		return out
	}
	type ask struct{ server, name string }
	names := func(n int, name func(i int) string) (list []ask) {
		for i := range n {
			list = append(list, ask{"10.0.0.53", name(i)})
		}
		return list
	}
	for _, tt := range []struct {
		name string
		asks []ask
		kind string // type of the questions
		want []string
	}{
		{"20 names", names(20, func(i int) string { return label(i, 24) + ".example.org" }), "\x00\x01",
			[]string{"high: 10.0.0.1 asks for 20 different names below example.org with 24 bytes of new labels on average, 5.0 bits per character: up to 480 bytes sent out in 20 questions, 0 of them for TXT or NULL " + label(0, 24) + ".example.org"}},
		{"19 names", names(19, func(i int) string { return label(i, 24) + ".example.org" }), "\x00\x01", nil},
		{"shorter names", names(20, func(i int) string { return label(i, 23) + ".example.org" }), "\x00\x01", nil},
		{"names of few characters", names(20, func(i int) string {
			return strings.Map(func(r rune) rune { return 'a' + r%5 }, label(i, 40)) + ".example.org"
		}), "\x00\x01", nil},
		{"TXT and NULL", append(names(10, func(i int) string { return label(i, 30) + ".example.org" }), names(12, func(i int) string { return label(10+i, 30) + ".example.org" })...), "\x00\x10",
			[]string{"up to 660 bytes sent out in 22 questions, 22 of them for TXT or NULL"}},
		{"NULL", names(20, func(i int) string { return label(i, 30) + ".example.org" }), "\x00\x0a", []string{"in 20 questions, 20 of them for TXT or NULL"}},
		{"10 names, asked of 2 servers", append(names(10, func(i int) string { return label(i, 30) + ".example.org" }), func() (list []ask) {
			for _, a := range names(10, func(i int) string { return label(i, 30) + ".example.org" }) {
				list = append(list, ask{"10.0.0.54", a.name})
			}
			return list
		}()...), "\x00\x01", nil},
		{"2 domains", append(names(10, func(i int) string { return label(i, 30) + ".example.org" }), names(10, func(i int) string { return label(i, 30) + ".example.com" })...), "\x00\x01", nil},
		{"labels in common", names(40, func(i int) string { return label(i, 8) + ".internal-services.production.eu-central-1.example.org" }), "\x00\x01", nil},
		{"a block list", names(40, func(i int) string {
			return strings.Join(strings.Split(fmt.Sprintf("%032x", uint64(i+1)*0x9e3779b97f4a7c15), ""), ".") + ".dnsbl.example.org"
		}), "\x00\x01", nil},
		{"without a domain", names(20, func(i int) string { return "dnscat." + label(i, 30) + "." + label(50+i, 20) }), "\x00\x0f",
			[]string{"10.0.0.1 asks for 20 different names below (no known domain) with 50 bytes of new labels on average"}},
		{"names of the cluster", names(20, func(i int) string { return label(i, 30) + ".shop.svc.cluster.local" }), "\x00\x01", nil},
		{"reverse names", names(20, func(i int) string { return label(i, 30) + ".10.in-addr.arpa" }), "\x00\x0c", nil},
		{"names of a link", names(20, func(i int) string { return label(i, 30) + ".local" }), "\x00\x01", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i, a := range tt.asks {
				q := question(a.name)
				w.Datagram(time.Duration(i)*ms, "10.0.0.1", a.server+":53", q[:len(q)-4]+tt.kind+"\x00\x01")
			}
			hold(t, of(t, openTraffic(t, &w), "dns-tunnel"), tt.want...)
		})
	}
}

// TestTextsThatComeIn has answers of DNS that are texts: long or short, of many names or few, and of mail.
func TestTextsThatComeIn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		names  int
		domain string
		size   int
		want   []string
	}{
		{"8 texts", 8, "x.example.org", 180, []string{"medium: 10.0.0.1 got long texts for 8 names below example.org: "}},
		{"7 texts", 7, "x.example.org", 180, nil},
		{"short texts", 8, "x.example.org", 90, nil},
		{"keys of mail", 8, "_domainkey.example.org", 180, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i := range tt.names {
				q := question(fmt.Sprintf("l%d.%s", i, tt.domain))
				q = q[:len(q)-4] + "\x00\x10\x00\x01"
				text := string([]byte{byte(tt.size)}) + strings.Repeat("a", tt.size)
				w.Datagram(time.Duration(i)*ms, "10.0.0.1", "10.0.0.53:53", q, q[:2]+"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"+q[12:]+"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x01\x00"+string([]byte{byte(len(text))})+text)
			}
			hold(t, of(t, openTraffic(t, &w), "dns-tunnel"), tt.want...)
		})
	}
}

// TestOverflowingSignatures has answers of type SIG and TXT over TCP.
func TestOverflowingSignatures(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		size       int
		want       []string
	}{
		{"a signature of 64 KiB", "\x00\x18", 65_400, []string{"high: 10.0.0.53 sent 10.0.0.1 1 answer of type SIG, up to 654"}},
		{"a signature", "\x00\x18", 300, nil},
		{"a text of 64 KiB", "\x00\x10", 65_400, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			sized := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
			q := question("9.example.org")
			q = q[:len(q)-4] + tt.kind + "\x00\x01"
			w.Exchange(0, ms, "dns", "10.0.0.1", "10.0.0.53:53", sized(q), sized(q[:2]+"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"+q[12:]+"\xc0\x0c"+tt.kind+"\x00\x01\x00\x00\x00\x01"+sized(strings.Repeat("\x01", tt.size))))
			hold(t, of(t, openTraffic(t, &w), "sigred"), tt.want...)
		})
	}
}

// TestKFLOfATunnel selects all questions of the finding, not only the first ones.
func TestKFLOfATunnel(t *testing.T) {
	var w traffic.Capture
	for i := range 25 {
		q := question(fmt.Sprintf("%02d%s.example.org", i, "abcdefghijklmnopqrstuvwxyz"))
		w.Datagram(time.Duration(i)*ms, "10.0.0.1", fmt.Sprintf("10.0.0.%d:53", 54-i%2), q)
	}
	w.Datagram(ms, "10.0.0.1", "10.0.0.53:53", question("00abcdefghijklmnopqrstuvwxyz.example.org"))
	c := openTraffic(t, &w)
	list := find(t, c, finding.In{Names: []string{"dns-tunnel"}})
	if len(list) != 1 || len(list[0].CallIDs) != 3 || list[0].Dst != "10.0.0.53" || len(list[0].Evidence) != 3 || list[0].Evidence[0] == list[0].Evidence[1] {
		t.Fatalf("%+v", list)
	}
	if n := count(t, c, list[0].KFL); n != 26 {
		t.Errorf("%s selects %d calls", list[0].KFL, n)
	}
}

// TestVolumeThresholds has uploads of 10 MiB, just less, and of twice as much as was received, or less.
func TestVolumeThresholds(t *testing.T) {
	var w traffic.Capture
	block := func(bytes int) string { return strings.Repeat("x", bytes) }
	for i, tt := range []struct {
		client   string
		up, down int // KiB
		times    int
	}{{"10.0.0.1", 30, 0, 342}, {"10.0.0.2", 30, 0, 338}, {"10.0.0.3", 30, 14, 345}, {"10.0.0.4", 30, 16, 345}, {"203.0.113.8", 30, 0, 345}} {
		for k := range tt.times {
			w.Exchange(time.Duration(k)*10*ms+time.Duration(i)*ms, ms/10, tt.client, tt.client, "203.0.113.9:9000", block(tt.up<<10), block(tt.down<<10))
		}
	}
	c := openTraffic(t, &w)
	hold(t, of(t, c, "outside-volume"),
		"medium: 10.0.0.3 sent 10.1 MiB to 203.0.113.9 outside in 1 connection, and received 4.7 MiB 203.0.113.9",
		"medium: 10.0.0.1 sent 10.0 MiB to 203.0.113.9 outside in 1 connection, and received 0.0 MiB 203.0.113.9")
	if list := find(t, c, finding.In{Names: []string{"outside-volume"}}); len(list[0].FlowIDs) != 1 {
		t.Errorf("%+v", list[0])
	}
}
