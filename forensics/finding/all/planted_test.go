package all_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

func openTraffic(t *testing.T, c *traffic.Capture) *forensics.Case {
	t.Helper()
	k := openMade(t, c)
	finding.Bind(k, all.Analyzers())
	return k
}

// openMade opens a bundle of traffic and of Kubernetes dumps.
func openMade(t *testing.T, c *traffic.Capture, kube ...string) *forensics.Case {
	t.Helper()
	return openWith(t, c, nil, kube...)
}

// openWith opens a bundle of traffic, a log of TLS keys and Kubernetes dumps.
func openWith(t *testing.T, c *traffic.Capture, keys []byte, kube ...string) *forensics.Case {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "made.pcap"), filepath.Join(dir, "made.pcapsule")
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	o := exporter.Options{Release: "test", Repanic: true, Kube: kube}
	if keys != nil {
		o.Keys = []string{filepath.Join(dir, "keys")}
		if err := os.WriteFile(o.Keys[0], keys, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exporter.Run(ctx, []string{file}, out, o); err != nil {
		t.Fatal(err)
	}
	k, err := forensics.Open(ctx, []string{out}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

const ms = time.Millisecond

// of returns the findings of one analyzer, one per line.
func of(t *testing.T, c *forensics.Case, name string, allow ...string) []string {
	t.Helper()
	out := strings.TrimSuffix(what(find(t, c, finding.In{Scope: ask.Scope{Limit: 1000}, Names: []string{name}, Allow: allow})), "\n")
	if out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

func hold(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("want %s in\n%s", w, got[i])
		}
	}
}

func TestEgressToBareAddresses(t *testing.T) {
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	c.Exchange(0, ms, "bare", "10.0.0.1", "203.0.113.9:8080", traffic.HTTP("GET / HTTP/1.1", "Host: 203.0.113.9:8080", ""), ok)
	c.Exchange(ms, ms, "named", "10.0.0.1", "198.51.100.7:80", traffic.HTTP("GET / HTTP/1.1", "Host: api.example.org", ""), ok)
	c.Exchange(2*ms, ms, "hexadecimal", "10.0.0.1", "203.0.113.10:80", traffic.HTTP("GET / HTTP/1.1", "Host: 0xcb00710a", ""), ok)
	c.Exchange(3*ms, ms, "word", "10.0.0.1", "198.51.100.8:80", traffic.HTTP("GET / HTTP/1.1", "Host: face.cafe", ""), ok)
	c.Exchange(4*ms, ms, "no host", "10.0.0.1", "203.0.113.11:80", traffic.HTTP("GET / HTTP/1.0", "", ""), ok)
	k := openTraffic(t, &c)
	hold(t, of(t, k, "egress"), "203.0.113.10 (an address without any name)", "203.0.113.11 (an", "203.0.113.9 (an")
	hold(t, of(t, k, "egress", "api.example.org", "face.cafe", "203.0.113.0/29"), "203.0.113.10 (an", "203.0.113.11 (an", "203.0.113.9 (an")
	hold(t, of(t, k, "egress", "api.example.org", "203.0.113.0/24"), "face.cafe")
	for _, f := range find(t, k, finding.In{Names: []string{"egress"}}) {
		if len(f.CallIDs) != 1 || len(f.FlowIDs) != 1 {
			t.Errorf("cites calls %v and flows %v: %s", f.CallIDs, f.FlowIDs, f.What)
		}
	}
}

// TestOutsideTrafficThatWasAnswered: what is said about answers is right for every transport, and of a connection whose
// other direction was not captured nothing is said.
func TestOutsideTrafficThatWasAnswered(t *testing.T) {
	ends := [2]string{"10.0.0.1", "203.0.113."}
	var c traffic.Capture
	c.Datagram(0, ends[0], ends[1]+"1:9999", "question", "answer")
	c.Datagram(2*ms, ends[0], ends[1]+"2:9999", "question")
	c.Ping(3*ms, ends[0], ends[1]+"3", true)
	c.Ping(4*ms, ends[0], ends[1]+"4", false)
	c.Attempt(5*ms, ends[0], ends[1]+"5:80", true)
	c.Attempt(6*ms, ends[0], ends[1]+"6:80", false)
	c.Exchange(7*ms, ms, "x", ends[0], ends[1]+"7:81", "question", "answer")
	c.Datagram(20*time.Second, ends[0], ends[1]+"9:53", question("late")) // an answer may follow the end of the capture
	c.Unreachable(8*ms, ends[0], ends[1]+"8")                             // a report about a packet from there
	hold(t, of(t, openTraffic(t, &c), "egress"),
		"10.0.0.1 connects to 203.0.113.1 (an address without any name) at udp/9999 in 1 connection, 36 bytes sent ",
		"10.0.0.1 connects to 203.0.113.2 (an address without any name) at udp/9999 in 1 connection, 36 bytes sent; none was answered",
		"10.0.0.1 sends icmp to 203.0.113.3 (an address without any name) in 1 connection, 32 bytes sent ",
		"10.0.0.1 sends icmp to 203.0.113.4 (an address without any name) in 1 connection, 32 bytes sent; none was answered",
		"10.0.0.1 connects to 203.0.113.5 (an address without any name) at tcp/80 in 1 connection, 40 bytes sent; none was accepted",
		"10.0.0.1 connects to 203.0.113.6 (an address without any name) at tcp/80 in 1 connection, 40 bytes sent; none was accepted",
		"10.0.0.1 connects to 203.0.113.7 (an address without any name) at tcp/81 in 1 connection, 128 bytes sent ",
		"10.0.0.1 connects to 203.0.113.9 (an address without any name) at udp/53 in 1 connection, 50 bytes sent ")
}

// TestANameInAQuestionIsNotItsServer: a DNS server has no other name because clients look names up there, and an allowed
// name does not allow the server that is asked for it.
func TestANameInAQuestionIsNotItsServer(t *testing.T) {
	var c traffic.Capture
	c.Datagram(0, "10.0.0.1", "203.0.113.53:53", question("api.example.org"))
	k := openTraffic(t, &c)
	hold(t, of(t, k, "egress"), "10.0.0.1 connects to 203.0.113.53 (an address without any name) at udp/53")
	hold(t, of(t, k, "egress", "api.example.org"), "10.0.0.1 connects to 203.0.113.53 (an address without any name) at udp/53")
}

// question is a DNS question for the address of a name.
func question(name string) string {
	text := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for _, label := range strings.Split(name, ".") {
		text += string(rune(len(label))) + label
	}
	return text + "\x00\x00\x01\x00\x01"
}

// TestOneClientForwardsNothing: a client that repeats its own cookie on a loopback address forwards no token.
func TestOneClientForwardsNothing(t *testing.T) {
	var c traffic.Capture
	request := traffic.HTTP("GET / HTTP/1.1", "Host: a\r\nCookie: session=0123456789abcdef", "")
	for i := range 3 {
		c.Exchange(time.Duration(i)*time.Second, ms, fmt.Sprint("c", i), "127.0.0.1", "127.0.0.1:80", request, traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	hold(t, of(t, openTraffic(t, &c), "forwarded-token"))
}

// TestOneCallWithoutCredentials: one call is not "none of 1 call", and an icon is not the health of a server.
func TestOneCallWithoutCredentials(t *testing.T) {
	var c traffic.Capture
	c.Exchange(0, ms, "page", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /page HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	c.Exchange(ms, ms, "icon", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /favicon.ico HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 404 Not Found", "", ""))
	hold(t, of(t, openTraffic(t, &c), "no-auth"), "10.0.0.1 uses http1 to 10.0.0.2 without authentication: the only call carries no credentials, and no client certificate was presented",
		"10.0.0.1 calls paths of 10.0.0.2 that usually need no credentials")
}

// TestQuestionsWithoutAnAnswer: nobody needs to answer a multicast question, and after the end of a capture there may have
// been an answer.
func TestQuestionsWithoutAnAnswer(t *testing.T) {
	var c traffic.Capture
	ask := func(at time.Duration, server, name string) { c.Datagram(at, "10.0.0.1", server, question(name)) }
	ask(0, "224.0.0.252:5355", "wpad")
	ask(ms, "224.0.0.251:5353", "printer")
	ask(2*ms, "10.0.0.53:53", "lost")
	ask(60*time.Second, "10.0.0.53:53", "late")
	c.Datagram(3*ms, "10.0.0.1", "10.0.0.53:53", "\x12\x34\x28"+question("zone")[3:]) // an update of a zone asks for nothing
	hold(t, of(t, openTraffic(t, &c), "dns-failure"), "10.0.0.1 asked 10.0.0.53 for lost: no response, 1 time", "10.0.0.1 sent UPDATE for zone to 10.0.0.53: no response, 1 time")
}

// TestProbesWithoutAnAnswer: a closed port answers a FIN or NULL probe with RST, an open or filtered one does not answer.
func TestProbesWithoutAnAnswer(t *testing.T) {
	var c traffic.Capture
	for i := range 30 {
		c.Probe(time.Duration(i)*20*ms, "10.0.0.1", fmt.Sprintf("203.0.113.7:%d", 1000+i), i%2 == 0, i < 8)
	}
	k := openTraffic(t, &c)
	hold(t, of(t, k, "scan"), "10.0.0.1 tried up to 30 targets within a minute (1 address, 30 ports); 30 of 30 connections were refused or not answered; 22 were probes without SYN and ACK that had no answer: such ports are open or filtered, because a closed port answers with RST")
	hold(t, of(t, k, "egress"), "10.0.0.1 tries 30 ports of 1 outside destination in 30 connections; none was accepted or answered")
}

// A scan is one finding per client, not one per address.
func TestAScanIsOneFinding(t *testing.T) {
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	for i := range 40 { // normal traffic before
		c.Exchange(time.Duration(i)*time.Second, ms, fmt.Sprint("usual", i%5), "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a", ""), ok)
		c.Exchange(time.Duration(i)*time.Second, ms, fmt.Sprint("other", i%5), "10.0.0.3", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a", ""), ok)
	}
	for i := range 300 {
		at := 41*time.Second + time.Duration(i)*20*ms
		c.Attempt(at, "10.0.0.1", fmt.Sprintf("203.0.113.%d:%d", i%250+1, 20+i/250), i%2 == 0)
	}
	for i := range 10 { // as many as are listed individually
		c.Attempt(41*time.Second+time.Duration(i)*20*ms, "10.0.0.3", fmt.Sprintf("203.0.113.%d:99", i+1), false)
	}
	for i := range 60 {
		c.Attempt(48*time.Second+time.Duration(i)*20*ms, "10.0.0.4", fmt.Sprintf("203.0.113.7:%d", 1000+i), true)
	}
	k := openTraffic(t, &c)
	hold(t, of(t, k, "scan"), "10.0.0.1 tried up to 300 targets within a minute (250 addresses, 2 ports)", "10.0.0.4 tried up to 60 targets within a minute (1 address, 60 ports)")
	got := of(t, k, "egress")
	hold(t, got[:2], "10.0.0.1 tries 300 ports of 250 outside destinations in 300 connections; none was accepted or answered", "10.0.0.4 tries 60 ports of 1 outside destination in 60")
	if len(got) != 12 {
		t.Errorf("%d findings, want 1 of each scan and 10 of the other client:\n%s", len(got), strings.Join(got, "\n"))
	}
	hold(t, of(t, k, "egress", "203.0.113.0/24"))
	got = of(t, k, "unusual")
	hold(t, got[:1], "10.0.0.1 had traffic with 250 destinations since 2026-02-25T06:13:56")
	if len(got) != 11 {
		t.Errorf("%d findings, want 11:\n%s", len(got), strings.Join(got, "\n"))
	}
}

// TestShortRecordingsHaveNoBaseline has less than a second before the last quarter.
func TestShortRecordingsHaveNoBaseline(t *testing.T) {
	var c traffic.Capture
	for i := range 8 {
		c.Exchange(time.Duration(i)*100*ms, ms, fmt.Sprint(i), "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	out, err := finding.Run(ctx, openTraffic(t, &c), all.Analyzers(), finding.In{Names: []string{"unusual"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "unusual: less than 1 second was recorded before "
	if got := slices.DeleteFunc(out.Notes, func(s string) bool { return !strings.HasPrefix(s, "unusual:") }); len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("notes %q, want one that begins with %q", got, want)
	}
}

func TestKeysInHeadersAreCredentials(t *testing.T) {
	var c traffic.Capture
	ok, no := traffic.HTTP("HTTP/1.1 200 OK", "", ""), traffic.HTTP("HTTP/1.1 401 Unauthorized", "", "")
	get := func(headers string) string { return traffic.HTTP("GET /orders HTTP/1.1", "Host: a"+headers, "") }
	for i := range 5 {
		c.Exchange(time.Duration(i)*ms, ms/2, "with", "10.0.0.1", "10.0.0.2:80", get("\r\nX-Api-Key: k-123"), ok)
		c.Exchange(time.Duration(i+10)*ms, ms/2, "bad", "10.0.0.3", "10.0.0.2:80", get("\r\nX-Api-Key: k-bad"), no)
	}
	c.Exchange(20*ms, ms/2, "without", "10.0.0.4", "10.0.0.2:80", get("\r\nX-CSRF-Token: t"), ok)
	for i := range 2 {
		c.Exchange(time.Duration(30+i)*ms, ms/2, "refused", "10.0.0.5", "10.0.0.2:80", get(""), no)
	}
	k := openTraffic(t, &c)
	hold(t, of(t, k, "plaintext-credentials"), "(apikey) to 10.0.0.2 over http1 without encryption in 5 calls", "(apikey) to 10.0.0.2 over http1 without encryption in 5 calls")
	hold(t, of(t, k, "missing-auth"),
		"1 call from 10.0.0.4 to GET /orders of 10.0.0.2 succeeded without credentials; 5 others carry them and 2 were refused for lack of credentials",
		"2 calls from 10.0.0.5 to GET /orders of 10.0.0.2 without credentials were refused; 5 others carry them")
	hold(t, of(t, k, "no-auth"), "10.0.0.4 uses http1 to 10.0.0.2 without authentication: the only call")
}

// TestALoginByTrustIsNone has two clients of PostgreSQL: one sends a password, the other is trusted.
func TestALoginByTrustIsNone(t *testing.T) {
	message := func(kind, body string) string {
		return kind + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
	}
	const begin, ok, password = "\x00\x03\x00\x00user\x00u\x00\x00", "\x00\x00\x00\x00", "\x00\x00\x00\x03"
	ready := message("R", ok) + message("Z", "I")
	var c traffic.Capture
	c.Exchange(0, ms/2, "trusted", "10.0.0.1", "10.0.0.2:5432", message("", begin), ready)
	c.Exchange(3*ms, ms/2, "login", "10.0.0.3", "10.0.0.2:5432", message("", begin), message("R", password))
	c.Exchange(4*ms, ms/2, "login", "10.0.0.3", "10.0.0.2:5432", message("p", "secret\x00"), ready)
	for i, who := range []string{"trusted", "login"} {
		c.Exchange(time.Duration(6+i)*ms, ms/2, who, []string{"10.0.0.1", "10.0.0.3"}[i], "10.0.0.2:5432", message("Q", "DELETE FROM t\x00"), message("C", "DELETE 1\x00")+message("Z", "I"))
	}
	hold(t, of(t, openTraffic(t, &c), "no-auth"), "10.0.0.1 uses postgresql to 10.0.0.2 without authentication: none of 2 calls")
}

// TestNoUseBeforeALogin has clients of databases that got no further than a greeting, a request for TLS or a refused login,
// and one whose request the server answered.
func TestNoUseBeforeALogin(t *testing.T) {
	pg := func(code string) string { return "\x00\x00\x00\x08" + code }
	var c traffic.Capture
	c.Exchange(0, ms, "tls", "10.0.0.1", "10.0.0.9:5432", pg("\x04\xd2\x16\x2f"), "S")
	c.Exchange(5*ms, ms, "tls", "10.0.0.1", "10.0.0.9:5432", hello(3, 3, "\xc0\x2f"), "")
	for i, who := range []string{"refused", "accepted"} {
		client, at := fmt.Sprintf("10.0.0.%d", i+2), time.Duration(i+1)*time.Second
		answer := []string{"-NOAUTH Authentication required.\r\n", "$1\r\n1\r\n"}[i]
		c.Exchange(at, ms, who, client, "10.0.0.8:6379", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", answer)
	}
	hold(t, of(t, openTraffic(t, &c), "no-auth"), "10.0.0.3 uses redis to 10.0.0.8 without authentication: the only call carries no credentials")
}

// Data is also found in base64: in credentials, JSON and a query.
func TestSensitiveDataInBase64(t *testing.T) {
	b64 := func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/json", `{"data":"`+b64(`{"iban":"DE89370400440532013000"}`)+`"}`)
	c.Exchange(0, ms, "a", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /a?state="+b64(`{"card":"4111111111111111"}`)+" HTTP/1.1",
		"Host: a\r\nAuthorization: Basic "+b64("deploy:ghp_a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"), ""), ok)
	got := strings.Join(of(t, openTraffic(t, &c), "sensitive-data"), "\n")
	for _, want := range []string{"card (personal) in the URL", "iban (personal) in the response body", "github_token (credential) in the headers"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}
