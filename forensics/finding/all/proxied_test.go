package all_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// clientHello is the first message of a TLS client that names a server.
func clientHello(t *testing.T, name string) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name, CurvePreferences: []tls.CurveID{tls.X25519}}).Handshake() // nobody answers
	}()
	b := make([]byte, 4096)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

const (
	proxyIP    = "203.0.113.9"
	tunnelled  = "evil.example.com"
	permitted  = "allowed.example.net"
	targetAddr = "198.51.100.77"
)

// tunnels are the ways to ask a proxy for a host. The request that follows names a host that is allowed.
var tunnels = map[string]struct {
	beyond string
	begin  [][2]string // messages of both sides until the tunnel stands
	direct bool        // the request itself names the host behind the proxy
}{
	"SOCKS 5 with a name":       {tunnelled, [][2]string{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x10" + tunnelled + "\x01\xbb", "\x05\x00\x00\x01\x0a\x00\x00\x01\x10\x00"}}, false},
	"SOCKS 5 with an address":   {targetAddr, [][2]string{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x01\xc6\x33\x64\x4d\x01\xbb", "\x05\x00\x00\x01\x0a\x00\x00\x01\x10\x00"}}, false},
	"SOCKS 4":                   {targetAddr, [][2]string{{"\x04\x01\x01\xbb\xc6\x33\x64\x4dme\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}}, false},
	"SOCKS 4A":                  {tunnelled, [][2]string{{"\x04\x01\x01\xbb\x00\x00\x00\x01\x00" + tunnelled + "\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}}, false},
	"CONNECT":                   {tunnelled, [][2]string{{"CONNECT " + tunnelled + ":443 HTTP/1.1\r\nHost: " + tunnelled + ":443\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"}}, false},
	"CONNECT with a false Host": {tunnelled, [][2]string{{"CONNECT " + tunnelled + ":443 HTTP/1.1\r\nHost: " + permitted + "\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"}}, false},
	"an absolute URI":           {tunnelled, [][2]string{{"GET http://" + tunnelled + "/ HTTP/1.1\r\nHost: " + permitted + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}}, true},
}

// TestHostsBehindProxiesAreNotTheProxy asks all faces with a list of names for connections through a proxy outside.
func TestHostsBehindProxiesAreNotTheProxy(t *testing.T) {
	for _, name := range nightly.Some(slices.Sorted(maps.Keys(tunnels)), 3) {
		tunnel := tunnels[name]
		t.Run(name, func(t *testing.T) {
			var c traffic.Capture
			for i, inner := range []string{clientHello(t, permitted), "GET / HTTP/1.1\r\nHost: " + permitted + "\r\n\r\n"} {
				at := time.Duration(1000*i) * ms
				conn := string(rune('a' + i))
				for k, m := range tunnel.begin {
					c.Exchange(at+time.Duration(k*100)*ms, ms, conn, "10.0.0.1", proxyIP+":8080", m[0], m[1])
				}
				if !tunnel.direct {
					c.Exchange(at+500*ms, ms, conn, "10.0.0.1", proxyIP+":8080", inner, strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", i))
				}
			}
			k := openTraffic(t, &c)
			for _, row := range []struct {
				allow []string
				bad   []string // what is not allowed
			}{
				{[]string{permitted}, []string{proxyIP, tunnel.beyond}},
				{[]string{permitted, proxyIP}, []string{tunnel.beyond}},
				{[]string{tunnel.beyond}, []string{proxyIP}},
				{[]string{tunnel.beyond, proxyIP}, nil},
			} {
				if tunnel.beyond == targetAddr && row.allow[0] == permitted { // only the tunnel's content names the address
					row.bad = slices.DeleteFunc(slices.Clone(row.bad), func(x string) bool { return x == targetAddr })
				}
				violations(t, k, row.allow, row.bad)
			}
			noneIsCalled(t, k)
		})
	}
}

// through is what a client asks of a proxy: messages of both sides, in a tunnel unless they are for the proxy itself.
type through struct {
	inside bool
	times  int
	said   [][2]string
}

// TestFindingsNameWhomTheyConcern has a line for each finding: what it names behind a proxy, and of the proxy itself.
func TestFindingsNameWhomTheyConcern(t *testing.T) {
	ok, no := traffic.HTTP("HTTP/1.1 200 OK", "", ""), traffic.HTTP("HTTP/1.1 401 Unauthorized", "", "")
	web := func(first, headers, body string) [][2]string {
		return [][2]string{{traffic.HTTP(first, "Host: "+tunnelled+headers, body), ok}}
	}
	const basic, toProxy, rc4, beyond = "\r\nAuthorization: Basic YTpi", "\r\nProxy-Authorization: Basic YTpi", "\x00\x05", "; the proxy is 10.0.0.9"
	ask := "GET http://" + tunnelled + "/admin HTTP/1.1"
	socks := func(result string) [][2]string {
		return [][2]string{{"\x05\x01\x02", "\x05\x02"}, {"\x01\x01a\x01b", "\x01" + result}}
	}
	for _, tt := range []struct {
		finding string
		through
		want string // empty if there is none
	}{
		{"plaintext-credentials", through{true, 1, web("GET / HTTP/1.1", basic, "")}, "high: 10.0.0.1 sends credentials (basic) to evil.example.com over http1 without encryption in 1 call, to an outside address" + beyond},
		{"plaintext-credentials", through{false, 1, web(ask, basic, "")}, "high: 10.0.0.1 sends credentials (basic) to evil.example.com over http1 without encryption in 1 call, to an outside address" + beyond},
		{"plaintext-credentials", through{false, 1, web(ask, toProxy, "")}, "high: 10.0.0.1 sends credentials (basic) to 10.0.0.9 over http1 without encryption in 1 call http1"},
		{"plaintext-credentials", through{false, 1, web(ask, basic+toProxy, "")}, "to evil.example.com over http1"},
		{"plaintext-credentials", through{false, 1, web("CONNECT "+tunnelled+":443 HTTP/1.1", toProxy, "")}, "to 10.0.0.9 over http1 without encryption in 1 call http1"},
		{"plaintext-credentials", through{false, 1, socks("\x00")}, "to 10.0.0.9 over socks without encryption in 1 call socks"},
		{"plaintext-credentials", through{true, 1, web("POST /in HTTP/1.1", "\r\nContent-Type: application/json", `{"password":"x"}`)}, "of POST /in, 10.0.0.1 to evil.example.com, without encryption in 1 call" + beyond},
		{"sensitive-data", through{true, 1, web("POST /in HTTP/1.1", "\r\nContent-Type: text/plain", "mail ann@example.org")}, "email (personal) in the request body of POST /in, 10.0.0.1 to evil.example.com" + beyond},
		{"sensitive-data", through{false, 1, web("CONNECT "+tunnelled+":443 HTTP/1.1", "\r\nFrom: ann@example.org", "")}, "email (personal) in the headers of CONNECT, 10.0.0.1 to 10.0.0.9 "},
		{"deprecated-protocol", through{true, 1, [][2]string{{"USER ann\r\nPASS x\r\n", "220 ready\r\n331 password\r\n230 ok\r\n"}}}, "high: 10.0.0.1 uses FTP without TLS to evil.example.com in 3 calls, which sends passwords in clear text" + beyond},
		{"deprecated-protocol", through{true, 1, web("GET / HTTP/1.0", "", "")}, "10.0.0.1 uses HTTP/1.0 to evil.example.com in 1 call" + beyond},
		{"deprecated-protocol", through{false, 1, web("GET http://"+tunnelled+"/ HTTP/1.0", "", "")}, "10.0.0.1 uses HTTP/1.0 to 10.0.0.9 in 1 call "},
		{"deprecated-protocol", through{false, 1, web("CONNECT "+tunnelled+":443 HTTP/1.0", "", "")}, "10.0.0.1 uses HTTP/1.0 to 10.0.0.9 in 1 call "},
		{"deprecated-protocol", through{false, 1, web(ask, "\r\nAuthorization: NTLM TlRMTVNTUAABAAAA", "")}, "10.0.0.1 uses NTLM authentication over HTTP to evil.example.com in 1 call" + beyond},
		{"deprecated-protocol", through{false, 1, web(ask, "\r\nProxy-Authorization: NTLM TlRMTVNTUAABAAAA", "")}, "10.0.0.1 uses NTLM authentication over HTTP to 10.0.0.9 in 1 call "},
		{"deprecated-protocol", through{false, 1, web(ask, "\r\nProxy-Authorization: Negotiate TlRMTVNTUAABAAAA", "")}, "10.0.0.1 uses NTLM inside Negotiate authentication to 10.0.0.9, in 1 call "},
		{"deprecated-protocol", through{false, 1, tunnels["SOCKS 4"].begin}, "10.0.0.1 uses version 4 of SOCKS to 10.0.0.9 in 1 call, which has no authentication "},
		{"admin-access", through{true, 1, [][2]string{{"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6\r\n"}}}, "info: 10.0.0.1 uses ssh to evil.example.com, in 1 connection" + beyond},
		{"admin-access", through{false, 1, web(ask, "", "")}, "10.0.0.1 calls GET /admin of evil.example.com, a path for administrators, in 1 call; 1 succeeded, without encryption" + beyond},
		{"weak-tls", through{true, 1, [][2]string{{hello(1, 3, rc4), hello(2, 3, rc4)}}}, "high: 10.0.0.1 and evil.example.com negotiated TLS 1.2 TLS_RSA_WITH_RC4_128_SHA (RC4) in 1 handshake" + beyond},
		{"weak-tls-offered", through{true, 1, [][2]string{{hello(1, 3, rc4), hello(2, 3, rc4)}}}, "10.0.0.1 offers RC4 to evil.example.com in 1 handshake" + beyond},
		{"certificate", through{true, 1, [][2]string{{hello(1, 3, rc4), hello(2, 3, rc4) + certificate(t)}}}, `"CN=old" had expired (valid to 2020-01-02T00:00:00Z): 1 handshake from 10.0.0.1 to evil.example.com` + beyond},
		{"brute-force", through{true, 10, [][2]string{{traffic.HTTP("GET / HTTP/1.1", "Host: a"+basic, ""), no}}}, "10.0.0.1 failed to log in to evil.example.com over http 10 times (of 10 logins), up to 10 within ten minutes" + beyond},
		{"brute-force", through{false, 10, [][2]string{{traffic.HTTP(ask, "Host: a"+basic, ""), no}}}, "failed to log in to evil.example.com over http 10 times"},
		{"brute-force", through{false, 10, [][2]string{{traffic.HTTP(ask, "Host: a"+toProxy, ""), strings.Replace(no, "401", "407", 1)}}}, "failed to log in to 10.0.0.9 over http 10 times (of 10 logins), up to 10 within ten minutes "},
		{"brute-force", through{false, 10, [][2]string{{traffic.HTTP("CONNECT "+tunnelled+":443 HTTP/1.1", "Host: a"+toProxy, ""), strings.Replace(no, "401", "407", 1)}}}, "failed to log in to 10.0.0.9 over http 10 times (of 10 logins), up to 10 within ten minutes "},
		{"brute-force", through{false, 10, [][2]string{{traffic.HTTP(ask, "Host: a"+basic+toProxy, ""), strings.Replace(no, "401", "407", 1)}}}, "failed to log in to 10.0.0.9 over http 10 times"},
		{"brute-force", through{false, 10, socks("\x01")}, "failed to log in to 10.0.0.9 over socks 10 times (of 10 logins), up to 10 within ten minutes, with 1 account "},
		{"missing-auth", through{false, 1, [][2]string{{traffic.HTTP(ask, "Host: a"+toProxy, ""), ok}, {traffic.HTTP(ask, "Host: a", ""), ok}}}, ""},
		{"missing-auth", through{false, 1, [][2]string{{traffic.HTTP(ask, "Host: a"+basic, ""), ok}, {traffic.HTTP(ask, "Host: a", ""), strings.Replace(no, "401", "407", 1)}}}, ""},
	} {
		t.Run(tt.finding+" "+tt.want, func(t *testing.T) {
			var c traffic.Capture
			for i := range tt.times {
				at, conn := time.Duration(i)*time.Second, strings.Repeat("x", i)
				said := tt.said
				if tt.inside {
					said = slices.Concat(tunnels["CONNECT"].begin, said)
				}
				for k, m := range said {
					c.Exchange(at+time.Duration(k*10)*ms, ms, conn, "10.0.0.1", "10.0.0.9:8080", m[0], m[1])
				}
			}
			list := find(t, openTraffic(t, &c), finding.In{Names: []string{tt.finding}})
			got := strings.Split(what(list), "\n")[:len(list)]
			if tt.want == "" {
				hold(t, got)
				return
			}
			hold(t, got, tt.want)
			if f := list[0]; (f.Via != "") != (f.Dst == tunnelled) || f.Via != "" && f.Via != "10.0.0.9" {
				t.Errorf("%s through %q", f.Dst, f.Via)
			}
		})
	}
}

// issued is a certificate that has expired, and its key.
func issued(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)}
	issuer := *made
	issuer.Subject.CommonName = "issuer"
	der, err := x509.CreateCertificate(rand.Reader, made, &issuer, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certificate is a message of TLS 1.2 with a certificate that has expired.
func certificate(t *testing.T) string {
	t.Helper()
	return certificateOf(issued(t).Certificate[0])
}

// certificateOf is a message of TLS 1.2 with a certificate.
func certificateOf(der []byte) string {
	sized := func(b string, n int) string {
		return string([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}[3-n:]) + b
	}
	return "\x16\x03\x03" + sized("\x0b"+sized(sized(sized(string(der), 3), 3), 3), 2) + "\x16\x03\x03\x00\x04\x0e\x00\x00\x00"
}

// TestCertificatesWithoutEnd has certificates whose validity ends or begins at a time that 64 bits of nanoseconds cannot tell:
// the year 9999 means that there is no end (RFC 5280 section 4.1.2.5).
func TestCertificatesWithoutEnd(t *testing.T) {
	for want, end := range map[string]time.Time{
		"is self-signed (valid to 2262 or later)":       time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		"is self-signed (valid to 2200-01-01T00:00:00Z": time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		"had expired (valid to 1677 or earlier)":        time.Date(1066, 10, 14, 0, 0, 0, 0, time.UTC),
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		made := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rat"}, NotBefore: time.Date(1050, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: end}
		der, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		var c traffic.Capture
		c.Exchange(0, ms, "tls", "10.0.0.1", "10.0.0.2:443", hello(1, 3, "\x00\x05"), hello(2, 3, "\x00\x05")+certificateOf(der))
		if got := strings.Join(of(t, openTraffic(t, &c), "certificate"), "\n"); !strings.Contains(got, want) {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}

// TestTokensThatLeaveThroughAProxy has a service that forwards a token through a proxy, and a proxy that passes one on.
func TestTokensThatLeaveThroughAProxy(t *testing.T) {
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	const token = "\r\nAuthorization: Bearer abcdefghijklmnop"
	var c traffic.Capture
	c.Exchange(0, ms, "in", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a"+token, ""), ok)
	c.Exchange(time.Second, ms, "on", "10.0.0.2", "10.0.0.9:3128", traffic.HTTP("GET http://"+tunnelled+"/ HTTP/1.1", "Host: "+tunnelled+token, ""), ok)
	c.Exchange(2*time.Second, ms, "out", "10.0.0.9", targetAddr+":80", traffic.HTTP("GET / HTTP/1.1", "Host: "+tunnelled+token, ""), ok)
	hold(t, of(t, openTraffic(t, &c), "forwarded-token"), "high: 10.0.0.2 forwards header authorization, which it received from 10.0.0.1, to evil.example.com: 1 call, 1 different value, outside; the proxy is 10.0.0.9")
}

// TestNewHostsBehindAKnownProxy has a client that always uses a proxy, and a host that is new.
func TestNewHostsBehindAKnownProxy(t *testing.T) {
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	var c traffic.Capture
	for i, at := range every(40, time.Second) {
		host := "old.example.com"
		if i >= 38 {
			host = tunnelled
		}
		c.Exchange(at, ms, at.String(), "10.0.0.1", "10.0.0.9:3128", traffic.HTTP("GET http://"+host+"/ HTTP/1.1", "Host: "+host, ""), ok)
	}
	hold(t, of(t, openTraffic(t, &c), "unusual"), "medium: 10.0.0.1 had no traffic with evil.example.com from")
}

// TestNamespacesBehindAProxy: the pairs are those of the client and the proxy, of the proxy and the service, and of the client
// and the service.
func TestNamespacesBehindAProxy(t *testing.T) {
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	for _, host := range []string{"10.0.0.2", "db.pay", "db.pay.svc", "DB.pay.svc.cluster.local"} {
		var c traffic.Capture
		c.Exchange(0, ms, "asks", "10.0.0.1", "10.0.0.9:3128", traffic.HTTP("GET http://"+host+":8080/ HTTP/1.1", "Host: "+host, ""), ok)
		c.Exchange(ms, ms, "passes", "10.0.0.9", "10.0.0.2:8080", traffic.HTTP("GET / HTTP/1.1", "Host: "+host, ""), ok)
		service := `{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"pay","uid":"s","creationTimestamp":"` + early + `"},"spec":{"clusterIP":"10.1.0.1","clusterIPs":["10.1.0.1"],"selector":{"app":"db"},"ports":[{"port":8080,"targetPort":8080}]}}`
		k := openCluster(t, &c, []string{kubePod("shop", "web", "10.0.0.1", `"app":"web"`), kubePod("pay", "db-0", "10.0.0.2", `"app":"db"`), kubePod("net", "proxy", "10.0.0.9", `"app":"proxy"`), service})
		hold(t, of(t, k, "segmentation", "shop->net", "net->pay"), "high: shop/web connects to pay/db at tcp/8080 in 1 call, but shop->pay is not on the allow-list; the proxy is net/proxy")
		hold(t, of(t, k, "segmentation", "shop->net", "net->pay", "shop->pay"))
		hold(t, of(t, k, "egress", "example.org"))
	}
}

// violations compares what list_external and the finding egress report for an allow-list.
func violations(t *testing.T, k *forensics.Case, allow, bad []string) {
	t.Helper()
	e, err := servicemap.AskExternal(ctx, k, servicemap.ExternalIn{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	var listed, found []string
	for _, d := range e.Destinations {
		if !*d.Allowed {
			listed = append(listed, d.Name)
		}
	}
	for _, b := range e.Behind {
		if !*b.Allowed {
			listed = append(listed, b.Host)
		}
		if r, err := k.Query(ctx, forensics.Query{KFL: b.KFL, Count: true}); err != nil || r.Rows[0][0] != b.Calls || b.Calls == 0 {
			t.Errorf("%s: %d calls, but %v, %v for %s", b.Host, b.Calls, r, err, b.KFL)
		}
	}
	for _, f := range find(t, k, finding.In{Names: []string{"egress"}, Allow: allow}) {
		found = append(found, f.Dst)
	}
	bad = slices.Clone(bad)
	slices.Sort(listed)
	slices.Sort(found)
	slices.Sort(bad)
	if !slices.Equal(listed, bad) || !slices.Equal(found, bad) || e.Violations != len(bad) || len(e.Behind) != 1 {
		t.Errorf("with %v: list_external has %d: %v, egress %v, want %v", allow, e.Violations, listed, found, bad)
	}
}

// noneIsCalled fails if a host behind the proxy is a destination of its own in any face.
func noneIsCalled(t *testing.T, k *forensics.Case) {
	t.Helper()
	m, err := servicemap.AskServiceMap(ctx, k, servicemap.ServiceMapIn{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range m.Nodes {
		if n.Name != proxyIP && n.Name != "10.0.0.1" {
			t.Errorf("the map has %s", n.Name)
		}
	}
	o, err := servicemap.AskOverview(ctx, k, servicemap.OverviewIn{}, nil)
	if err != nil || len(o.External) != 1 || o.External[0].Domain != proxyIP {
		t.Errorf("the overview has %+v, %v", o.External, err)
	}
	for _, name := range []string{tunnelled, permitted} {
		d, err := servicemap.AskDependencies(ctx, k, servicemap.DependenciesIn{Service: name})
		if err == nil && len(d.Upstream) > 0 {
			t.Errorf("%s is a server: %+v", name, d.Upstream)
		}
	}
}
