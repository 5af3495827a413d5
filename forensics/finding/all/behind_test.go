package all_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestFindingsNameTheHostBehindAProxy has beacons and downloads through proxies inside and outside.
func TestFindingsNameTheHostBehindAProxy(t *testing.T) {
	for name, tunnel := range tunnels {
		for _, proxy := range []string{"10.0.0.9", proxyIP} {
			t.Run(name+" of "+proxy, func(t *testing.T) {
				var w traffic.Capture
				for i := range 8 {
					at, conn := time.Duration(i)*10*time.Second, fmt.Sprint("c", i)
					for k, m := range tunnel.begin {
						w.Exchange(at+time.Duration(k*100)*ms, ms, conn, "10.0.0.1", proxy+":8080", m[0], m[1])
					}
					if !tunnel.direct {
						w.Exchange(at+500*ms, ms, conn, "10.0.0.1", proxy+":8080", "GET /a HTTP/1.1\r\nHost: "+tunnel.beyond+"\r\n\r\n", traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/octet-stream", program))
					}
				}
				k := openTraffic(t, &w)
				beacons := of(t, k, "beacon")
				if len(beacons) == 0 || len(beacons) > 2 {
					t.Errorf("%d beacons", len(beacons))
				}
				severity, called := "medium", tunnel.beyond+" (calls of "
				if tunnel.beyond == targetAddr {
					severity, called = "high", targetAddr+" (no name, calls of "
				}
				for _, b := range beacons {
					if !strings.HasPrefix(b, "beacon "+severity+": 10.0.0.1 calls "+called) || !strings.Contains(b, " every 10s, 8 times;") || !strings.Contains(b, "; the proxy is "+proxy+" ") {
						t.Error(b)
					}
				}
				if !tunnel.direct {
					hold(t, of(t, k, "risky-file"), "high: 10.0.0.1 and "+tunnel.beyond+": 8 files downloaded without encryption, of type application/vnd.microsoft.portable-executable, with an outside address; the proxy is "+proxy)
				}
			})
		}
	}
}

// resolve asks for the address of a name.
func resolve(w *traffic.Capture, name, ip string) {
	q := question(name)
	w.Datagram(0, "10.0.0.1", "10.0.0.53:53", q, q[:2]+"\x81\x80\x00\x01\x00\x01"+q[8:]+"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04"+ip)
}

// TestTheNameOfAProxyIsNotThatOfTheHostBehindIt has a proxy with a name, and a host without one.
func TestTheNameOfAProxyIsNotThatOfTheHostBehindIt(t *testing.T) {
	var w traffic.Capture
	resolve(&w, "proxy.example.net", "\xcb\x00\x71\x09")
	for i, at := range every(8, 10*time.Second) {
		w.Exchange(time.Second+at, ms, fmt.Sprint(i), "10.0.0.1", proxyIP+":1080", "\x04\x01\x01\xbb\xc6\x33\x64\x4dme\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00")
	}
	hold(t, of(t, openTraffic(t, &w), "beacon"), "high: 10.0.0.1 calls "+targetAddr+" (no name, calls of socks) every 10s, 8 times; the interquartile range of the pauses is 0s; the proxy is proxy.example.net")
}

// TestHostsInsideBehindAProxy are neither beacons nor outside, whatever the proxy is.
func TestHostsInsideBehindAProxy(t *testing.T) {
	for host, owner := range map[string]string{"10.0.0.7": "shop.example.com", "shop.internal": "shop.internal", "shop": "shop", "shop.example.com": "shop.example.com"} {
		var w traffic.Capture
		resolve(&w, "shop.example.com", "\x0a\x00\x00\x07")
		w.Ping(time.Second, "10.0.0.1", "10.0.0.7", true)
		for i := range 8 {
			w.Exchange(time.Duration(i)*10*time.Second, ms, fmt.Sprint(i), "10.0.0.1", "10.0.0.9:3128", "GET http://"+host+"/a.exe HTTP/1.1\r\nHost: "+host+"\r\n\r\n",
				traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/octet-stream", program))
		}
		k := openTraffic(t, &w)
		hold(t, of(t, k, "beacon"))
		hold(t, of(t, k, "risky-file"), "medium: 10.0.0.1 and "+owner+": 8 files downloaded without encryption, of type application/vnd.microsoft.portable-executable; the proxy is 10.0.0.9 a.exe")
	}
}

// TestHostsBehindAProxyRequireTheirOwnCredentials has a host that requires them, and one that does not.
func TestHostsBehindAProxyRequireTheirOwnCredentials(t *testing.T) {
	var w traffic.Capture
	call := func(at time.Duration, host, headers string) {
		w.Exchange(at, ms, host+headers, "10.0.0.1", "10.0.0.9:3128", traffic.HTTP("GET http://"+host+"/a HTTP/1.1", "Host: "+host+headers, ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	call(0, "a.example.com", "\r\nAuthorization: Bearer abc")
	call(time.Second, "b.example.com", "")
	hold(t, of(t, openTraffic(t, &w), "missing-auth"))
	call(2*time.Second, "a.example.com", "")
	hold(t, of(t, openTraffic(t, &w), "missing-auth"), "high: 1 call from 10.0.0.1 to GET /a of a.example.com succeeded without credentials; 1 other carries them; the proxy is 10.0.0.9")
}

// TestVolumesBehindAProxy has uploads through a proxy to one host, to two hosts on one connection, and to a host inside.
func TestVolumesBehindAProxy(t *testing.T) {
	block := strings.Repeat("x", 60_000)
	upload := func(w *traffic.Capture, proxy, conn string, hosts ...string) {
		for i := range 180 {
			host := hosts[i%len(hosts)]
			w.Exchange(time.Duration(i)*10*ms, ms, conn, "10.0.0.1", proxy+":3128", traffic.HTTP("PUT http://"+host+"/ HTTP/1.1", "Host: "+host, block), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
		}
	}
	var w traffic.Capture
	upload(&w, "10.0.0.9", "one", "evil.example.com")
	upload(&w, "10.0.0.9", "inside", "shop.internal")
	upload(&w, "10.0.0.9", "two", "a.example.com", "b.example.com")
	upload(&w, proxyIP, "outside", "a.example.com", "b.example.com")
	upload(&w, proxyIP, "outside and one", "other.example.com")
	upload(&w, proxyIP, "an outside proxy that is asked for a host inside", "pay.internal")
	k := openTraffic(t, &w)
	got := of(t, k, "outside-volume")
	slices.Sort(got)
	hold(t, got,
		"medium: 10.0.0.1 sent 10.3 MiB to 203.0.113.9 outside in 1 connection, and received 0.0 MiB 203.0.113.9",
		"medium: 10.0.0.1 sent 10.3 MiB to evil.example.com outside in 1 connection, and received 0.0 MiB; the proxy is 10.0.0.9 evil.example.com",
		"medium: 10.0.0.1 sent 10.3 MiB to other.example.com outside in 1 connection, and received 0.0 MiB; the proxy is 203.0.113.9 other.example.com",
		"medium: 10.0.0.1 sent 10.3 MiB to pay.internal outside in 1 connection, and received 0.0 MiB; the proxy is 203.0.113.9 pay.internal")
	hold(t, of(t, k, "outside-volume", proxyIP, "*.example.com"), "10.3 MiB to pay.internal outside in 1 connection, and received 0.0 MiB; the proxy is 203.0.113.9")
}
