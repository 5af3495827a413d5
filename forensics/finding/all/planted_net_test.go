package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// openIn opens traffic in a cluster with pods of these namespaces: their addresses by namespace.
func openIn(t *testing.T, c *traffic.Capture, pods map[string]string) *forensics.Case {
	t.Helper()
	var items []string
	for ns, ip := range pods {
		items = append(items, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"`+ns+`","uid":"`+ns+`","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"nodeName":"n"},"status":{"podIP":"`+ip+`","podIPs":[{"ip":"`+ip+`"}]}}`)
	}
	slices.Sort(items)
	dump := filepath.Join(t.TempDir(), "kube.json")
	if err := os.WriteFile(dump, []byte(`{"apiVersion":"v1","kind":"List","items":[`+strings.Join(items, ",")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return openMade(t, c, dump)
}

func TestDeprecatedProtocols(t *testing.T) {
	const at = 10 * ms
	var c traffic.Capture
	tcp := func(i int, port, request, response string) {
		c.Exchange(time.Duration(i)*at, ms, port, "10.0.0.1", "10.0.0.2:"+port, request, response)
	}
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	tcp(0, "2323", "\xff\xfb\x18\xff\xfb\x20", "\xff\xfd\x18\xff\xfd\x20")
	tcp(1, "2121", "USER bob\r\n", "220 ready\r\n")
	tcp(2, "2222", "SSH-1.5-old\r\n", "SSH-1.5-old\r\n")
	tcp(3, "2022", "SSH-2.0-OpenSSH_9.6\r\n", "SSH-1.99-OpenSSH_9.6\r\n") // offers version 2 too
	tcp(4, "4450", "\x00\x00\x00\x54\xffSMB\x72\x00\x00\x00\x00", "\x00\x00\x00\x54\xffSMB\x72\x00\x00\x00\x00")
	tcp(5, "4451", "\x00\x00\x00\x54\xffSMB\x72\x00\x00\x00\x00", "\x00\x00\x00\xe8\xfeSMB\x40\x00\x00\x00") // negotiates version 2
	bind := func(name, password string) string {
		auth := "\x80" + string(rune(len(password))) + password
		body := "\x02\x01\x03\x04" + string(rune(len(name))) + name + auth
		return "\x30" + string(rune(len(body)+5)) + "\x02\x01\x01\x60" + string(rune(len(body))) + body
	}
	tcp(6, "3890", bind("cn=admin,dc=example", "secret"), "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00")
	tcp(7, "3891", bind("", ""), "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00") // anonymous
	tcp(8, "8080", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
	tcp(9, "8081", traffic.HTTP("GET / HTTP/1.1", "Host: a\r\nAuthorization: NTLM TlRMTVNTUAABAAAA", ""), ok)
	tcp(10, "8082", traffic.HTTP("GET / HTTP/1.1", "Host: a\r\nAuthorization: Negotiate TlRMTVNTUAABAAAA", ""), ok)
	tcp(11, "8083", traffic.HTTP("GET / HTTP/1.1", "Host: a\r\nAuthorization: Negotiate YIIJvwYGKwYBBQUC", ""), ok) // Kerberos
	c.Datagram(12*at, "10.0.0.1", "10.0.0.2:1610", "\x30\x26\x02\x01\x00\x04\x06public\xa0\x19\x02\x04\x10\x20\x30\x40\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00")
	c.Datagram(13*at, "10.0.0.1", "10.0.0.2:1611", "\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x04\x10\x20\x30\x40\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00")
	k := openTraffic(t, &c)
	var got []string
	for _, f := range find(t, k, finding.In{Scope: ask.Scope{Limit: 100}, Names: []string{"deprecated-protocol"}}) {
		got = append(got, f.Kind)
		calls := 1
		if f.Kind == "ftp" { // and the greeting
			calls = 2
		}
		if f.Count != int64(calls) || len(f.CallIDs) != calls || strings.Contains(f.What, "secret") {
			t.Errorf("%+v", f)
		}
	}
	slices.Sort(got)
	if want := []string{"ftp", "http-1.0", "ldap-simple-bind", "ntlm", "ntlm", "smb-1", "snmp-1", "snmp-2c", "ssh-1", "telnet"}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAdministrativeAccess(t *testing.T) {
	var c traffic.Capture
	ok, no := traffic.HTTP("HTTP/1.1 200 OK", "", ""), traffic.HTTP("HTTP/1.1 404 Not Found", "", "")
	get := func(path string) string { return traffic.HTTP("GET "+path+" HTTP/1.1", "Host: a", "") }
	c.Exchange(0, ms, "ssh", "10.0.0.1", "10.0.0.2:22", "SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6\r\n")
	c.Exchange(10*ms, ms, "ssh outside", "198.51.100.7", "10.0.0.2:22", "SSH-2.0-PuTTY\r\n", "SSH-2.0-OpenSSH_9.6\r\n")
	c.Exchange(20*ms, ms, "web", "10.0.0.1", "10.0.0.3:80", get("/actuator/heapdump"), ok)
	c.Exchange(30*ms, ms, "web", "10.0.0.1", "10.0.0.3:80", get("/wp-admin/setup.php"), no)
	c.Exchange(40*ms, ms, "web", "10.0.0.1", "10.0.0.3:80", get("/administration-of-orders"), ok)
	c.Exchange(50*ms, ms, "kube", "10.0.0.1", "10.0.0.4:8001", traffic.HTTP("POST /api/v1/namespaces/shop/pods/web-7d9c/exec?command=sh HTTP/1.1", "Host: a", ""), ok)
	c.Exchange(60*ms, ms, "kube", "10.0.0.1", "10.0.0.4:8001", get("/api/v1/namespaces/shop/pods/web-7d9c/log"), ok)
	c.Exchange(70*ms, ms, "redis", "10.0.0.1", "10.0.0.5:6379", "*1\r\n$7\r\nMONITOR\r\n", "+OK\r\n")
	c.Exchange(80*ms, ms, "redis 2", "10.0.0.1", "10.0.0.5:6379", "*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$4\r\nsave\r\n", "*0\r\n")
	hold(t, of(t, openTraffic(t, &c), "admin-access"),
		"high: (outside) uses ssh to 10.0.0.2, in 1 connection, from outside",
		"medium: 10.0.0.1 calls GET /actuator/heapdump of 10.0.0.3, a path for administrators, in 1 call; 1 succeeded, without encryption",
		"medium: 10.0.0.1 opens shells or ports in containers through 10.0.0.4 (exec), in 1 call, without encryption",
		"medium: 10.0.0.1 uses a console or commands of administrators on the database 10.0.0.5, in 1 call, without encryption",
		"low: 10.0.0.1 calls GET /wp-admin/setup.php of 10.0.0.3, a path for administrators, in 1 call; 0 succeeded",
		"info: 10.0.0.1 uses ssh to 10.0.0.2, in 1 connection")
}

func TestSegmentation(t *testing.T) {
	var c traffic.Capture
	req, ok := traffic.HTTP("GET / HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "")
	c.Exchange(0, ms, "allowed", "10.0.0.1", "10.0.0.2:80", req, ok)
	c.Exchange(10*ms, ms, "not allowed", "10.0.0.2", "10.0.0.1:80", req, ok)
	c.Exchange(20*ms, ms, "monitoring", "10.0.0.2", "10.0.0.3:80", req, ok)
	c.Exchange(30*ms, ms, "outside", "198.51.100.7", "10.0.0.1:443", req, ok)
	c.Attempt(40*ms, "10.0.0.3", "10.0.0.2:5432", true)
	k := openIn(t, &c, map[string]string{"shop": "10.0.0.1", "pay": "10.0.0.2", "monitoring": "10.0.0.3"})
	hold(t, of(t, k, "segmentation"))
	hold(t, of(t, k, "segmentation", "shop->pay", "*->monitoring"),
		"high: (outside) connects to shop/web at tcp/443 in 1 connection, but outside->shop is not on the allow-list",
		"high: pay/web connects to shop/web at tcp/80 in 1 connection, but pay->shop is not on the allow-list",
		"info: monitoring/web connects to pay/web at tcp/5432 in 1 connection, but monitoring->pay is not on the allow-list; none was accepted")
	hold(t, of(t, k, "segmentation", "*->*"), "outside->shop is not on the allow-list")
	hold(t, of(t, k, "segmentation", "*->*", "outside->shop"))
	hold(t, of(t, k, "egress", "shop->pay")) // pairs are no list of destinations
}

func TestVolumesToOutside(t *testing.T) {
	var c traffic.Capture
	block := strings.Repeat("x", 60_000)
	for i := range 180 {
		at := time.Duration(i) * 10 * ms
		c.Exchange(at, ms, "up", "10.0.0.1", "203.0.113.9:9000", block, "ok")
		c.Exchange(at+ms, ms, "down", "10.0.0.2", "203.0.113.9:9001", "more", block)
		c.Exchange(at+2*ms, ms, "inside", "10.0.0.3", "10.0.0.4:9000", block, "ok")
	}
	k := openTraffic(t, &c)
	hold(t, of(t, k, "outside-volume"), "medium: 10.0.0.1 sent 10.3 MiB to 203.0.113.9 outside in 1 connection, and received 0.0 MiB")
	hold(t, of(t, k, "outside-volume", "203.0.113.0/24"))
}

// hello is a ClientHello (kind 1) or ServerHello (kind 2) with a version, suites and extensions.
func hello(kind, minor byte, suites string, extensions ...string) string {
	body := string([]byte{3, minor}) + strings.Repeat("r", 32) + "\x00"
	if kind == 1 {
		body += "\x00" + string([]byte{byte(len(suites))}) + suites + "\x01\x00"
	} else {
		body += suites + "\x00"
	}
	if ext := strings.Join(extensions, ""); ext != "" {
		body += string([]byte{byte(len(ext) >> 8), byte(len(ext))}) + ext
	}
	message := string([]byte{kind, 0, byte(len(body) >> 8), byte(len(body))}) + body
	return string([]byte{0x16, 3, minor, byte(len(message) >> 8), byte(len(message))}) + message
}

func TestWeakTLS(t *testing.T) {
	const rc4, gcm, cbc = "\x00\x05", "\xc0\x2f", "\xc0\x13"
	var c traffic.Capture
	c.Exchange(0, ms, "rc4", "10.0.0.1", "10.0.0.2:443", hello(1, 3, rc4+gcm), hello(2, 3, rc4))
	c.Exchange(10*ms, ms, "tls 1.0", "10.0.0.1", "10.0.0.3:443", hello(1, 1, cbc), hello(2, 1, cbc))
	c.Exchange(20*ms, ms, "offered", "10.0.0.4", "10.0.0.5:443", hello(1, 3, gcm+rc4), hello(2, 3, gcm))
	c.Exchange(30*ms, ms, "good", "10.0.0.6", "10.0.0.5:443", hello(1, 3, gcm), hello(2, 3, gcm))
	c.Exchange(40*ms, ms, "unanswered", "10.0.0.6", "10.0.0.7:443", hello(1, 3, gcm), "")
	c.Exchange(50*ms, ms, "versions", "10.0.0.8", "10.0.0.7:443", hello(1, 1, gcm, "\x00\x2b\x00\x05\x04\x03\x03\x03\x02"), "")
	k := openTraffic(t, &c)
	hold(t, of(t, k, "weak-tls"),
		"high: 10.0.0.1 and 10.0.0.2 negotiated TLS 1.2 TLS_RSA_WITH_RC4_128_SHA (RC4) in 1 handshake TLS 1.2 TLS_RSA_WITH_RC4_128_SHA forbidden by RFC 7465, BCP 195, SP 800-52r2, BSI TR-02102-2 2025-01, Mozilla 5.7 intermediate, Mozilla 5.7 modern",
		"medium: 10.0.0.1 and 10.0.0.3 negotiated TLS 1.0 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA (TLS 1.0) in 1 handshake TLS 1.0 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA forbidden by RFC 8996, BCP 195")
	hold(t, of(t, k, "weak-tls-offered"), "10.0.0.1 offers RC4 to 10.0.0.2 in 1 handshake", "10.0.0.1 offers TLS 1.0 to 10.0.0.3 in 1", "10.0.0.4 offers RC4 to 10.0.0.5 in 1 handshake", "10.0.0.8 offers TLS 1.1 to 10.0.0.7 in 1 handshake")
	out, err := finding.Run(ctx, k, all.Analyzers(), finding.In{Names: []string{"weak-tls"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "weak-tls: of 4 handshakes, some break a profile: RFC 8996 (1), RFC 7465 (1), BCP 195 (2), SP 800-52r2 (2), BSI TR-02102-2 2025-01 (2), Mozilla 5.7 intermediate (2), Mozilla 5.7 modern (4)"; !slices.Contains(out.Notes, want) {
		t.Errorf("notes %q, want %q", out.Notes, want)
	}
}

// TestCleanTraffic finds nothing above info in ordinary traffic.
func TestCleanTraffic(t *testing.T) {
	var c traffic.Capture
	for i := range 20 {
		at := time.Duration(i*i) * 10 * ms
		c.Exchange(at, ms, "web", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /orders/7 HTTP/1.1", "Host: shop", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/json", `{"items":[1,2]}`))
	}
	c.Exchange(time.Second, ms, "tls", "10.0.0.1", "10.0.0.3:443", hello(1, 3, "\xc0\x2f"), hello(2, 3, "\xc0\x2f"))
	list := find(t, openIn(t, &c, map[string]string{"shop": "10.0.0.1", "pay": "10.0.0.2"}), finding.In{Scope: ask.Scope{Limit: 100}, Allow: []string{"shop->pay"}})
	list = slices.DeleteFunc(list, func(f finding.Finding) bool { return f.Finding == "no-auth" })
	if len(list) > 0 {
		t.Errorf("%s", what(list))
	}
}

// TestIdsAreStable compares two recordings of one system that differ in times, counts and order.
func TestIdsAreStable(t *testing.T) {
	made := func(n int, shift time.Duration) *traffic.Capture {
		var c traffic.Capture
		ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
		for i := range n {
			at := shift + time.Duration(i)*time.Second
			c.Exchange(at, ms, "login", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("POST /users/"+strings.Repeat("7", i%3+1)+"/login HTTP/1.1", "Host: a\r\nContent-Type: application/json\r\nAuthorization: Bearer abcdefghijklmn"+string(rune('a'+i)), `{"password":"p","card":"4111111111111111"}`), ok)
			c.Exchange(at+ms, ms, "on", "10.0.0.2", "203.0.113.9:80", traffic.HTTP("GET / HTTP/1.1", "Host: 203.0.113.9\r\nAuthorization: Bearer abcdefghijklmn"+string(rune('a'+i)), ""), ok)
			c.Exchange(at+2*ms, ms, "tls", "10.0.0.1", "10.0.0.3:443", hello(1, 1, "\xc0\x13"), hello(2, 1, "\xc0\x13"))
			c.Exchange(at+3*ms, ms, "telnet", "10.0.0.1", "10.0.0.4:2323", "\xff\xfb\x18\xff\xfb\x20", "\xff\xfd\x18\xff\xfd\x20")
		}
		for i := range n + 20 {
			c.Attempt(shift+time.Duration(n)*time.Second+time.Duration(i)*ms, "10.0.0.5", "10.0.0.6:"+string([]byte{'1', byte('0' + i/10%10), byte('0' + i%10)}), true)
		}
		return &c
	}
	ids := func(c *traffic.Capture) map[string]string {
		out := map[string]string{}
		for _, f := range find(t, openTraffic(t, c), finding.In{Scope: ask.Scope{Limit: 1000}}) {
			if _, twice := out[f.ID]; twice || !strings.HasPrefix(f.ID, f.Finding+"/") {
				t.Errorf("id %s is not unique: %s", f.ID, f.What)
			}
			if f.Finding != "unusual" { // depends on the window by its nature
				out[f.ID] = f.What
			}
		}
		return out
	}
	a, b := ids(made(9, 0)), ids(made(14, time.Hour))
	for id, what := range a {
		if b[id] == "" {
			t.Errorf("%s is not in the second recording: %s", id, what)
		}
	}
	for id, what := range b {
		if a[id] == "" {
			t.Errorf("%s is only in the second recording: %s", id, what)
		}
	}
	if len(a) < 8 {
		t.Errorf("only %d findings", len(a))
	}
}

// TestKindsAreDeclared compares the kinds of findings with those that analyzers declare. No two
// findings of one case have the same id.
func TestKindsAreDeclared(t *testing.T) {
	c := open(t, false, "shop.pcapng", "tls.pcapng")
	seen := map[string]string{}
	for _, f := range find(t, c, finding.In{Scope: ask.Scope{Limit: 1000}}) {
		if seen[f.ID] != "" {
			t.Errorf("%s is the id of two findings: %s, and %s", f.ID, seen[f.ID], f.What)
		}
		seen[f.ID] = f.What
		i := slices.IndexFunc(all.Analyzers(), func(a finding.Analyzer) bool { return a.Name == f.Finding })
		if kinds := all.Analyzers()[i].Kinds; kinds != nil && !slices.Contains(kinds, f.Kind) {
			t.Errorf("%s has a finding of the kind %q, which it does not declare", f.Finding, f.Kind)
		}
		if !slices.Equal(f.Controls, control.Of(&f)) {
			t.Errorf("%s: controls %v", f.ID, f.Controls)
		}
	}
}
