package all_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestScanThresholds has clients just below and at the number of targets, and with half of the connections accepted.
func TestScanThresholds(t *testing.T) {
	attempts := func(w *traffic.Capture, client string, ports int, apart time.Duration) {
		for i := range ports {
			w.Attempt(time.Duration(i)*apart, client, fmt.Sprintf("10.0.0.9:%d", 1000+i), i%2 == 0)
		}
	}
	for _, tt := range []struct {
		name string
		make func(*traffic.Capture)
		want []string
	}{
		{"14 ports", func(w *traffic.Capture) { attempts(w, "10.0.0.1", 14, time.Millisecond) }, nil},
		{"15 ports", func(w *traffic.Capture) { attempts(w, "10.0.0.1", 15, time.Millisecond) },
			[]string{"10.0.0.1 tried up to 15 targets within a minute (1 address, 15 ports); 15 of 15 connections were refused or not answered"}},
		{"20 ports in more than a minute", func(w *traffic.Capture) { attempts(w, "10.0.0.1", 20, 10*time.Second) }, nil},
		{"one port 30 times", func(w *traffic.Capture) {
			for i := range 30 {
				w.Attempt(time.Duration(i)*time.Millisecond, "10.0.0.1", "10.0.0.9:22", true)
			}
		}, nil},
		{"a sweep by ping", func(w *traffic.Capture) {
			for i := range 20 {
				w.Ping(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.1.%d", i+1), i < 5)
			}
		}, []string{"10.0.0.1 tried up to 20 targets within a minute (20 addresses by ping); 15 of 20 conversations were refused or not answered"}},
		{"pings that are answered", func(w *traffic.Capture) {
			for i := range 20 {
				w.Ping(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.1.%d", i+1), i < 10)
			}
		}, nil},
		{"ports of UDP that are closed", func(w *traffic.Capture) {
			for i := range 20 {
				w.Rejected(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.0.9:%d", 1000+i), "x")
			}
		}, []string{"10.0.0.1 tried up to 20 targets within a minute (1 address, 20 ports of UDP); 20 of 20 conversations were refused or not answered"}},
		{"one port of UDP of many hosts", func(w *traffic.Capture) {
			for i := range 20 {
				w.Datagram(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.1.%d:161", i+1), "x")
			}
			w.Ping(time.Second, "10.0.0.1", "10.0.0.2", true)
		}, []string{"10.0.0.1 tried up to 20 targets within a minute (20 addresses, 1 port of UDP); 20 of 20 conversations were refused or not answered"}},
		{"only one direction was captured", func(w *traffic.Capture) {
			for i := range 20 {
				w.Datagram(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.1.%d:161", i+1), "x")
			}
		}, nil},
		{"peers, each at a port of its own", func(w *traffic.Capture) {
			for i := range 30 {
				w.Datagram(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.1.%d:%d", i+1, 2000+i), "x")
			}
			w.Ping(time.Second, "10.0.0.1", "10.0.0.2", true)
		}, nil},
		{"traceroute, and groups of hosts", func(w *traffic.Capture) {
			for i := range 30 {
				w.Rejected(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("10.0.0.9:%d", 33434+i), "x")
				w.Datagram(time.Duration(i)*time.Millisecond, "10.0.0.1", fmt.Sprintf("239.0.0.%d:99", i+1), "x")
			}
		}, nil},
		{"half of 16 accepted", func(w *traffic.Capture) {
			attempts(w, "10.0.0.1", 8, time.Millisecond)
			for i := range 8 {
				w.Exchange(time.Second, time.Millisecond, fmt.Sprint("open ", i), "10.0.0.1", fmt.Sprintf("10.0.0.9:%d", 2000+i), traffic.HTTP("GET / HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
			}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			tt.make(&w)
			hold(t, of(t, openTraffic(t, &w), "scan"), tt.want...)
		})
	}
}

// TestForwardedTokens has a service that passes on a token, one that has its own, one that got it only later, and one that
// passes on a short value, which may be equal by chance.
func TestForwardedTokens(t *testing.T) {
	call := func(w *traffic.Capture, at time.Duration, from, to, token string) {
		w.Exchange(at, time.Millisecond, from+to, from, to+":80", traffic.HTTP("GET / HTTP/1.1", "Host: "+to+"\r\nAuthorization: "+token, ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	const token = "Bearer 0123456789abcdef"
	for _, tt := range []struct {
		name, first, second string
		later               bool
		to, want            string
	}{
		{"the same token", token, token, false, "10.0.0.3", "10.0.0.2 forwards header authorization, which it received from 10.0.0.1, to 10.0.0.3: 1 call, 1 different value"},
		{"to the outside", token, token, false, "203.0.113.3", "10.0.0.2 forwards header authorization, which it received from 10.0.0.1, to 203.0.113.3: 1 call, 1 different value, outside"},
		{"another token", token, token + "x", false, "10.0.0.3", ""},
		{"received later", token, token, true, "10.0.0.3", ""},
		{"short", "Bearer 1234", "Bearer 1234", false, "10.0.0.3", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			at := [2]time.Duration{0, time.Second}
			if tt.later {
				at[0], at[1] = at[1], at[0]
			}
			call(&w, at[0], "10.0.0.1", "10.0.0.2", tt.first)
			call(&w, at[1], "10.0.0.2", tt.to, tt.second)
			want := []string{tt.want}
			if tt.want == "" {
				want = nil
			}
			hold(t, of(t, openTraffic(t, &w), "forwarded-token"), want...)
		})
	}
}

// TestFailedLookupsOfSearchLists has a name that is resolved after its search list, by the same client and by another one.
func TestFailedLookupsOfSearchLists(t *testing.T) {
	ask := func(w *traffic.Capture, at time.Duration, client, name, code string) {
		q := question(name)
		w.Datagram(at, client, "10.0.0.53:53", q, strings.Replace(q, q[2:4], "\x81"+code, 1))
	}
	var w traffic.Capture
	ask(&w, 0, "10.0.0.1", "api.example.shop.svc", "\x83")
	ask(&w, time.Second, "10.0.0.1", "api.example", "\x80")
	ask(&w, 2*time.Second, "10.0.0.2", "api.example.shop.svc", "\x83")
	ask(&w, 3*time.Second, "10.0.0.1", "broken.example", "\x82")
	hold(t, of(t, openTraffic(t, &w), "dns-failure"), "10.0.0.1 asked 10.0.0.53 for broken.example: SERVFAIL, 1 time", "10.0.0.2 asked 10.0.0.53 for api.example.shop.svc: NXDOMAIN, 1 time")
}

// TestFailedLookupsBelowOneDomain: up to ten names are findings of their own, more are one, apart for each client, result
// and domain.
func TestFailedLookupsBelowOneDomain(t *testing.T) {
	var w traffic.Capture
	at := time.Duration(0)
	fails := func(client, name, code string) {
		q := question(name)
		w.Datagram(at, client, "10.0.0.53:53", q, strings.Replace(q, q[2:4], "\x81"+code, 1))
		at += time.Second
	}
	for i := range 11 {
		fails("10.0.0.1", fmt.Sprintf("n%02d.bulk.example.co.uk", i), "\x83")
		if i < 10 {
			fails("10.0.0.1", fmt.Sprintf("n%02d.few.example", i), "\x83")
			fails("10.0.0.2", fmt.Sprintf("n%02d.bulk.example.co.uk", i), "\x83")
		}
	}
	fails("10.0.0.1", "n00.bulk.example.co.uk", "\x83")
	fails("10.0.0.1", "n11.bulk.example.co.uk", "\x82")
	c := openTraffic(t, &w)
	list := of(t, c, "dns-failure")
	if len(list) != 22 {
		t.Errorf("%d findings, want 22:\n%s", len(list), strings.Join(list, "\n"))
	}
	all := strings.Join(list, "\n")
	for want, n := range map[string]int{"10.0.0.1 asked 10.0.0.53 for 11 names below example.co.uk: NXDOMAIN, 12 times": 1, "10.0.0.1 asked 10.0.0.53 for n11.bulk.example.co.uk: SERVFAIL, 1 time": 1,
		"few.example: NXDOMAIN, 1 time": 10, "10.0.0.2 asked": 10} {
		if got := strings.Count(all, want); got != n {
			t.Errorf("%q is there %d times, want %d:\n%s", want, got, n, all)
		}
	}
	for _, f := range find(t, c, finding.In{Scope: ask.Scope{Limit: 1000}, Names: []string{"dns-failure"}}) {
		if f.Count == 12 && (len(f.Evidence) != 3 || !strings.HasSuffix(f.Evidence[2], ".bulk.example.co.uk") || len(f.CallIDs) != 3) {
			t.Errorf("evidence %q, calls %q", f.Evidence, f.CallIDs)
		}
	}
}

// TestProxiesAreNoServersWithoutAuthentication has a request that a proxy passes on.
func TestProxiesAreNoServersWithoutAuthentication(t *testing.T) {
	var w traffic.Capture
	w.Exchange(0, time.Millisecond, "proxied", "10.0.0.1", "10.0.0.2:3128", traffic.HTTP("GET http://other.example/a HTTP/1.1", "Host: other.example", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	w.Exchange(0, time.Millisecond, "direct", "10.0.0.1", "10.0.0.3:80", traffic.HTTP("GET /a HTTP/1.1", "Host: third.example", ""), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	hold(t, of(t, openTraffic(t, &w), "no-auth"), "10.0.0.1 uses http1 to 10.0.0.3 without authentication: the only call carries no credentials, and no client certificate was presented")
}

// TestUnusualWithFewConnections has new pairs and rising volumes, each with too few connections to be sure, and with enough.
func TestUnusualWithFewConnections(t *testing.T) {
	var c traffic.Capture
	n := 0
	connect := func(at time.Duration, client, server string, size int) {
		n++
		name := fmt.Sprint("x", n)
		c.Exchange(at, time.Millisecond, name, client, server, traffic.HTTP("POST / HTTP/1.1", "Host: a", strings.Repeat("x", size)), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
		c.Close(at+time.Second, name)
	}
	for i := range 41 { // known before, until the end
		connect(time.Duration(i)*15*time.Second, "10.0.0.1", "10.0.0.2:80", 1)
	}
	const window = 450 * time.Second // the last quarter begins here
	connect(window+10*time.Second, "10.0.0.1", "10.0.0.3:80", 1)
	for i := range 25 {
		at := window + time.Duration(5+i*5)*time.Second
		connect(at, "10.0.0.1", "10.0.0.4:80", 1)
		connect(at, "10.0.0.1", "10.0.0.5:80", 1)
		connect(at, "10.0.0.1", "10.0.0.6:80", 6000)
	}
	connect(time.Second, "10.0.0.1", "10.0.0.5:80", 1)
	connect(time.Second, "10.0.0.1", "10.0.0.6:80", 6000)
	k := openTraffic(t, &c)
	const few = "too few connections"
	for dst, want := range map[string]string{"10.0.0.3": few + " to be sure that the pair is new", "10.0.0.4": "", "10.0.0.5": "times as many per hour, 95 % interval", "10.0.0.6": few + " before to be sure"} {
		found := false
		for _, f := range of(t, k, "unusual") {
			if strings.Contains(f, dst) {
				found = strings.Contains(f, want) && (strings.Contains(want, few) || !strings.Contains(f, "to be sure"))
			}
		}
		if !found {
			t.Errorf("%s: want %q in\n%s", dst, want, strings.Join(of(t, k, "unusual"), "\n"))
		}
	}
}
