package all_test

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/traffic"
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
	for name, tunnel := range tunnels {
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
	o, err := servicemap.AskOverview(ctx, k, servicemap.OverviewIn{})
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
